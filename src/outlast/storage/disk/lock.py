"""One writer a run: ``LOCK``, held with flock as long as the process lives.

The lock goes with its holder, however it ends. Forked workers close it at
once: a flock is shared with children and would outlive a parent that was
killed. Where a file system has no flock, a file made exclusively says who
holds the run. That one is never stolen: after a crash a person deletes it. Where
flock is there, such a file is left over from elsewhere, and counts for nothing. The
real fence lies deeper: two writers cannot both make resume point N+1.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from outlast.exceptions import RunLocked, UsageError
from outlast.storage.disk.calls import calls, explained, opened, write_all
from outlast.storage.disk.reading import NOT_WHAT_WAS_WRITTEN, open_regular, read_part

if sys.platform != "win32":
    import fcntl

NAME = "LOCK"
NAME_WITHOUT_FLOCK = "LOCK.held"

_TAKEN = {errno.EWOULDBLOCK, errno.EACCES}
_NO_FLOCK = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_NOT_FOR_US = {errno.EACCES, errno.EPERM}  # to open a file
_TRIES = 5  # somebody who only asks who holds the run may have the lock for a moment
_PAUSE = 0.02  # seconds
_LONGEST = 4096  # bytes of what a holder says of itself

_mutex = threading.Lock()
_held: dict[str, Lock] = {}  # of this process, by the folder's real path


@dataclass(eq=False)
class Lock:
    """The right to write in a run's folder; made by :func:`acquire`.

    Args:
        folder: the run's.
        path: of the file that is the lock.
        fd: the file's descriptor; -1 if its mere existence is the lock.
        found: which file it is.
        lost: why this object has the right no more; "" while it has.
    """

    folder: str
    path: str
    fd: int
    found: os.stat_result
    lost: str = ""

    def is_current(self) -> bool:
        """Whether this file is still at the path."""
        try:
            return os.path.samestat(os.lstat(self.path), self.found)
        except OSError:
            return False

    def _give_back(self) -> None:
        """Let the next one in."""
        if self.fd < 0:
            if self.is_current():
                calls.unlink(self.path)
        elif sys.platform != "win32":
            try:
                calls.ftruncate(self.fd, 0)
            finally:
                try:
                    fcntl.flock(self.fd, fcntl.LOCK_UN)  # for all who inherited it, too
                finally:
                    calls.close(self.fd)

    def check(self) -> None:
        """Call before writing.

        Raises:
            UsageError: released, taken over by a newer Run, or this is a forked child.
            RunLocked: the folder was deleted or replaced under us.
        """
        if self.lost:
            raise UsageError(f"This run may no longer write in {self.folder}: {self.lost}.")
        if not self.is_current():
            raise RunLocked(
                f"{self.folder} was deleted or replaced while this run was writing in it.",
                path=self.folder,
            )

    def release(self) -> None:
        """Give the right back; a second call does nothing."""
        with _mutex:
            if self.lost:
                return
            key = os.path.realpath(self.folder)
            try:
                with explained(self.path, "unlock"):
                    self._give_back()
            finally:
                self.lost = "it has ended"
                if _held.get(key) is self:
                    del _held[key]


def acquire(folder: str, *, take_over: bool = False) -> Lock:
    """Become the one writer in ``folder``.

    Args:
        folder: the run's; it exists.
        take_over: if this very process holds the lock, take it from there. The
            former holder finds out at its next ``check()``.

    Raises:
        RunLocked: another process has it, or this one without ``take_over``.
        FileError: the lock's file cannot be written.
    """
    key = os.path.realpath(folder)
    with _mutex:
        former = _held.get(key)
        if former and former.is_current():
            if not take_over:
                raise RunLocked(f"{folder} is in use by another Run of this process.", path=folder)
            lock = replace(former, folder=folder)
            former.lost = "a newer Run of this process has taken it over"
        else:
            _hook_forks()
            lock = _flocked(folder, key) or _exclusive(folder)
        _held[key] = lock
        return lock


def give_up(folder: str) -> None:
    """Release what this process holds of a folder, if it does: taking it was interrupted."""
    held = _held.get(os.path.realpath(folder))
    if held is not None:
        held.release()


def holder(folder: str) -> dict[str, Any] | None:
    """Who holds the run (host, pid, since and more, as far as known), or None if nobody does.

    It says what :func:`acquire` would meet. Nothing is changed. A lock that was given back is left alone;
    one whose holder may have been killed is tried, shared and for a moment. If the system does not let us
    look, nobody can tell who holds the run, and it counts as held by nobody.

    Raises:
        FileError: the system cannot look now, such as with too many open files.
    """
    path = os.path.join(folder, NAME)
    with explained(path, "read"):
        exclusive = os.path.join(folder, NAME_WITHOUT_FLOCK)
        if os.path.lexists(exclusive) and not _has_flock(folder, exclusive):
            return _read(exclusive)
        return _flock_holder(path)


def _flock_holder(path: str) -> dict[str, Any] | None:
    if sys.platform == "win32":
        return None
    try:
        with open_regular(path) as fd:
            try:
                if os.fstat(fd).st_size:
                    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:
                return _read(path) if error.errno in _TAKEN else None
    except OSError as error:
        # Missing; or a link, which no run of ours locks; or not for our eyes.
        if error.errno not in NOT_WHAT_WAS_WRITTEN | _NOT_FOR_US:
            raise
    return None


def _has_flock(folder: str, exclusive: str) -> bool:
    """Whether the file system has flock, so that the exclusive file is no lock here.

    Such a file comes along when a run is copied from a file system without flock. It is tried itself:
    no writer takes a flock on it, so none is disturbed. If it cannot be opened, the folder is.
    """
    if sys.platform == "win32":
        return False
    try:
        with open_regular(exclusive) as fd:
            return _can_be_flocked(fd)
    except OSError as error:
        if error.errno not in NOT_WHAT_WAS_WRITTEN | _NOT_FOR_US:
            raise
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return _can_be_flocked(fd)
    finally:
        os.close(fd)


def _can_be_flocked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # until it is closed
    except OSError as error:
        return error.errno in _TAKEN
    return True


def _flocked(folder: str, key: str) -> Lock | None:
    """The lock's file with a flock on it, or None where there is no flock."""
    if sys.platform == "win32":
        return None
    path = os.path.join(folder, NAME)
    for _ in range(_TRIES):
        with explained(path, "lock", len(_description())):
            try:
                lock = _claimed(folder, path, key)
            except _NoFlockHereError:
                return None
        if lock:
            return lock
        time.sleep(_PAUSE)
    raise _refusal(folder, path)


