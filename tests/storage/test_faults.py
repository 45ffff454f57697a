"""A call of the system fails, each in turn: nothing is silent, nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.storage import workload
from tests.storage.tap import tapped

from outlast.exceptions import FileError
from outlast.storage.disk import files, lock
from outlast.storage.disk.temporary import is_temporary
from outlast.storage.recovery import recover

STEPS = 3
FAULTS: dict[str, tuple[int, set[str]]] = {
    "EIO": (errno.EIO, {"write", "pwrite", "fsync", "ftruncate", "link", "rename", "close"}),
    "ENOSPC": (errno.ENOSPC, {"open", "write", "pwrite", "mkdir", "link"}),
    "EMFILE": (errno.EMFILE, {"open"}),
    "EACCES": (errno.EACCES, {"open", "unlink", "rename", "mkdir"}),
}


class Broken:
    """Lets call ``number`` fail, if it is one of ``names``, and with ``lasting`` all such after it."""

    def __init__(self, number: int, code: int, names: set[str], lasting: bool) -> None:
        self.number, self.code, self.names, self.lasting = number, code, names, lasting
        self.made = 0
        self.failed: list[str] = []
        self.opened: object = None

    def __call__(self, name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        self.made += 1
        due = self.made == self.number + 1 or (self.lasting and self.made > self.number)
        if not due or name not in self.names:
            return real(*arguments)
        self.failed.append(name)
        self.opened = arguments[0]
        if name == "close":  # the descriptor is gone all the same
            real(*arguments)
        elif name in ("write", "pwrite"):  # half of it may have been taken
            real(arguments[0], arguments[1][: len(arguments[1]) // 2], *arguments[2:])
        raise OSError(self.code, os.strerror(self.code))


def each_call(folder: Path, code: int, names: set[str], lasting: bool) -> Iterator[tuple[Broken, Path]]:
    """A workload in which each call fails once, as far as it is one of ``names``."""
    number = 0
    while True:
        broken = Broken(number, code, names, lasting)
        root = folder / f"{number}"
        error = None
        with tapped(broken):
            try:
                workload.run(str(root), STEPS)
            except FileError as caught:
                error = caught
        if broken.made <= number:
            return
        if broken.failed:
            assert_told(error, broken, root)
            yield broken, root
        shutil.rmtree(root, ignore_errors=True)
        number += 5 if lasting else 1  # once it lasts, one more call makes little difference


def assert_told(error: FileError | None, broken: Broken, root: Path) -> None:
    """The one error names the path and keeps the number; no temporary file is left."""
    if error is None and broken.failed == ["open"] and str(root).startswith(f"{broken.opened}/"):
        assert broken.code == errno.EACCES  # the folder above is somebody else's: not new
        return
    if error is None and broken.code == errno.EMFILE and not broken.lasting:
        assert is_temporary(
            os.path.basename(str(broken.opened))
        )  # one of several at once: it was tried again
        return
    assert error is not None, f"{broken.failed} at call {broken.number} was silent"
    assert error.errno == broken.code
    assert str(root.parent) in str(error)
    if broken.code == errno.ENOSPC:
        assert "bytes are free" in str(error)
    left = [path for path in root.rglob("*") if is_temporary(path.name)]
    assert left == [] or "unlink" in broken.names or broken.code == errno.EIO


@pytest.fixture
def end(memory_disk: Path) -> dict[str, str]:
    """What the folder holds after a run that nothing disturbed."""
    workload.run(str(memory_disk / "undisturbed"), STEPS)
    return workload.content(memory_disk / "undisturbed")


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_call_is_told_and_the_next_start_goes_on(
    memory_disk: Path, end: dict[str, str], fault: str, lasting: bool
) -> None:
    code, names = FAULTS[fault]
    tried = 0
    for _, root in each_call(memory_disk / "runs", code, names, lasting):
        tried += 1
        workload.run(str(root), STEPS)
        assert workload.content(root) == end
    assert tried > 5


def test_a_run_whose_disk_is_full_goes_on_in_the_same_process(memory_disk: Path, end: dict[str, str]) -> None:
    """After an error a recovery brings the folder to the last commit, lock and all."""
    for broken, root in each_call(memory_disk / "runs", errno.ENOSPC, {"pwrite"}, False):
        held = lock.acquire(str(root), take_over=True)
        found = recover(str(root))
        assert found.committed.number in (0, 1, 2), broken.number
        held.release()
        workload.run(str(root), STEPS)
        assert workload.content(root) == end


def test_short_writes_are_completed(memory_disk: Path, end: dict[str, str]) -> None:
    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        if name in ("write", "pwrite"):
            data = arguments[1][: len(arguments[1]) // 2 + 1]
            return real(arguments[0], data, *arguments[2:])
        return real(*arguments)

    root = memory_disk / "run"
    with tapped(hook):
        workload.run(str(root), STEPS)
    assert workload.content(root) == end


def test_where_there_are_no_hard_links_all_is_the_same(memory_disk: Path, end: dict[str, str]) -> None:
    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        if name == "link":
            raise OSError(errno.EPERM, "Operation not permitted")
        return real(*arguments)

    root = memory_disk / "run"
    with tapped(hook):
        workload.run(str(root), STEPS)
    assert workload.content(root) == end


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_no_error_leaks_a_descriptor(memory_disk: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in each_call(memory_disk / "runs", errno.EIO, {"fsync", "pwrite", "link"}, False):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_real_limit_on_file_sizes_is_told(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "a"
    files.publish_bytes(str(path), b"old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(FileError) as caught:
            files.publish_bytes(str(path), b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]
