"""Blobs: immutable files that resume points name, with size and checksum."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from outlast.exceptions import DamagedFile, FileError
from outlast.storage.disk import direct, files
from outlast.storage.disk.direct import Pieces, Sum
from outlast.storage.disk.reading import NOT_WHAT_WAS_WRITTEN, crc32_file, crc32_part, regular_size
from outlast.storage.disk.together import Together
from outlast.storage.format import layout, limits


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
        """As a resume point names it."""
        return {"blob": self.name, "size": self.size, "crc32": f"{self.crc32:08x}"}

    @classmethod
    def from_json(cls, entry: Any) -> Blob:
        """From a resume point; ``ValueError`` if it is not one, or leads out of the folder."""
        try:
            name, size, crc32 = entry["blob"], entry["size"], int(entry["crc32"], 16)
            is_name = layout.is_blob(name) and os.path.basename(name) == name
        except (KeyError, TypeError) as error:
            raise ValueError(f"{str(entry)[:200]} does not name a blob") from error
        if not is_name:
            raise ValueError(f"{name[:100]!r} is not the name of a blob")
        if type(size) is not int or not 0 <= size <= limits.FILE_BYTES:
            raise ValueError(f"{name} cannot have {str(size)[:40]} bytes")
        return cls(name, size, crc32)

    def fits(self, path: str) -> bool:
        """Whether the file at ``path`` has this size and checksum."""
        return regular_size(path) == self.size and self.is_in(path, 0)

    def is_in(self, path: str, offset: int) -> bool:
        """Whether the file at ``path`` has these bytes from ``offset`` on."""
        try:
            return crc32_part(path, offset, self.size) == self.crc32
        except OSError as error:
            if error.errno in NOT_WHAT_WAS_WRITTEN:
                return False
            raise


def intact(folder: str, name: str, blob: Blob) -> str:
    """The path of a file that holds the blob's bytes now: what people see, else the blob itself.

    Raises:
        DamagedFile: neither does.
    """
    for path in (layout.published_path(folder, name), os.path.join(folder, blob.name)):
        if blob.fits(path):
            return path
    raise DamagedFile(
        f"{os.path.join(folder, name)} is not what was saved, and neither is {blob.name}.", path=folder
    )


@dataclass
class Sealer:
    """Makes the blobs of one resume point, and remembers which.

    Args:
        folder: the run's.
        run: its identity.
        number: of the resume point that will name them.
        new: where they wait for their names; without it they get them at once.

    Attributes:
        names: of the blobs that were made.
    """

    folder: str
    run: str
    number: int
    new: Together | None = None
    names: list[str] = field(default_factory=list)

    def seal(
        self,
        write: Callable[[str], object] | Pieces,
        *,
        file: str = "",
        kind: str = "",
        needed: int | None = None,
        drain: files.Drain = files.exhaust,
    ) -> Blob:
        """Write a blob under the first name that is free.

        Args:
            write: makes the file at the path that it is given, or has it in pieces of memory.
            file: what people call the file; gives the suffix.
            kind: ``layout.IMMUTABLE``, ``layout.LINES``, or "" for a model.
            needed: bytes that it will take, for the text of an error.
            drain: does the heavy work.

        Raises:
            FileError: the disk refused, or ``write`` made no regular file.
        """
        found: list[Sum] = []

        def write_and_look(path: str) -> None:
            if isinstance(write, Pieces):
                drain(direct.write(path, write, found.append))
            else:
                write(path)
                found.append(Sum(os.lstat(path).st_size, crc32_file(path)))

        for name in layout.blob_names(self.run, self.number, file=file, kind=kind):
            path = os.path.join(self.folder, name)
            if name in self.names or os.path.lexists(path):  # of this commit, or of one that failed
                continue
            (self.new or files).seal(path, write_and_look, needed=needed)
            self.names.append(name)
            return Blob(name, found[-1].size, found[-1].crc32)
        raise FileError(f"Cannot name another blob in {self.folder}.", path=self.folder, errno=errno.EEXIST)