def _claimed(folder: str, path: str, key: str) -> Lock | None:
    """The lock, or None if somebody has it, or deleted the file between two calls of ours.

    It is noted here, where an interrupt closes it, and not by whoever gets it returned.
    """
    fd = calls.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        lock = Lock(folder, path, fd, found)
        if _flock(fd) and lock.is_current():
            if found.st_nlink == 1:
                calls.ftruncate(fd, 0)
                write_all(fd, _description())
                _held[key] = lock
                return lock
            calls.unlink(path)  # it is somebody else's file too: the next try makes one of our own
    except BaseException:
        _held.pop(key, None)
        calls.close(fd)
        raise
    calls.close(fd)
    return None


def _flock(fd: int) -> bool:
    """Whether we got the lock."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_FLOCK:
            raise _NoFlockHereError from error
        if error.errno not in _TAKEN:
            raise
        return False
    return True


class _NoFlockHereError(Exception):
    """The file system has no flock."""


def _exclusive(folder: str) -> Lock:
    path = os.path.join(folder, NAME_WITHOUT_FLOCK)
    with explained(path, "lock", len(_description())):
        try:
            with opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
                try:
                    write_all(fd, _description())
                    return Lock(folder, path, -1, os.fstat(fd))
                except BaseException:
                    calls.unlink(path)
                    raise
        except FileExistsError:
            raise _refusal(folder, path, f" If that process has ended, delete {path}.") from None


def _refusal(folder: str, path: str, way_out: str = "") -> RunLocked:
    who = _read(path)
    name = f"process {who.get('pid', '?')} on {who.get('host', '?')}, since {who.get('since', '?')}"
    return RunLocked(
        f"{folder} is in use by {name if who else 'another process'}. "
        f"Wait for it, stop it, or use another folder.{way_out}",
        path=folder,
    )


def _description() -> bytes:
    """Who we are, for the text of somebody else's error."""
    boot = ""
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip()
    who = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": boot,
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }
    return json.dumps(who).encode() + b"\n"


def _read(path: str) -> dict[str, Any]:
    """What the holder wrote, {} if it is not (yet) to be read."""
    try:
        found = json.loads(read_part(path, 0, _LONGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@cache
def _hook_forks() -> None:
    """Once in a process."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    """In a forked child: the lock is the parent's alone."""
    global _mutex
    _mutex = threading.Lock()  # the parent's other threads may have held it
    for lock in _held.values():
        lock.lost = "this is a forked child of the process that has it"
        if lock.fd >= 0:
            with suppress(OSError):
                os.close(lock.fd)
    _held.clear()
