"""A system call of a Run fails, each in turn: absorbed, or one clear error; never silent, never lost."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.faults.training import Report, committed_epoch, debris, report, temporaries, train
from tests.storage.tap import tapped

from outlast.exceptions import FileError, OutlastWarning
from outlast.storage.disk.temporary import is_temporary

BEFORE, AFTER = 1, 3  # epochs: those that went well, and those in all

_ALL = {"open", "write", "pwrite", "fsync", "ftruncate", "link", "rename", "unlink", "mkdir"}
FAULTS = {
    "ENOSPC": (errno.ENOSPC, _ALL),
    "EIO": (errno.EIO, _ALL),
    "EMFILE": (errno.EMFILE, {"open"}),
}
_DELETES_TEMPORARY_FILES = "unlink"  # if that fails, the next start does it


@dataclass
class Broken:
    """Lets calls fail, counted among those of these names; of a write, half is done.

    Args:
        number: of the first that fails, from 0.
        code: the error's number.
        names: of the calls.
        lasting: how many fail, one after the other.
        awake: until then calls are neither counted nor let fail.
    """

    number: int
    code: int
    names: set[str]
    lasting: int = 1
    awake: bool = True
    made: int = 0
    failed: list[str] = field(default_factory=list)
    is_mended: bool = False  # a file to be synced beside others is opened again

    def __call__(self, name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        if not self.awake or name not in self.names:
            return real(*arguments)
        self.made += 1
        if not self.number < self.made <= self.number + self.lasting:
            return real(*arguments)
        self.failed.append(name)
        if self.code == errno.EMFILE and self.lasting == 1 and arguments[1] == os.O_RDONLY:
            self.is_mended = is_temporary(os.path.basename(arguments[0]))
        if name in ("write", "pwrite"):
            real(arguments[0], arguments[1][: len(arguments[1]) // 2], *arguments[2:])
        raise OSError(self.code, os.strerror(self.code))

    def wake(self, *_: object) -> None:
        self.awake = True


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """A folder, in memory where there is one, with a run that has done ``BEFORE`` epochs."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    train(folder / "begun", epochs=BEFORE)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def right(disk: Path) -> Report:
    """How a training ends that nothing disturbed."""
    return report(train(disk / "undisturbed", epochs=AFTER))


def each_call(
    disk: Path, fault: str, *, begun: bool, lasting: int = 1, awake: bool = True
) -> Iterator[tuple[Broken, Path]]:
    """A call that will fail and a folder to train in, until a training makes no such call any more."""
    code, names = FAULTS[fault]
    folder = disk / "run"
    for number in range(0, 1000, max(1, lasting // 4)):
        if begun:
            shutil.copytree(disk / "begun", folder)
        broken = Broken(number, code, names, lasting, awake)
        yield broken, folder
        shutil.rmtree(folder, ignore_errors=True)
        if not broken.failed:
            assert number > 10, "hardly any call was tried"
            return


def faults_of(error: FileError, broken: Broken, folder: Path) -> Iterator[str]:
    """What is wrong with the error, or with its text."""
    text = str(error)
    if type(error) is not FileError or "\n" in text:
        yield "it is not one clear error"
    if not error.filename or os.path.commonpath([error.filename, folder]) not in (
        str(folder),
        str(folder.parent),
    ):
        yield "it names no path"
    if str(error.filename) not in text:
        yield "its text does not name the path"
    if error.errno != broken.code:
        yield "it has another number"
    if broken.code == errno.ENOSPC and "bytes are free" not in text:
        yield "it does not say what is free"
    if broken.code == errno.ENOSPC and "write" in broken.failed[0] and "bytes are needed" not in text:
        yield "it does not say what is needed"


@pytest.mark.parametrize("begun", [False, True], ids=["a new run", "a run that goes on"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_call_ends_the_training_with_one_error_and_the_next_start_is_exact(
    disk: Path, right: Report, fault: str, begun: bool
) -> None:
    wrong = []
    for broken, folder in each_call(disk, fault, begun=begun):
        found = []
        try:
            with tapped(broken):
                train(folder, epochs=AFTER if begun else BEFORE)
        except FileError as error:
            found += [f"{error}: {what}" for what in faults_of(error, broken, folder)]
        else:
            found += ["it is silent"] if broken.failed and not broken.is_mended else []
        if temporaries(folder) and broken.failed != [_DELETES_TEMPORARY_FILES]:
            found.append(f"it leaves {temporaries(folder)}")
        if begun and committed_epoch(folder) < BEFORE - 1:
            found.append("the last good state is lost")
        if report(train(folder, epochs=AFTER)) != right:
            found.append("the next start makes another end")
        if debris(folder):
            found.append(f"the next start leaves {debris(folder)}")
        wrong += [f"call {broken.number} ({broken.failed}): {what}" for what in found]
    assert wrong == []


@pytest.mark.parametrize("lasting", [1, 12], ids=["once", "for a while"])
@pytest.mark.parametrize("fault", FAULTS)
def test_with_warn_each_failure_is_said_and_a_later_epoch_saves_what_could_not_be_saved(
    disk: Path, right: Report, fault: str, lasting: int
) -> None:
    wrong = []
    for broken, folder in each_call(disk, fault, begun=True, lasting=lasting, awake=False):
        with warnings.catch_warnings(record=True) as caught, tapped(broken):
            warnings.simplefilter("always")
            run = train(folder, epochs=AFTER, in_batch=broken.wake, on_save_error="warn")
        said = [str(warning.message) for warning in caught if warning.category is OutlastWarning]
        found = [f"something else is said: {w.message}" for w in caught if w.category is not OutlastWarning]
        if bool(said) != bool(broken.failed and not broken.is_mended):
            found.append(f"it says {said or 'nothing'}")
        if run.committed != (AFTER - 1, None) and not any("in memory only" in text for text in said):
            found.append(f"what is not saved is not said, but {said}")
        found += verdict(run, folder, right)
        wrong += [f"call {broken.number} ({broken.failed}): {what}" for what in found]
    assert wrong == []


def verdict(run: Any, folder: Path, right: Report) -> Iterator[str]:
    """What is wrong with a training's end; where it is not on the disk, with that of the next start."""
    if run.history.rows != right["history"]:
        yield "the training went another way"
    if run.committed == (AFTER - 1, None) and report(run) != right:
        yield "the end is another"
    if report(train(folder, epochs=AFTER)) != right:
        yield "the next start makes another end"
    if debris(folder):
        yield f"the next start leaves {debris(folder)}"
