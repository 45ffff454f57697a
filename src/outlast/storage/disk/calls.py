"""The seam: the system calls that change the disk, and what their errors say.

A test replaces a method of ``calls`` to record what happens or to let it fail.
"""

from __future__ import annotations

import errno
import os
import sys

from outlast.exceptions import FileError

BINARY: int = getattr(os, "O_BINARY", 0)  # Windows would translate line ends
_CANNOT_SYNC_A_FOLDER = {errno.EINVAL, errno.ENOTSUP}
_FICLONE = 0x40049409  # linux/fs.h
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


class Calls:
    """One method a system call, and nothing else."""

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        """Open or create a file; returns the descriptor, closed in child programs."""
        return os.open(path, flags | BINARY, mode)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write at the descriptor's position; returns how many bytes were taken."""
        return os.write(fd, data)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write at ``offset``; returns how many bytes were taken."""
        if sys.platform == "win32":
            os.lseek(fd, offset, os.SEEK_SET)
            return os.write(fd, data)
        return os.pwrite(fd, data, offset)

    def ftruncate(self, fd: int, length: int) -> None:
        """Cut or extend the file to ``length`` bytes."""
        os.ftruncate(fd, length)

    def fsync(self, fd: int) -> None:
        """Return when the content, or a folder's names, are on the disk."""
        if sys.platform == "darwin":  # its fsync leaves the data in the drive's cache
            import fcntl

            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fsync(fd)

    def close(self, fd: int) -> None:
        """Close the descriptor."""
        os.close(fd)

    def clone(self, source: int, target: int) -> bool:
        """Let an empty file share the blocks of another, where the file system can."""
        if sys.platform != "linux":
            return False
        import fcntl

        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError:
            return False
        return True

    def link(self, source: str, target: str) -> None:
        """Give a file a second name, which must be free."""
        os.link(source, target)

    def rename(self, source: str, target: str) -> None:
        """Move a name onto another, which may be taken, in one step."""
        os.replace(source, target)

    def unlink(self, path: str) -> None:
        """Delete a name."""
        os.unlink(path)

    def rmdir(self, path: str) -> None:
        """Delete an empty folder."""
        os.rmdir(path)

    def mkdir(self, path: str) -> None:
        """Make one folder."""
        os.mkdir(path)


calls = Calls()


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of ``data``; a system may take it in several pieces."""
    rest = memoryview(data)
    while len(rest):
        rest = rest[calls.write(fd, rest) :]


class opened:
    """The descriptor of ``path``, closed at the end.

    A class, and no generator, for a row of a table is written in less time than a generator takes.
    """

    def __init__(self, path: str, flags: int) -> None:
        self._path, self._flags = path, flags

    def __enter__(self) -> int:
        self._fd = calls.open(self._path, self._flags)
        return self._fd

    def __exit__(self, *error: object) -> None:
        calls.close(self._fd)


def sync_file(path: str) -> None:
    """Wait until the file's content is on the disk."""
    with opened(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY) as fd:
        calls.fsync(fd)


def sync_folder(path: str) -> None:
    """Wait until the folder's names are on the disk, where a system can do that."""
    if os.name == "nt":
        return
    with opened(path or ".", os.O_RDONLY | os.O_DIRECTORY) as fd:
        try:
            calls.fsync(fd)
        except OSError as error:
            if error.errno not in _CANNOT_SYNC_A_FOLDER:
                raise


class explained:
    """Turn an ``OSError`` inside into a ``FileError`` that a user can act upon.

    Args:
        path: the file that it is about, as the user knows it.
        action: what was tried, as in "Cannot ... runs/digits".
        needed: bytes that were to be written, if that is known.
    """

    def __init__(self, path: str, action: str, needed: int | None = None) -> None:
        self._path, self._action, self._needed = path, action, needed

    def __enter__(self) -> None:
        """Nothing has happened yet."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, FileError):
            raise _explanation(error, self._path, self._action, self._needed) from error


def _explanation(error: OSError, path: str, action: str, needed: int | None) -> FileError:
    cause = error.strerror or str(error)
    if error.errno and "\n" in cause:  # h5py's: its buffers and offsets
        cause = os.strerror(error.errno)
    text = f"Cannot {action} {path}: {cause}."
    if error.errno in _NO_SPACE:
        text += _space(path, needed)
    return FileError(text, path=path, errno=error.errno)


def _space(path: str, needed: int | None) -> str:
    import shutil

    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(folder):  # it is what could not be made
        folder = os.path.dirname(folder)
    if hasattr(os, "statvfs"):
        system = os.statvfs(folder)
        if system.f_files and not system.f_favail:
            return " The file system has no room for another file, however small: delete some."
    free = shutil.disk_usage(folder).free
    needs = "" if needed is None else f"{needed:,} bytes are needed, "
    return f" {needs}{free:,} bytes are free: make room."
