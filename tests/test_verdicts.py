"""Five ways to look at one folder: ls, show, verify, open_run and a start never contradict each other."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from tests.faults.training import train

import outlast
from outlast.cli import main
from outlast.storage.disk.calls import calls
from outlast.storage.format import layout

Out = pytest.CaptureFixture[str]
EPOCHS = 3


def newest(folder: Path) -> Path:
    return max(folder.glob("resume-*"))


def oldest(folder: Path) -> Path:
    return min(folder.glob("resume-*"))


def blob_of(folder: Path, name: str) -> Path:
    """The blob with the bytes of a published file."""
    data = (folder / name).read_bytes()
    return next(path for path in folder.glob("blob-*") if path.read_bytes() == data)


def add(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def all_points(folder: Path, act: Callable[[Path], object]) -> None:
    for path in folder.glob("resume-*"):
        act(path)


def other_runs(folder: Path, pattern: str) -> None:
    """Put files of another run there."""
    with patch.object(layout, "new_identity", lambda: "89abcdef" * 4):
        train(folder.with_name("other"), epochs=EPOCHS + 2, resume="never")
    for path in folder.with_name("other").glob(pattern):
        shutil.copy(path, folder / path.name)


CASES: dict[str, Callable[[Path], object]] = {
    "nothing wrong": lambda folder: None,
    "newest resume point damaged": lambda folder: spoil(newest(folder)),
    "newest resume point missing": lambda folder: newest(folder).unlink(),
    "older resume point damaged": lambda folder: spoil(oldest(folder)),
    "older resume point missing": lambda folder: oldest(folder).unlink(),
    "all resume points damaged": lambda folder: all_points(folder, spoil),
    "all resume points missing": lambda folder: all_points(folder, Path.unlink),
    "an empty resume point": lambda folder: newest(folder).write_bytes(b""),
    "best model damaged": lambda folder: spoil(folder / "best.txt"),
    "best model missing": lambda folder: (folder / "best.txt").unlink(),
    "blob of the best model damaged": lambda folder: spoil(blob_of(folder, "best.txt")),
    "blob of the best model missing": lambda folder: blob_of(folder, "best.txt").unlink(),
    "best model and its blob missing": lambda folder: (
        blob_of(folder, "best.txt").unlink(),
        (folder / "best.txt").unlink(),
    ),
    "table lost": lambda folder: (folder / "history.csv").unlink(),
    "table edited": lambda folder: (folder / "history.csv").write_text("a,b\n1,2\n"),
    "table longer": lambda folder: add(folder / "history.csv", "9,9\n"),
    "journal lost": lambda folder: (folder / layout.JOURNAL).unlink(),
    "run.json lost": lambda folder: (folder / layout.RUN).unlink(),
    "run.json is a folder": lambda folder: ((folder / layout.RUN).unlink(), (folder / layout.RUN).mkdir()),
    "results damaged": lambda folder: (folder / layout.RESULTS).write_text("{"),
    "run.json damaged": lambda folder: (folder / layout.RUN).write_text("{"),
    "events lost": lambda folder: (folder / layout.EVENTS).unlink(),
    "events torn": lambda folder: add(folder / layout.EVENTS, '{"event": "sta'),
    "IDENTITY lost": lambda folder: (folder / layout.IDENTITY).unlink(),
    "IDENTITY damaged": lambda folder: (folder / layout.IDENTITY).write_bytes(b"x"),
    "a stray lock": lambda folder: (folder / layout.LOCK).write_text('{"pid": 1}'),
    "a lock of another file system": lambda folder: (folder / layout.LOCK_WITHOUT_FLOCK).write_text(
        '{"pid": 1, "host": "cluster"}'
    ),
    "no lock file": lambda folder: (folder / layout.LOCK).unlink(),
    "a temporary file": lambda folder: (folder / ".best.x0123456789ab.txt").write_text("half"),
    "a foreign blob": lambda folder: other_runs(folder, "blob-*"),
    "foreign resume points": lambda folder: other_runs(folder, "resume-*"),
    "a file of the user's": lambda folder: (folder / "notes.txt").write_text("mine"),
    "no file at all": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
}


@dataclass(frozen=True)
class Answers:
    """What five readers say of a folder."""

    ls: str
    show: str
    verify: dict[str, Any]
    code: int
    past: outlast.OutlastError | Any
    start: outlast.OutlastError | Any
    said: str


def asked(folder: Path, capsys: Out, epochs: int) -> Answers:
    capsys.readouterr()
    main(["ls", "--json", str(folder.parent)])
    runs = {Path(run["folder"]).name: run["status"] for run in json.loads(capsys.readouterr().out)["runs"]}
    main(["show", "--json", str(folder)])
    shown = json.loads(capsys.readouterr().out)["status"]
    code = main(["verify", "--json", str(folder)])
    (verified,) = json.loads(capsys.readouterr().out)["runs"]
    found: list[Any] = []
    for look in (outlast.open_run, lambda place: train(place, epochs=epochs, check_resume="never")):
        capsys.readouterr()
        try:
            found.append(look(folder))
        except outlast.OutlastError as error:
            found.append(error)
    return Answers(runs.get("run", "no run"), shown, verified, code, *found, said=capsys.readouterr().out)


def contents(folder: Path) -> dict[Path, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != layout.LOCK]
    return {path: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun") / "run"
    train(folder, epochs=EPOCHS)
    return folder


@pytest.fixture(scope="module")
def begun_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun_once") / "run"
    train(folder, epochs=1)
    return folder


@pytest.mark.parametrize("has_links", [True, False], ids=["", "without hard links"])
@pytest.mark.parametrize("case", CASES)
def test_no_answer_contradicts_another(
    begun: Path, folder: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch, case: str, has_links: bool
) -> None:
    if not has_links:

        def refused(source: str, target: str) -> None:
            raise OSError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(calls, "link", refused)
    shutil.copytree(begun, folder)
    CASES[case](folder)
    compare(folder, capsys, case)


@pytest.mark.crash
@pytest.mark.parametrize("second", CASES)
@pytest.mark.parametrize("first", CASES)
def test_no_answer_contradicts_another_for_two_kinds_of_damage(
    begun: Path, folder: Path, capsys: Out, first: str, second: str
) -> None:
    shutil.copytree(begun, folder)
    try:
        if {"IDENTITY lost", "IDENTITY damaged", "no file at all"} & {
            first,
            second,
        } and "foreign" in first + second:
            pytest.skip("then the folder is that of the other run, if it is anybody's")
        CASES[first](folder), CASES[second](folder)
    except (OSError, StopIteration, ValueError, IndexError):
        pytest.skip("the first leaves nothing for the second")
    compare(folder, capsys, f"{first}, {second}")


@pytest.mark.parametrize("case", CASES)
def test_no_answer_contradicts_another_for_a_run_of_one_epoch(
    begun_once: Path, folder: Path, capsys: Out, case: str
) -> None:
    shutil.copytree(begun_once, folder)
    CASES[case](folder)
    compare(folder, capsys, case, epochs=1)


def compare(folder: Path, capsys: Out, case: str, epochs: int = EPOCHS) -> None:
    """Ask all, and once more after the start, which mends what there is to mend."""
    before = contents(folder)
    first = asked(folder, capsys, epochs)
    refused_start = isinstance(first.start, outlast.OutlastError)
    told = (case, first)
    assert first.ls == first.show, told
    assert first.verify["status"] in (first.ls, "damaged"), told  # it alone reads every byte
    assert first.code == {"damaged": 1, "no run": 3}.get(first.verify["status"], 0), told
    assert (first.code == 0) == first.verify["holds"], told
    if refused_start:  # then nobody finds it whole, nothing was changed, and the past cannot be read either
        assert first.code == 1 and isinstance(first.past, outlast.DamagedFile), told
        assert contents(folder) == before, told
        return
    if first.verify["holds"]:  # then a start has nothing to mend, and says nothing of it
        is_foreign = "files of another run were set aside" in first.said
        assert is_foreign == bool(first.verify.get("foreign")), told
        assert is_foreign or not first.start.findings, told
        left = [name for name in first.verify["leftovers"] if (folder / name).exists()]
        assert left == [], told
    resume = first.verify["resume"]
    if resume is not None and not isinstance(first.past, outlast.OutlastError):
        assert resume["point"] == first.past.number, told
    assert len(outlast.open_run(folder).history.epochs) == epochs, told
    if "is lost" in first.said:  # for good: it stays so until the next epoch
        return
    again = asked(folder, capsys, epochs)
    assert (again.code, again.verify["holds"], again.ls) == (0, True, "finished"), (case, again)
    assert not again.start.findings and not again.past.findings, (case, again)
