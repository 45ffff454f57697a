"""Reads what ``tensors.py`` wrote, believes nothing, and never unpickles.

Every length is checked against the file before memory is taken for it, the
header's checksum before its JSON is parsed, and a tensor's before it is handed
out. What does not fit is a ``DamagedFile`` that says where.
"""

from __future__ import annotations

import io
import math
import os
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from outlast.exceptions import DamagedFile
from outlast.storage.disk.direct import in_pieces
from outlast.storage.disk.reading import open_regular
from outlast.storage.format import json_text, limits
from outlast.storage.format.dtypes import NAMES, SAFETENSORS, Array, from_bytes
from outlast.storage.format.tensors import crc_place, sealed_header

_PIECE = 4 << 20
_BUFFERED = 1 << 16  # bytes: of what is less, several are read at once
_WIDTHS = {"BOOL": 1, "F16": 2, "BF16": 2, "C64": 8} | {
    f"{kind}{bits}": bits // 8 for kind in "UIF" for bits in (8, 16, 32, 64)
}

# What values that were made up can provoke, though every checksum fits.
NONSENSE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


@contextmanager
def nonsense_as_damage(folder: str) -> Iterator[None]:
    """Turn errors from made-up values, whose checksums are right, into ``DamagedFile``."""
    try:
        yield
    except NONSENSE as error:
        said = f"{type(error).__name__}: {error}"[:100]
        raise DamagedFile(
            f"{folder} is damaged: its contents make no sense ({said}).", path=folder
        ) from error


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in its file, and what it is."""

    dtype: str  # the true one, by NumPy's or ml_dtypes' name
    width: int  # bytes an element
    shape: tuple[int, ...]
    start: int  # from the file's first byte
    size: int  # in bytes
    crc32: int


class TensorFile:
    """An open file of tensors whose header has been verified.

    Args:
        fd: descriptor of a regular file.
        path: for the text of errors.

    Attributes:
        metadata: the texts that the writer was given.
        places: where each tensor lies.

    Raises:
        DamagedFile: the header does not fit its checksum, or the file its header.
    """

    def __init__(self, fd: int, path: str) -> None:
        self._file = io.BufferedReader(io.FileIO(fd, closefd=False))
        self._fd, self._moving = fd, threading.Lock()
        self._path = path
        size = os.fstat(fd).st_size
        header = self._header(size)
        try:
            self.metadata, self.places = _parsed(header)
        except NONSENSE as error:
            raise self._damaged(f"its header makes no sense ({str(error)[:200]})") from error
        end = max((p.start + p.size for p in self.places.values()), default=len(header))
        if end != size:
            raise self._damaged(f"it has {size:,} bytes instead of {end:,}")

    def read(self, name: str) -> Array:
        """The tensor ``name``, after its checksum was found right; as ``Bits`` if NumPy lacks its type."""
        import numpy as np

        place = self.places[name]
        raw = np.empty(place.size, np.uint8)
        self._load(name, in_pieces(raw, _PIECE))
        return from_bytes(raw, place.dtype, place.width, place.shape)

    def read_bytes(self, name: str) -> bytes:
        """The bytes of the tensor ``name``, after its checksum was found right; without NumPy."""
        raw = bytearray(self.places[name].size)
        self._load(name, [memoryview(raw)])
        return bytes(raw)

    def verify(self, name: str) -> Place:
        """Where the tensor ``name`` lies, after its checksum was found right, in little memory."""
        size = self.places[name].size
        spare = memoryview(bytearray(min(size, _PIECE)))
        self._load(name, (spare[: size - i] for i in range(0, size, _PIECE)))
        return self.places[name]

    def _load(self, name: str, pieces: Iterable[memoryview]) -> None:
        """Fill ``pieces`` of memory one after the other with the tensor's bytes."""
        place = self.places[name]
        crc, at = 0, place.start
        for piece in pieces:
            self._read_into(piece, at)
            crc = zlib.crc32(piece, crc)
            at += len(piece)
        if crc != place.crc32:
            raise self._damaged(f"the checksum of {name!r} does not fit")

    def _read_into(self, piece: memoryview, at: int) -> None:
        """Fill memory from a place on; several threads may do so at once."""
        if len(piece) < _BUFFERED or not hasattr(os, "preadv"):
            with self._moving:
                self._file.seek(at)
                taken = self._file.readinto(piece)
        else:
            taken = 0
            while taken < len(piece) and (more := os.preadv(self._fd, [piece[taken:]], at + taken)):
                taken += more
        if taken < len(piece):
            raise self._damaged("it became shorter while it was read")

    def _header(self, size: int) -> bytes:
        start = self._file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(size - 8, limits.JSON_BYTES):
            raise self._damaged("it is too short for its header")
        header = start + self._file.read(length)
        if crc_place(header) < 0 or sealed_header(header) != header:
            raise self._damaged("the checksum of its header does not fit")
        return header

    def _damaged(self, what: str) -> DamagedFile:
        return DamagedFile(f"{self._path} is damaged: {what}.", path=self._path)


@contextmanager
def opened(path: str) -> Iterator[TensorFile]:
    """The file at ``path``, its header verified; see :class:`TensorFile`."""
    with open_regular(path) as fd:
        yield TensorFile(fd, path)


def _parsed(header: bytes) -> tuple[dict[str, str], dict[str, Place]]:
    entries = json_text.parsed(header[8:], object_pairs_hook=_without_twins, parse_constant=_refuse)
    metadata = entries.pop("__metadata__")
    places = {}
    start = len(header)
    for name, entry in entries.items():
        place = _place(name, entry, metadata, start)  # takes what metadata says of the tensor
        if entry["data_offsets"] != [start - len(header), start - len(header) + place.size]:
            raise ValueError(f"{name!r} does not lie where the one before ends")
        places[name] = place
        start += place.size
    return metadata, places


def _place(name: str, entry: dict[str, Any], metadata: dict[str, str], start: int) -> Place:
    shape = entry["shape"]
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"{name!r} has the shape {shape}")
    width = _WIDTHS[entry["dtype"].partition("_")[0]]
    size = math.prod(shape) * width
    crc = int(metadata.pop(f"crc32.{name}"), 16)
    dtype = metadata.pop(f"dtype.{name}", None)
    if dtype is None:
        return Place(NAMES[entry["dtype"]], width, tuple(shape), start, size, crc)
    *shape, width = shape  # stored as bytes, along one more axis
    if dtype in SAFETENSORS or width not in ((16,) if dtype == "complex128" else (1, 2, 4, 8)):
        raise ValueError(f"{name!r} cannot be {dtype}")
    return Place(dtype, width, tuple(shape), start, size, crc)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
