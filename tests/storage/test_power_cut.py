"""Power cuts, simulated: from every disk that POSIX allows, the run is what was last committed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from tests.storage import power, workload
from tests.storage.trace import Trace, traced

from outlast.storage.format import layout
from outlast.storage.recovery import Recovered, recover

STEPS = 4


@dataclass(frozen=True)
class Reference:
    """What a folder holds after 0, 1, ... steps that nobody interrupted."""

    contents: list[dict[str, str]]
    states: list[dict[str, Any]]

    def faults(self, folder: Path, found: Recovered) -> list[str]:
        """In what a recovered folder differs from the uninterrupted one."""
        n = found.committed.number
        if n == 0:
            return [] if found.state is None else ["a state without a commit"]
        wanted, state = self.contents[n], self.states[n]
        wrong = []
        if found.state["epoch"] != n or not np.array_equal(found.state["weights"], state["weights"]):
            wrong.append(f"the state is not that of step {n}")
        kept = found.state["kept"]
        if kept is None or kept.value["raw"] != state["kept"].value["raw"]:
            wrong.append(f"the part is not that of step {n}")
        there = workload.content(folder)
        wrong += [f"{name} differs" for name in wanted if there.get(name) != wanted[name]]
        return wrong + [f"{n} is too much" for n in there if n not in wanted and not self.may_be(n)]

    @staticmethod
    def may_be(name: str) -> bool:
        """What may be there beside: evidence, and a published file of a step that was not committed."""
        return name.startswith(("damaged-", "models/model-", "model-")) or ".conflict" in name


def make_reference(folder: Path, steps: int = STEPS, **how: Any) -> Reference:
    contents = []
    for n in range(steps + 1):
        workload.run(str(folder / f"{n}"), n, **how)
        contents.append(workload.content(folder / f"{n}"))
    return Reference(contents, workload.states_of(steps))


@pytest.fixture
def reference(memory_disk: Path) -> Reference:
    return make_reference(memory_disk)


def cuts(trace: Trace, root: Path, most: int, world: power.World | None = None) -> Iterator[tuple[Path, int]]:
    """The folder after each power cut, and the number of the last commit that had returned.

    ``world`` is what there was before the trace, nothing by default.
    """
    random, seen = Random(0), set()
    target = root.parent / "cut"
    for moment, mark in power.moments(trace, world or power.World()):
        for disk, contents in power.disks(moment, random, most):
            committed = int(mark or 0)
            if str(root) not in disk:
                assert committed == 0, "the whole run is lost"
                continue
            target.mkdir()
            power.build(disk, contents, str(root), target)
            key = (committed, *workload.content(target).items())
            if key not in seen:
                seen.add(key)
                yield target, committed
            shutil.rmtree(target, ignore_errors=True)


def faults_of_cuts(trace: Trace, root: Path, reference: Reference, most: int) -> Iterator[list[str]]:
    """What is wrong after the recovery from each cut."""
    for folder, committed in cuts(trace, root, most):
        found = recover(str(folder))
        lost = f"step {committed} was committed, {found.committed.number} was found"
        wrong = [lost] if found.committed.number < committed else []
        yield wrong + reference.faults(folder, found)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("most", [8, pytest.param(200, marks=pytest.mark.crash)])
def test_a_power_cut_loses_nothing_that_was_committed(
    memory_disk: Path, reference: Reference, most: int
) -> None:
    root = memory_disk / "run"
    with traced() as trace:
        workload.run(str(root), STEPS, trace.mark)
    wrong = [*faults_of_cuts(trace, root, reference, most)]
    assert len(wrong) > 50 * most**0.5
    assert not any(wrong)


def faults_of_cuts_in_the_first_commit(folder: Path, kept_lines: int, most: int) -> Iterator[list[str]]:
    """From no folder at all to the end of the first commit; before it nothing was promised."""
    folder.mkdir()
    reference = make_reference(folder, 1, kept_lines=kept_lines, models="")
    root = folder / "run"
    with traced() as trace:
        workload.run(str(root), 1, trace.mark, kept_lines=kept_lines, models="")
    made = {os.path.basename(event.target) for event in trace if event.call == "link"}
    assert any(layout.blob_kind(name) == layout.LINES for name in made) == (kept_lines == 1)
    yield from faults_of_cuts(trace, root, reference, most)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("most", [60, pytest.param(2000, marks=pytest.mark.crash)])
@pytest.mark.parametrize("kept_lines", [1, 4])
def test_a_power_cut_in_the_first_commit_leaves_all_of_it_or_nothing(
    memory_disk: Path, kept_lines: int, most: int
) -> None:
    wrong = [*faults_of_cuts_in_the_first_commit(memory_disk / "first", kept_lines, most)]
    assert len(wrong) > 100
    assert not any(wrong)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("most", [2, pytest.param(6, marks=pytest.mark.crash)])
def test_a_power_cut_in_the_recovery_after_one_loses_nothing_either(
    memory_disk: Path, reference: Reference, most: int
) -> None:
    root = memory_disk / "run"
    with traced() as trace:
        workload.run(str(root), STEPS, trace.mark)
    tried = 0
    for number, (folder, committed) in enumerate(cuts(trace, root, most)):
        if number % (5 if most == 2 else 2):
            continue
        again = memory_disk / "again" / "run"
        shutil.copytree(folder, again)
        before = power.world_of(again)
        with traced() as second:
            recover(str(again))
        for cut, _ in cuts(second, again, most, before):
            tried += 1
            found = recover(str(cut))
            assert found.committed.number >= committed
            assert reference.faults(cut, found) == []
        shutil.rmtree(again.parent)
    assert tried > 50


def test_a_run_goes_on_after_a_power_cut_to_the_end_of_an_uninterrupted_one(
    memory_disk: Path, reference: Reference
) -> None:
    root = memory_disk / "run"
    with traced() as trace:
        workload.run(str(root), STEPS, trace.mark)
    for number, (folder, _) in enumerate(cuts(trace, root, 2)):
        if number % 7 == 0:
            workload.run(str(folder), STEPS, say=lambda finding: None)
            assert reference.faults(folder, recover(str(folder))) == []
            assert not os.path.exists(folder / "history.csv.conflict.1")
