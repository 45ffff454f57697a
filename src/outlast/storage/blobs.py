"""Blobs: immutable files that resume points name, with size and checksum."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from outlast.exceptions import DamagedFile, FileError
from outlast.storage.disk import files
from outlast.storage.disk.reading import NOT_WHAT_WAS_WRITTEN, crc32_file
from outlast.storage.format import layout

_LARGEST = (1 << 63) - 1  # bytes that a file may have


@dataclass(frozen=True)
class Blob:
    """The name of an immutable file, and what it must hold.

    Args:
        name: its name in the run's folder.
        size: its length in bytes.
        crc32: the CRC-32 of its content.
    """

    name: str
    size: int
    crc32: int

    def to_json(self) -> dict[str, Any]:
        """As it stands in a resume point."""
        return {"blob": self.name, "size": self.size, "crc32": f"{self.crc32:08x}"}

    @classmethod
    def from_json(cls, entry: Any) -> Blob:
        """From a resume point; ``ValueError`` if it is none or leads out of the folder."""
        try:
            blob = cls(entry["blob"], int(entry["size"]), int(entry["crc32"], 16))
            named = layout.is_blob(blob.name) and os.path.basename(blob.name) == blob.name
        except (KeyError, TypeError) as error:
            raise ValueError(f"{entry!r} names no blob") from error
        if not named:
            raise ValueError(f"{blob.name!r} is no name of a blob")
        if not 0 <= blob.size <= _LARGEST:
            raise ValueError(f"{blob.name} cannot have {blob.size} bytes")
        return blob

    def fits(self, path: str) -> bool:
        """Whether the file at ``path`` has this size and checksum."""
        try:
            return os.lstat(path).st_size == self.size and crc32_file(path) == self.crc32
        except OSError as error:
            if error.errno in NOT_WHAT_WAS_WRITTEN:
                return False
            raise


def whole(folder: str, view: str, blob: Blob) -> str:
    """The path of a file that holds the blob's bytes now: what people see, else the blob itself.

    Raises:
        DamagedFile: neither does.
    """
    for path in (layout.view_path(folder, view), os.path.join(folder, blob.name)):
        if blob.fits(path):
            return path
    raise DamagedFile(
        f"{os.path.join(folder, view)} is not what was saved, and neither is {blob.name}.", path=folder
    )


def seal_blob(
    folder: str,
    number: int,
    view: str,
    write: Callable[[str], object],
    *,
    rows: bool = False,
    needed: int | None = None,
) -> Blob:
    """Write a blob for resume point ``number`` under the first name that is free.

    Args:
        folder: the run's.
        number: of the resume point that shall name it.
        view: whose copy it will be; gives the suffix.
        write: makes the file at the path that it is given.
        rows: it holds lines of a log.
        needed: bytes that it will take, for the text of an error.

    Raises:
        FileError: the disk refused, or ``write`` made no regular file.
    """
    found: list[tuple[int, int]] = []

    def write_and_look(path: str) -> None:
        write(path)
        found.append((os.lstat(path).st_size, crc32_file(path)))

    for name in layout.blob_names(number, view, rows=rows):
        path = os.path.join(folder, name)
        if os.path.lexists(path):  # of a commit that failed
            continue
        files.seal(path, write_and_look, needed=needed)
        return Blob(name, *found[-1])
    raise FileError(f"Cannot name another blob in {folder}.", path=folder, errno=errno.EEXIST)
