"""Output: what a callback may do to files."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from outlast.exceptions import FileError
from outlast.storage.disk import files
from outlast.storage.disk.calls import explained


class Save(Protocol):
    """How a model is written, in two halves, so that training need not wait for the second."""

    def capture(self) -> Callable[[str], object]:
        """On the training thread: take what is needed, return what writes it to a path.

        The returned function may run on any thread, and later; it uses only what was taken. If it
        has a number ``needed``, an error can say how many bytes were wanting.
        """

    def write(self, path: str) -> object:
        """Both halves at once, on the training thread."""


class Output(Protocol):
    """What a callback may do to files; names are relative to wherever the output writes."""

    def prepare(self, name: str) -> bool:
        """Before the first batch: make the folder, and refuse a name that cannot be written.

        Returns whether anything is kept there.
        """

    def named(self, default: str) -> str | None:
        """The name of a file that the user gave none; None if there must be one."""

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""

    def read(self, name: str) -> bytes | None:
        """The file's content, None if there is no such file."""

    def append(self, name: str, data: bytes) -> None:
        """Add whole lines at the end, in one write."""

    def replace(self, name: str, data: bytes) -> None:
        """Replace the file: it has the old content or the new one, never less."""

    def publish(self, name: str, save: Save) -> str:
        """Write a model: the old file or the new one, never less. Returns the path."""

    def copy(self, name: str, target: str) -> None:
        """Make ``target`` the same as a model that was published, never by a link."""

    def remove(self, name: str) -> None:
        """Delete the file, if there is one."""


class LooseOutput:
    r"""Files where the user said, each of them whole or not at all.

    What callbacks use without a ``Run``.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> LooseOutput().replace(folder + "/a.csv", b"epoch,loss\\r\\n")
        >>> LooseOutput().read(folder + "/a.csv")
        b'epoch,loss\\r\\n'
    """

    def prepare(self, name: str) -> bool:
        """Make the folder of ``name`` and try whether a file can be made there.

        A template's folder is known as far as its first field.

        Raises:
            FileError: it cannot, or there is a folder where the file should be.
        """
        if os.path.isdir(name):
            raise FileError(
                f"Please specify a non-directory filepath. The path used is an existing directory: {name}",
                path=name,
            )
        if files.is_device(name):  # such as /dev/null: it takes everything, and its folder is the system's
            return True
        if os.path.exists(name) and not os.path.isfile(name):
            raise FileError(f"{name} is a pipe, a socket or a disk, and no file: choose another.", path=name)
        literal = name.partition("{")[0]
        folder = os.path.dirname(literal) or "."
        files.make_folder(folder)
        files.probe_writable(folder)
        return True

    def named(self, default: str) -> str | None:
        """The user must say where files go."""
        return None

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return os.path.exists(name)

    def read(self, name: str) -> bytes | None:
        """The file's content, None if there is no such file."""
        with explained(name, "read"), suppress(FileNotFoundError), open(name, "rb") as file:
            return file.read()
        return None

    def append(self, name: str, data: bytes) -> None:
        """Add whole lines at the end, in one write."""
        files.append(name, data)

    def replace(self, name: str, data: bytes) -> None:
        """Replace the file, atomically."""
        files.publish_bytes(name, data)

    def publish(self, name: str, save: Save) -> str:
        """Write a model, atomically."""
        files.make_folder(os.path.dirname(name) or ".")
        files.publish(name, save.write)
        return name

    def copy(self, name: str, target: str) -> None:
        """Copy a file, atomically."""
        files.publish(target, lambda path: files.exhaust(files.copy(name, path)))

    def remove(self, name: str) -> None:
        """Delete the file, if there is one."""
        if os.path.exists(name) and not files.is_device(name):
            files.remove(name)
