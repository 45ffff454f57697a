"""One writer a run, in real processes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from outlast.exceptions import FileError, RunLocked, UsageError
from outlast.storage.disk import lock
from outlast.storage.disk.calls import calls
from outlast.storage.disk.lock import acquire, holder

HOLD = """
import sys, os, time
from outlast.storage.disk.lock import acquire
held = acquire(sys.argv[1])
child = os.fork() if len(sys.argv) > 2 else None
if child == 0:
    time.sleep(600)
print(child, flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that holds the run's lock until the end, and the line that it printed."""
    command = [sys.executable, "-c", HOLD, str(folder), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def test_a_lock_is_held_until_it_is_given_back(tmp_path: Path) -> None:
    held = acquire(str(tmp_path))
    assert not held.lost
    held.check()
    who = holder(str(tmp_path))
    assert who is not None and who["pid"] == os.getpid()
    held.release()
    assert held.lost
    assert holder(str(tmp_path)) is None
    held.release()
    with pytest.raises(UsageError, match="it has ended"):
        held.check()
    acquire(str(tmp_path)).release()


def test_another_process_is_refused_at_once_and_told_who_holds_the_run(tmp_path: Path) -> None:
    with another_process(tmp_path) as (process, _):
        assert holder(str(tmp_path)) is not None
        with pytest.raises(RunLocked, match=rf"in use by process {process.pid} on \S+, since 2"):
            acquire(str(tmp_path))
        with pytest.raises(RunLocked):
            acquire(str(tmp_path), take_over=True)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_goes_with_its_holder_however_it_ends(tmp_path: Path, how: int) -> None:
    with another_process(tmp_path) as (process, _):
        process.send_signal(how)
        process.wait()
        assert holder(str(tmp_path)) is None
        acquire(str(tmp_path)).release()


def test_a_stopped_holder_still_holds(tmp_path: Path) -> None:
    with another_process(tmp_path) as (process, _):
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(RunLocked):
            acquire(str(tmp_path))


def test_forked_workers_do_not_keep_the_lock_of_a_killed_parent(tmp_path: Path) -> None:
    with another_process(tmp_path, "fork") as (process, worker):
        try:
            with pytest.raises(RunLocked):
                acquire(str(tmp_path))
            process.kill()
            process.wait()
            os.kill(int(worker), 0)  # it lives
            acquire(str(tmp_path)).release()
        finally:
            os.kill(int(worker), signal.SIGKILL)


def test_a_forked_child_may_not_write_and_leaves_the_lock_alone(tmp_path: Path) -> None:
    held = acquire(str(tmp_path))
    child = os.fork()
    if child == 0:
        try:
            held.check()
        except UsageError as error:
            held.release()
            os._exit(0 if "forked child" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    held.check()
    with pytest.raises(RunLocked):
        subprocess_acquires(tmp_path)
    held.release()


def subprocess_acquires(folder: Path) -> None:
    """Try it from another process, and raise its error here."""
    code = f"from outlast.storage.disk.lock import acquire; acquire({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        assert "RunLocked" in done.stderr
        raise RunLocked(done.stderr)


def test_programs_that_are_started_do_not_keep_the_lock(tmp_path: Path) -> None:
    held = acquire(str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as program:
        held.release()
        subprocess_acquires(tmp_path)
        program.kill()


def test_a_second_run_of_this_process_is_refused_unless_it_takes_over(tmp_path: Path) -> None:
    first = acquire(str(tmp_path))
    with pytest.raises(RunLocked, match="another Run of this process"):
        acquire(str(tmp_path))
    second = acquire(str(tmp_path), take_over=True)
    with pytest.raises(UsageError, match="newer Run of this process has taken it over"):
        first.check()
    first.release()
    second.check()
    with pytest.raises(RunLocked):
        subprocess_acquires(tmp_path)
    second.release()
    subprocess_acquires(tmp_path)


def test_it_is_one_run_by_whatever_path_it_is_reached(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    held = acquire(str(tmp_path / "run"))
    with pytest.raises(RunLocked):
        acquire(str(tmp_path / "link"))
    held.release()


def test_a_folder_that_was_deleted_and_made_again_is_another_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    old = acquire(str(folder))
    (folder / "LOCK").unlink()
    with pytest.raises(RunLocked, match="deleted or replaced"):
        old.check()
    new = acquire(str(folder))
    before = open_files()
    old.release()
    assert open_files() == before - 1
    new.check()
    with pytest.raises(RunLocked, match="another Run of this process"):
        acquire(str(folder))
    with pytest.raises(RunLocked):
        subprocess_acquires(folder)
    new.release()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "LOCK").symlink_to(precious)
    with pytest.raises(FileError):
        acquire(str(tmp_path))
    assert precious.read_text() == "precious"


def test_asking_who_holds_a_run_changes_nothing(tmp_path: Path) -> None:
    assert holder(str(tmp_path)) is None
    assert os.listdir(tmp_path) == []


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, operation: int) -> Any:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)


def test_where_flock_is_missing_an_exclusive_file_serves(tmp_path: Path, no_flock: None) -> None:
    held = acquire(str(tmp_path))
    who = json.loads((tmp_path / "LOCK.held").read_text())
    assert who["pid"] == os.getpid() and who["host"] and "boot" in who and "since" in who
    assert holder(str(tmp_path)) == who
    held.check()
    held.release()
    assert not (tmp_path / "LOCK.held").exists()
    assert holder(str(tmp_path)) is None


def test_an_exclusive_file_that_could_not_be_written_is_no_lock(
    tmp_path: Path, no_flock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(calls, "write", full)
        with pytest.raises(FileError, match="No space left"):
            acquire(str(tmp_path))
    acquire(str(tmp_path)).release()


def test_an_exclusive_file_is_never_stolen(tmp_path: Path, no_flock: None) -> None:
    path = tmp_path / "LOCK.held"
    path.write_text('{"pid": 1, "host": "elsewhere", "since": "yesterday"}')
    with pytest.raises(RunLocked, match=r"process 1 on elsewhere, since yesterday.*delete .*held"):
        acquire(str(tmp_path))
    assert path.exists()
    path.unlink()
    acquire(str(tmp_path)).release()


@pytest.mark.parametrize("name", ["LOCK", "LOCK.held"])
def test_who_holds_it_is_not_asked_of_a_file_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").write_text('{"pid": 7}')
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "elsewhere")
    assert not holder(str(tmp_path / "run"))


@pytest.mark.parametrize("said", [b"[" * 3000, b'{"pid": 7}' + b" " * 5000 + b"}", b"\xff", b"7"])
def test_a_holder_that_says_nonsense_holds_it_all_the_same(
    tmp_path: Path, no_flock: None, said: bytes
) -> None:
    (tmp_path / "LOCK.held").write_bytes(said)
    assert holder(str(tmp_path)) in ({}, {"pid": 7})


def test_a_description_of_any_length_takes_no_memory(tmp_path: Path, no_flock: None) -> None:
    with open(tmp_path / "LOCK.held", "wb") as file:
        file.truncate(1 << 40)
    assert holder(str(tmp_path)) == {}


def test_a_lock_that_was_given_back_is_not_touched_by_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire(str(tmp_path)).release()

    def touch(fd: int, operation: int) -> None:
        raise AssertionError("who only asks took the lock")

    monkeypatch.setattr(lock.fcntl, "flock", touch)
    assert holder(str(tmp_path)) is None


@pytest.mark.parametrize("kind", ["a file", "an unreadable file", "a link", "a folder"])
def test_a_lock_of_a_file_system_without_flock_counts_for_nothing_on_one_with_flock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "LOCK.held"
    if kind == "a link":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "a folder":
        path.mkdir()
    else:
        path.write_text('{"pid": 7, "host": "cluster"}')
    if kind == "an unreadable file":
        refuse_to_open(monkeypatch, path)
    assert holder(str(tmp_path)) is None
    held = acquire(str(tmp_path))  # as it said
    who = holder(str(tmp_path))
    assert who is not None and who["pid"] == os.getpid()
    held.release()
    assert holder(str(tmp_path)) is None
    assert os.path.lexists(path)


@pytest.mark.parametrize("kind", ["a file", "a folder"])
def test_it_counts_where_flock_is_missing(tmp_path: Path, no_flock: None, kind: str) -> None:
    path = tmp_path / "LOCK.held"
    path.mkdir() if kind == "a folder" else path.write_text('{"pid": 7}')
    assert holder(str(tmp_path)) is not None
    with pytest.raises(RunLocked):
        acquire(str(tmp_path))


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, path: Path, number: int = errno.EACCES) -> None:
    """As if the file were another user's: not even root may open it."""
    really = os.open

    def refusing(name: Any, *arguments: Any, **options: Any) -> int:
        if os.fspath(name) == str(path):
            raise OSError(number, os.strerror(number), name)
        return really(name, *arguments, **options)

    monkeypatch.setattr(os, "open", refusing)


@pytest.mark.parametrize("name", ["LOCK", "LOCK.held"])
def test_who_may_not_read_the_lock_cannot_tell_who_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).write_text('{"pid": 7}')
    refuse_to_open(monkeypatch, tmp_path / name)
    assert holder(str(tmp_path)) is None


def test_if_no_file_can_be_opened_the_error_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "LOCK").write_text('{"pid": 7}')
    refuse_to_open(monkeypatch, tmp_path / "LOCK", errno.EMFILE)
    with pytest.raises(FileError, match="LOCK: Too many open files"):
        holder(str(tmp_path))
