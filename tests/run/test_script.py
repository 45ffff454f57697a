"""What the script itself carries on is named where a resume would begin it anew."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outlast
from outlast.testing import FakeAdapter

Out = pytest.CaptureFixture[str]
BEGINS = ": a resume"


def made(folder: Path, every: Any = 2, **options: Any) -> outlast.Run:
    return outlast.Run(folder, adapter=FakeAdapter({"w": [0.3]}), save_every=every, **options)


def doubts(capsys: Out) -> list[str]:
    return [
        line.partition(": ")[2].partition(": ")[2]
        for line in capsys.readouterr().out.splitlines()
        if BEGINS in line
    ]


def test_sums_of_the_script_are_named_once(folder: Path, capsys: Out) -> None:
    run = made(folder)
    for _ in run.epochs(3):
        total = count = 0.0
        for batch in run.batches(range(5)):
            total += batch
            count += 1
        run.log(loss=total / count)
    assert doubts(capsys) == [
        "a resume inside an epoch would begin the script's own total, count anew: log each batch, "
        "run.log(loss=loss), or keep it in run.extra"
    ]


def test_without_saves_inside_an_epoch_what_begins_with_it_is_no_matter(folder: Path, capsys: Out) -> None:
    run = made(folder, "epoch")
    for _ in run.epochs(2):
        total = 0.0
        for i, batch in enumerate(run.batches(range(5))):
            total += batch * i
        run.log(loss=total)
    assert doubts(capsys) == []


def test_what_goes_on_from_epoch_to_epoch_is_named(folder: Path, capsys: Out) -> None:
    best, step = 9.0, 0
    run = made(folder, "epoch")
    for epoch in run.epochs(2):
        for batch in run.batches(range(5)):
            step += 1
            run.log(loss=batch / step)
        if epoch < best:
            best = epoch
    assert doubts(capsys) == [
        "a resume would begin the script's own step, best anew: run.step counts the steps, "
        "or keep it in run.extra"
    ]


def test_a_counter_around_the_batches_is_named(folder: Path, capsys: Out) -> None:
    run = made(folder)
    for _ in run.epochs(2):
        for i, batch in enumerate(run.batches(range(5))):
            run.log(loss=batch * i)
    (told,) = doubts(capsys)
    assert told == "a resume inside an epoch would begin the script's own i at 0: run.batch counts on"


def test_what_the_run_saves_is_not_named(folder: Path, capsys: Out) -> None:
    class Part:
        """With a sum of its own."""

        def __init__(self) -> None:
            self.total = 0.0

        def state_dict(self) -> dict[str, float]:
            return {"total": self.total}

        def load_state_dict(self, state: dict[str, float]) -> None:
            self.total = state["total"]

    part = Part()
    run = made(folder, part=part)
    extra = run.extra
    extra["count"] = 0
    for _ in run.epochs(2):
        for i, batch in run.batches(enumerate(range(5))):
            part.total += batch * i
            extra["count"] += 1
            run.log(loss=batch / extra["count"])
        run.log(total=part.total)
    assert doubts(capsys) == []


def test_steps_carry_on_too(folder: Path, capsys: Out) -> None:
    seen: list[int] = []
    run = made(folder, "epoch")
    for batch in run.steps(range(5), 6, log_every=3):
        seen.append(batch)
        run.log(loss=sum(seen))
    assert doubts(capsys) == [
        "a resume would begin the script's own seen anew: run.step counts the steps, or keep it in run.extra"
    ]


def around(loop: Any) -> Any:
    """As a progress bar around a run's loop does."""
    left = 100
    for one in loop:
        yield one
        left = left - 1
        if not left:
            break


def test_the_loop_around_a_progress_bar_is_looked_at(folder: Path, capsys: Out) -> None:
    run = made(folder)
    for _ in around(run.epochs(2)):
        total = 0.0
        for batch in around(run.batches(range(5))):
            total += batch
        run.log(loss=total)
    assert doubts(capsys)[0].startswith("a resume inside an epoch would begin the script's own total anew")


def test_code_without_a_source_is_not_looked_at(folder: Path, capsys: Out) -> None:
    code = "total = 0\nfor _ in run.epochs(1):\n    total += 1\n    run.log(loss=total)\n"
    exec(code, {"run": made(folder)})
    assert doubts(capsys) == []


def test_of_a_finished_run_nothing_is_said(folder: Path, capsys: Out) -> None:
    for _ in range(2):
        total = 0.0
        run = made(folder)
        for epoch in run.epochs(1):
            total += epoch
            run.log(loss=total)
    assert len(doubts(capsys)) == 1


@pytest.mark.parametrize("every", [2, "epoch"], ids=str)
def test_run_counts_what_scripts_count(folder: Path, every: Any) -> None:
    def counted(place: Path, left_at: int | None = None) -> list[Any]:
        run = made(place, every)
        assert run.batch is None
        seen = []
        for epoch in run.epochs(3):
            for _ in run.batches(range(5)):
                seen.append((epoch, run.batch, run.step))
                if run.step == left_at:
                    run.flush()
                    return seen
            assert run.batch is None and run.step == 5 * (epoch + 1)
        assert run.step == 15
        return seen

    whole = counted(folder / "whole")
    assert whole == [(step // 5, step % 5, step) for step in range(15)]
    for left_at in (3, 8, 12):
        seen = counted(folder / "left", left_at)
        assert seen == whole[left_at + 1 - len(seen) : left_at + 1]
    seen = counted(folder / "left")
    assert seen == whole[-len(seen) :]


def test_a_variable_that_was_looked_at_is_not_kept(folder: Path, capsys: Out) -> None:
    state = np.zeros(3)
    first = weakref.ref(state)
    run = made(folder)
    for _ in run.epochs(2):
        for batch in run.batches(range(3)):
            state = state + batch
            assert first() is None
            run.log(loss=float(state.sum()))
    assert doubts(capsys)[0].startswith("a resume would begin the script's own state anew")
