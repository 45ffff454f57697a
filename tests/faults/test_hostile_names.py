"""A hostile run directory: links, pipes and folders under every name; nothing outside is read or written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.training import Report, report, train

from outlast.exceptions import ArgumentError, FileError
from outlast.storage.format import layout

SECRET = b"a secret of somebody else"
BEFORE, AFTER = 2, 3


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has done ``BEFORE`` epochs."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    train(folder, epochs=BEFORE)
    return folder


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """How it ends if nobody is hostile."""
    return report(train(tmp_path_factory.mktemp("undisturbed") / "run", epochs=AFTER))


class Outside:
    """What lies outside the run's folder, and must stay as it is."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.file, self.directory = folder, folder / "file", folder / "directory"
        self.missing = folder / "missing"
        self.file.write_bytes(SECRET)
        self.directory.mkdir()
        (self.directory / "best.txt").write_bytes(SECRET)

    def assert_untouched(self) -> None:
        assert sorted(path.name for path in self.folder.rglob("*")) == ["best.txt", "directory", "file"]
        assert self.file.read_bytes() == (self.directory / "best.txt").read_bytes() == SECRET


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    outside = Outside(tmp_path / "outside")
    yield outside
    outside.assert_untouched()


PLANTS: dict[str, Callable[[Path, Outside], object]] = {
    "a link to a file": lambda path, outside: path.symlink_to(outside.file),
    "a link to nothing": lambda path, outside: path.symlink_to(outside.missing),
    "a link to a folder": lambda path, outside: path.symlink_to(outside.directory),
    "a hard link": lambda path, outside: path.hardlink_to(outside.file),
    "a pipe": lambda path, outside: os.mkfifo(path),
    "a folder": lambda path, outside: path.mkdir(),
}
NAMES = {
    "the lock": layout.LOCK,
    "the lock where there is no flock": layout.LOCK_WITHOUT_FLOCK,
    "what was asked for": layout.RUN,
    "the events": layout.EVENTS,
    "the journal": layout.JOURNAL,
    "the table": "history.csv",
    "the best model": "best.txt",
    "a model in a folder": f"models/{BEFORE:02d}.txt",
    "the folder of models": "models",
    "the newest resume point": layout.resume_name(BEFORE),
    "the one before": layout.resume_name(BEFORE - 1),
    "the next": layout.resume_name(BEFORE + 1),
    "a blob": "blob-00000001-0123abcd.txt",
    "the next blob": f"blob-{BEFORE + 1:08d}.txt",
    "a temporary file": ".best.x0123456789ab.txt",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_under_a_name_is_not_followed(
    tmp_path: Path, begun: Path, right: Report, outside: Outside, plant: str, name: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(begun, folder)
    path = folder / NAMES[name]
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    PLANTS[plant](path, outside)
    try:
        ended = train(folder, epochs=AFTER)
    except (FileError, ArgumentError) as error:  # refused, and exact once it is gone
        assert NAMES[name] in str(error) or "models/" in str(error)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        ended = train(folder, epochs=AFTER)
    assert report(ended)["history"] == right["history"]
    assert report(ended)["weights"] == right["weights"]
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    planted = [path for path in found if path.stat().st_nlink > 1]
    assert [path for path in found if path not in planted and SECRET in path.read_bytes()] == []
    for path in planted:
        path.unlink()
