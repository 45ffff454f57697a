"""Together: new files whose content goes to the disk at the same time, before any of them gets its name.

A file system writes its journal once for all who wait for it together, and once for each who waits alone. So
the files of a commit are written under temporary names, synced at once, and named one after the other, in
the order in which they were written.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from outlast.exceptions import FileError
from outlast.storage.disk.beside import Work
from outlast.storage.disk.calls import calls, explained, opened, sync_file
from outlast.storage.disk.temporary import claim_name, temporary_name

_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_TOO_MANY_OPEN = {errno.EMFILE, errno.ENFILE}
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


@dataclass
class _New:
    """A file that is written, and has no name yet."""

    path: str
    temporary: str
    needed: int | None
    give: Callable[[str, str], object]  # the name


class Together:
    """Takes new files; what got no name when it is left is deleted.

    Example:
        >>> import os, tempfile
        >>> from outlast.storage.disk.files import Content
        >>> folder = tempfile.mkdtemp()
        >>> with Together() as new:
        ...     new.seal(folder + "/a", Content(b"first"))
        ...     new.replace(folder + "/b", Content(b"second"))
        ...     new.sync()
        ...     new.name()
        >>> sorted(os.listdir(folder))
        ['a', 'b']
    """

    def __init__(self) -> None:
        self._new: list[_New] = []

    def seal(self, path: str, write: Callable[[str], object], *, needed: int | None = None) -> None:
        """Write a file for a name that must be free; see ``files.seal``."""
        self._write(path, write, needed, _link)

    def replace(self, path: str, write: Callable[[str], object], *, needed: int | None = None) -> None:
        """Write a file for a name that may be another's; see ``files.replace``."""
        if os.path.isdir(path):
            raise FileError(
                f"Cannot write {path}: there is a folder of that name. "
                "Please specify a non-directory filepath.",
                path=path,
                errno=errno.EISDIR,
            )
        self._write(path, write, needed, _rename)

    def _write(
        self,
        path: str,
        write: Callable[[str], object],
        needed: int | None,
        give: Callable[[str, str], object],
    ) -> None:
        new = _New(path, temporary_name(path), needed, give)
        self._new.append(new)
        with explained(path, "write", needed), self._or_none():
            write(new.temporary)

    def where(self, path: str) -> str:
        """Where the file for ``path`` is now."""
        return next((new.temporary for new in self._new if new.path == path), path)

    def sync(self) -> None:
        """Wait until the content of all files is on the disk.

        Raises:
            FileError: of the first that the disk refused.
        """
        others = [Work(sync_file, new.temporary) for new in self._new[1:]]
        try:
            for other in others:
                other.begin()
            errors = [_error_of(partial(sync_file, new.temporary)) for new in self._new[:1]]
            errors += [other.error() for other in others]
        finally:
            for other in others:
                other.leave()
        for error in errors:
            if error is not None and not isinstance(error, Exception):
                raise error  # Ctrl-C, whatever the disk says
        for new, error in zip(self._new, errors, strict=True):
            if isinstance(error, OSError) and error.errno in _TOO_MANY_OPEN:  # the others are closed now
                error = _error_of(partial(sync_file, new.temporary))
            if error is not None:
                with explained(new.path, "write", new.needed), self._or_none():
                    raise error

    def name(self, *, but: str = "") -> None:
        """Give the files their names, in their order, but for the one that is to be at ``but``."""
        for new in [one for one in self._new if one.path != but]:
            with explained(new.path, "write", new.needed):
                new.give(new.temporary, new.path)
            self._new.remove(new)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()

    @contextmanager
    def _or_none(self) -> Iterator[None]:
        """Drop all files at an error, before anybody looks how much of the disk is free."""
        try:
            yield
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        for new in self._new:
            with suppress(OSError):  # the error that brought us here is the one to tell
                remove_tree(new.temporary)
        self._new = []


def _error_of(wait: Callable[[], object]) -> BaseException | None:
    """What a sync has raised; all are waited for, so that nobody reads a file that goes."""
    try:
        wait()
    except BaseException as error:
        return error
    return None


def remove_tree(path: str) -> None:
    """Delete a file, or a folder that a saver made in its place."""
    if os.path.isdir(path) and not os.path.islink(path):
        for name in os.listdir(path):
            remove_tree(os.path.join(path, name))
        calls.rmdir(path)
    else:
        calls.unlink(path)


def _link(temporary: str, path: str) -> None:
    """Give a name that must be free."""
    try:
        calls.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename_to_free_name(temporary, path)
    else:
        calls.unlink(temporary)


def _rename(source: str, target: str) -> None:
    """Rename onto ``target``; Windows refuses while somebody reads it: try for a second."""
    for _ in range(20 if os.name == "nt" else 0):
        try:
            return calls.rename(source, target)
        except PermissionError:
            time.sleep(0.05)
    calls.rename(source, target)


def _rename_to_free_name(source: str, target: str) -> None:
    """Where hard links are missing, which never overwrite: a claim keeps other writers from the name.

    Readers see no file or the whole one. What a killed writer left of a claim is a temporary file.
    """
    claim = claim_name(target)
    with opened(claim, _NEW):
        pass
    try:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "the name is taken")
        calls.rename(source, target)
    finally:
        calls.unlink(claim)
