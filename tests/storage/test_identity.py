"""A file of another run is never taken for ours, and a writer in a folder that is not its own stops."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.storage import workload
from tests.storage.tap import tapped
from tests.storage.workload import RUN

from outlast import Run, open_run
from outlast.exceptions import DamagedFile, OutlastError, RunLocked
from outlast.inspect.verification import verify
from outlast.storage import identity, resume_points
from outlast.storage.commit import Bundle, Committed, commit, stage
from outlast.storage.disk import files
from outlast.storage.format import layout
from outlast.storage.format.encoding import Immutable
from outlast.storage.logs import Lines
from outlast.storage.recovery import recover
from outlast.storage.survey import survey
from outlast.testing import FakeAdapter

OTHER = "fedcba98" * 4


def trained(folder: Path, run: str, steps: int, begin: int = 0) -> Committed:
    """A run with a model, a part and a log in each of its steps."""
    folder.mkdir(exist_ok=True)
    committed = Committed(run=run)
    for n in range(begin, begin + steps):
        committed = step(folder, committed, n)
    return committed


def step(folder: Path, committed: Committed, n: int) -> Committed:
    step = Bundle(
        {"best.pt": files.Content(b"%s %d" % (committed.run.encode(), n))},
        {"history.csv": Lines(b"%d\n" % n)},
    )
    state = {"run": committed.run, "n": n, "best": Immutable(np.arange(n))}
    return commit(str(folder), committed, step, state, say=lambda finding: None)


def test_each_new_run_has_an_identity_of_its_own(tmp_path: Path, random_identities: None) -> None:
    found = []
    for name in "ab":
        (tmp_path / name).mkdir()
        found.append(recover(str(tmp_path / name)).committed.run)
        assert identity.read(str(tmp_path / name)) == found[-1]
        assert recover(str(tmp_path / name)).committed.run == found[-1]
    assert len({*found}) == 2 and all(map(layout.is_identity, found))


def test_every_file_of_a_run_carries_its_identity(tmp_path: Path) -> None:
    committed = trained(tmp_path, RUN, 2)
    assert (tmp_path / "IDENTITY").read_text() == RUN + "\n"
    assert {resume_points.run_of(str(tmp_path), n) for n in (1, 2)} == {RUN}
    assert committed.kept and all(layout.is_blob_of(RUN, name) for name in committed.kept)


@pytest.mark.parametrize("names", ["resume-00000099", "*"])
def test_a_resume_point_that_was_copied_from_another_run_is_set_aside(tmp_path: Path, names: str) -> None:
    trained(tmp_path / "run", RUN, 2)
    trained(tmp_path / "other", OTHER, 5)
    os.rename(tmp_path / "other" / "resume-00000005", tmp_path / "other" / "resume-00000099")
    (tmp_path / "other" / "IDENTITY").unlink()
    for path in (tmp_path / "other").glob(names):
        if layout.is_blob(path.name) or path.name.startswith("resume-"):
            shutil.copy(path, tmp_path / "run" / path.name)
    found = recover(str(tmp_path / "run"))
    assert found.state["run"] == RUN and found.state["n"] == 1
    assert found.committed.run == RUN
    assert not any(layout.is_blob_of(OTHER, name) for name in os.listdir(tmp_path / "run"))
    said = " ".join(found.findings)
    assert "resume-00000099" in said
    assert len([*(tmp_path / "run").glob("*resume-00000099")]) == 1
    assert recover(str(tmp_path / "run")).findings == ()


def test_a_copied_resume_point_with_its_right_number_is_set_aside_as_foreign(tmp_path: Path) -> None:
    trained(tmp_path / "run", RUN, 2)
    trained(tmp_path / "other", OTHER, 5)
    shutil.copy(tmp_path / "other" / "resume-00000005", tmp_path / "run")
    before = workload.content(tmp_path / "run")
    assert survey(str(tmp_path / "run")).foreign == ("resume-00000005",)
    assert workload.content(tmp_path / "run") == before
    found = recover(str(tmp_path / "run"))
    assert found.committed.number == 2
    assert found.findings == ("files of another run were set aside: resume-00000005",)
    assert (tmp_path / "run" / "foreign-resume-00000005").exists()


def test_an_older_resume_point_of_another_run_is_set_aside_once_where_a_blob_is_lost(tmp_path: Path) -> None:
    committed = trained(tmp_path / "run", RUN, 2)
    trained(tmp_path / "other", OTHER, 1)
    shutil.copy(tmp_path / "other" / "resume-00000001", tmp_path / "run")
    (tmp_path / "run" / "best.pt").unlink()
    (tmp_path / "run" / committed.files["best.pt"].name).unlink()
    found = recover(str(tmp_path / "run"))
    assert found.committed.number == 2
    assert found.findings == (
        "blob-00000002-0123abcd.pt (best.pt) is lost",
        "files of another run were set aside: resume-00000001",
    )


def test_an_older_copied_resume_point_is_neither_deleted_nor_gone_back_to(tmp_path: Path) -> None:
    trained(tmp_path / "run", RUN, 5)
    trained(tmp_path / "other", OTHER, 2)
    shutil.copy(tmp_path / "other" / "resume-00000002", tmp_path / "run")
    found = recover(str(tmp_path / "run"))
    assert found.committed.number == 5 and found.findings == ()
    shutil.rmtree(tmp_path / "run")
    committed = trained(tmp_path / "run", RUN, 5)
    os.unlink(tmp_path / "run" / "resume-00000004")
    shutil.copy(tmp_path / "other" / "resume-00000002", tmp_path / "run")
    committed = step(tmp_path / "run", committed, 6)  # the clean-up leaves it alone
    assert (tmp_path / "run" / "resume-00000002").exists()
    for path in (tmp_path / "run").glob("resume-0000000[456]"):
        path.write_bytes(b"")
    with pytest.raises(DamagedFile):
        recover(str(tmp_path / "run"))


@pytest.mark.parametrize("left", [None, b"", b"nonsense", RUN.encode(), b"g" * 32 + b"\n"])
def test_an_identity_that_is_lost_is_known_from_the_newest_resume_point(
    tmp_path: Path, left: bytes | None
) -> None:
    trained(tmp_path, OTHER, 2)
    (tmp_path / "IDENTITY").unlink()
    if left is not None:
        (tmp_path / "IDENTITY").write_bytes(left)
    found = recover(str(tmp_path))
    assert found.committed.number == 2 and found.committed.run == OTHER
    assert found.findings == ("IDENTITY was missing or damaged, and was written again",)
    assert identity.read(str(tmp_path)) == OTHER
    step(tmp_path, found.committed, 3)
    assert recover(str(tmp_path)).findings == ()


def replaced(folder: Path) -> Committed:
    """Set the folder aside, and begin a new run in its place."""
    os.rename(folder, f"{folder}.1")
    folder.mkdir()
    return recover(str(folder), begin=True).committed


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_a_writer_whose_folder_was_set_aside_and_made_again_writes_nothing(
    tmp_path: Path, ahead: int
) -> None:
    folder = tmp_path / "run"
    old = trained(folder, OTHER, 2)
    new = replaced(folder)
    for n in range(ahead):
        new = step(folder, new, n)
    before = contents(folder)
    for attempt in (step, lambda folder, committed, n: stage(str(folder), committed, Bundle())):
        with pytest.raises(RunLocked, match="set aside or replaced"):
            attempt(folder, old, 3)
    with pytest.raises(RunLocked, match="set aside or replaced"):
        recover(str(folder), old)
    assert contents(folder) == before
    assert recover(str(folder)).committed.number == ahead


def at_the_call(number: int, act: Callable[[], object]) -> Callable[..., Any]:
    """Before call ``number`` that changes the disk, something happens."""
    made = 0

    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        nonlocal made
        made += 1
        if made == number:
            act()
        return real(*arguments)

    return hook


def test_a_folder_that_is_set_aside_at_any_call_of_a_commit_goes_on_as_the_new_runs(tmp_path: Path) -> None:
    """Whenever it happens, the new run never takes what the old one saves."""
    for number in range(1, 500):
        folder = tmp_path / f"{number}" / "run"
        folder.parent.mkdir()
        old = trained(folder, OTHER, 2)
        begun: list[Committed] = []
        with tapped(at_the_call(number, lambda: begun.append(replaced(folder)))):  # noqa: B023
            try:
                step(folder, old, 2)
                refused = False
            except OSError:
                refused = True
        if not begun:
            break
        assert refused or (Path(f"{folder}.1") / "resume-00000003").exists()
        assert not (folder / "resume-00000003").exists()
        found = recover(str(folder))
        assert found.committed.run == RUN and found.committed.number == 0 and found.state is None
        committed = step(folder, found.committed, 0)
        assert committed.number == 1
        assert recover(str(folder)).state["run"] == RUN
    assert number > 30


def test_what_an_old_writer_sealed_in_a_new_folder_is_never_gone_on_from(tmp_path: Path) -> None:
    """It was killed before it could remove it."""
    folder = tmp_path / "run"
    trained(folder, OTHER, 3)
    replaced(folder)
    for path in Path(f"{folder}.1").iterdir():
        if layout.is_blob(path.name) or path.name == "resume-00000003":
            shutil.copy(path, folder)
    found = recover(str(folder))
    assert (found.committed.number, found.state, found.committed.run) == (0, None, RUN)
    assert "foreign-resume-00000003" in os.listdir(folder)
    assert "files of another run were set aside: " in found.findings[0]


def test_a_new_run_takes_nothing_of_what_is_in_its_folder(tmp_path: Path) -> None:
    trained(tmp_path, OTHER, 3)
    found = recover(str(tmp_path), begin=True)
    assert (found.committed.number, found.state, found.committed.run) == (0, None, RUN)
    assert identity.read(str(tmp_path)) == RUN
    assert len([*tmp_path.glob("foreign-*")]) == 2 + 4 + 1  # resume points, blobs, IDENTITY
    assert step(tmp_path, found.committed, 0).number == 1


def test_a_writer_that_slept_while_another_went_on_removes_what_it_sealed_and_stops(tmp_path: Path) -> None:
    slept = trained(tmp_path, RUN, 2)
    awake = slept
    for n in range(3, 18):
        awake = step(tmp_path, awake, n)
    before = contents(tmp_path)
    with pytest.raises(RunLocked, match=r"resume point 17 is there, and this one knows of 2") as caught:
        step(tmp_path, slept, 3)
    assert caught.value.errno == errno.EEXIST
    assert contents(tmp_path) == before


def test_a_writer_that_falls_asleep_in_a_commit_takes_nothing_of_the_other_with_it(tmp_path: Path) -> None:
    for number in range(1, 500):
        folder = tmp_path / f"{number}"
        slept = trained(folder, RUN, 2)
        awake: list[Committed] = []

        def others(folder: Path = folder, slept: Committed = slept, awake: list[Committed] = awake) -> None:
            committed = recover(str(folder)).committed
            for n in range(4):
                committed = step(folder, committed, n)
            awake.append(committed)

        with tapped(at_the_call(number, others)):
            try:
                step(folder, slept, 2)
                refused = False
            except OSError:
                refused = True
        if not awake:
            break
        found = recover(str(folder))
        assert found.committed.number == awake[0].number, number
        assert not any("lost" in finding or "set aside" in finding for finding in found.findings), number
        assert refused or resume_points.numbers(str(folder))[0] == awake[0].number
    assert number > 30


def test_a_file_that_is_planted_under_a_higher_number_does_not_stop_a_training(tmp_path: Path) -> None:
    committed = trained(tmp_path, RUN, 2)
    trained(tmp_path / "other", OTHER, 5)
    shutil.copy(tmp_path / "other" / "resume-00000005", tmp_path)
    (tmp_path / "resume-00000077").write_bytes(b"nonsense")
    committed = step(tmp_path, committed, 2)
    assert committed.number == 3
    assert (tmp_path / "resume-00000005").exists() and (tmp_path / "resume-00000077").exists()


def test_where_all_resume_points_are_gone_nothing_is_touched(tmp_path: Path) -> None:
    trained(tmp_path, RUN, 3)
    for path in tmp_path.glob("resume-*"):
        path.unlink()
    before = contents(tmp_path)
    with pytest.raises(DamagedFile, match=r'they are gone, though files .* resume="never"'):
        recover(str(tmp_path))
    assert contents(tmp_path) == before


def test_blobs_of_a_first_commit_that_did_not_come_to_its_end_are_no_loss(tmp_path: Path) -> None:
    trained(tmp_path, RUN, 1)
    (tmp_path / "resume-00000001").unlink()
    found = recover(str(tmp_path))
    assert (found.committed.number, found.state, found.findings) == (0, None, ())
    assert not any(map(layout.is_blob, os.listdir(tmp_path)))


def test_verify_says_which_resume_point_is_another_runs_and_that_identity_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, run in (("run", RUN), ("other", OTHER)):
        monkeypatch.setattr(layout, "new_identity", lambda run=run: run)
        epochs = 2 if name == "run" else 5
        with Run(tmp_path / name, adapter=FakeAdapter({"w": [0.0]})) as training:
            for epoch in training.epochs(epochs):
                training.log(val_loss=float(epoch))
    assert verify(str(tmp_path / "run")).holds
    shutil.copy(tmp_path / "other" / "resume-00000005", tmp_path / "run")
    found = verify(str(tmp_path / "run"))
    assert [(check.file, check.detail) for check in found.checks if not check.verdict.good] == [
        ("resume-00000005", "it belongs to another run; a resume sets it aside")
    ]
    assert found.run.epochs == 2
    (tmp_path / "run" / "resume-00000005").unlink()
    (tmp_path / "run" / "IDENTITY").unlink()
    found = verify(str(tmp_path / "run"))
    assert [check.file for check in found.checks if not check.verdict.good] == ["IDENTITY"]


def test_a_run_that_is_begun_while_an_older_one_still_saves_keeps_its_own_rows(
    tmp_path: Path, random_identities: None
) -> None:
    def opened(resume: str) -> Run:
        return Run(tmp_path / "run", adapter=FakeAdapter({"w": [0.0]}), resume=resume)

    old = opened("auto")
    epochs = old.epochs(6)
    for _ in range(3):
        next(epochs)
        old.log(loss=1.0)
    with opened("never") as new:
        for _ in new.epochs(2):
            new.log(loss=9.0)
    with pytest.raises(OutlastError):
        for _ in epochs:
            old.log(loss=1.0)
    old.__exit__(None, None, None)
    rows = open_run(tmp_path / "run").history.rows
    assert [row["loss"] for row in rows] == [9.0, 9.0]
    assert identity.read(str(tmp_path / "run")) != identity.read(str(tmp_path / "run.1"))
