"""Named arrays to one safetensors file, in one pass, with checksums in its header.

Any safetensors library reads such a file. Ours adds, as strings in
``__metadata__``: a CRC-32 of each tensor, one of the header itself, and the
true type of tensors that the format does not know. The header is padded to
whole pages and the data passes through page-aligned buffers, so that the page
cache can be left out (``O_DIRECT``): a gigabyte then takes half the time and less
than half the processor time of a plain write and fsync, and no page of a data set
has to leave the cache for it. The reader is in ``reader.py``; docs/format.md has
the format.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from outlast.exceptions import CapabilityError
from outlast.storage.disk.calls import calls
from outlast.storage.disk.files import Drain, exhaust, fulfil
from outlast.storage.format import json_text, limits
from outlast.storage.format.dtypes import SAFETENSORS, Array, as_array, bits_of, name_of

if TYPE_CHECKING:
    import numpy.typing as npt

PAGE = 4096
HEADER_CRC = "header_crc32"  # always the header's first key, so that it is found unparsed
BLANK = "0" * 8
_BUFFER = 8 << 20
_spare: list[npt.NDArray[Any]] = []  # at most two, of the file written last: fresh memory is slow to get


def write(
    path: str,
    tensors: Mapping[str, Array],
    metadata: Mapping[str, str],
    drain: Drain = exhaust,
) -> None:
    """Make a new file with ``tensors``; the caller seals it.

    Args:
        path: a free name.
        tensors: arrays by name; any numeric type, shape, byte order and layout.
        metadata: text by key, beside the writer's own.
        drain: does the heavy work, which comes as an iterator of small pieces of
            work; the writer's thread lends it to somebody who waits.

    Raises:
        OSError: as the system says.
        CapabilityError: an array holds no numbers, or there are too many of them.

    Example:
        >>> import tempfile, numpy as np
        >>> from outlast.storage.format.reader import opened
        >>> path = tempfile.mkdtemp() + "/a.safetensors"
        >>> write(path, {"w": np.eye(2)}, {"made_by": "me"})
        >>> with opened(path) as file:
        ...     file.read("w")
        array([[1., 0.],
               [0., 1.]])
    """
    entries = _entries(metadata, tensors)
    first_header = _header(entries)
    if json_text.is_too_large(first_header):
        raise _too_many(len(tensors))
    output = _Output(path)
    try:
        drain(_pieces(output, first_header, entries, tensors))
    finally:
        output.close()


def check_number(tensors: Mapping[str, Array]) -> None:
    """Refuse more arrays than the header of one file can name, as ``encoding.encode`` names them.

    Raises:
        CapabilityError: there are too many.
    """
    values = sum(limits.VALUES_OF_AN_ARRAY + len(bits_of(array).shape) for array in tensors.values())
    if values > limits.JSON_VALUES - limits.VALUES_OF_AN_ARRAY:
        raise _too_many(len(tensors))


def _too_many(number: int) -> CapabilityError:
    most = limits.JSON_VALUES // limits.VALUES_OF_AN_ARRAY
    return CapabilityError(
        f"{number:,} arrays are too many for one file, whose header names fewer than {most:,}: "
        "stack small ones."
    )


def _entries(metadata: Mapping[str, str], tensors: Mapping[str, Array]) -> dict[str, Any]:
    """What a header says, with blanks for the checksums.

    A type that the format does not know becomes bytes along one more axis.
    """
    texts = {HEADER_CRC: BLANK, **metadata}
    entries: dict[str, Any] = {"__metadata__": texts}
    start = 0
    for name, array in tensors.items():
        dtype, bits = name_of(array), bits_of(array)
        shape = [*bits.shape]
        texts[f"crc32.{name}"] = BLANK
        if dtype not in SAFETENSORS:
            texts[f"dtype.{name}"] = dtype
            shape.append(bits.itemsize)
        end = start + bits.nbytes
        entries[name] = {
            "dtype": SAFETENSORS.get(dtype, "U8"),
            "shape": shape,
            "data_offsets": [start, end],
        }
        start = end
    return entries


def _header(entries: Mapping[str, Any]) -> bytes:
    """The length, the JSON and its padding; every checksum takes eight characters.

    So the header has its length before a checksum is known.
    """
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % PAGE)
    return sealed_header(len(text).to_bytes(8, "little") + text)


def sealed_header(header: bytes) -> bytes:
    """The header with its own CRC-32 in its place, taken while that place held zeros."""
    start = crc_place(header)
    before, after = header[:start], header[start + 8 :]
    crc = zlib.crc32(before + BLANK.encode() + after)
    return before + f"{crc:08x}".encode() + after


def crc_place(header: bytes) -> int:
    """Where the header's own checksum is, or -1 if it is not one of ours."""
    prefix = f'{{"__metadata__":{{"{HEADER_CRC}":"'.encode()
    return 8 + len(prefix) if header[8 : 8 + len(prefix)] == prefix else -1


def _pieces(
    output: _Output, first_header: bytes, entries: Mapping[str, Any], tensors: Mapping[str, Array]
) -> Iterator[None]:
    texts = entries["__metadata__"]
    yield from (None for _ in output.put(as_array(first_header)))
    for name, array in tensors.items():
        crc = 0
        for staged in output.put(_raw(array)):
            crc = zlib.crc32(staged, crc)
            yield
        texts[f"crc32.{name}"] = f"{crc:08x}"
    output.finish(as_array(_header(entries)))


def _raw(array: Array) -> npt.NDArray[Any]:
    """The array's bytes, little-endian, in C order; a view of it where that can be."""
    import numpy as np

    bits = np.asarray(bits_of(array))
    if bits.dtype.str[0] == ">":
        bits = bits.astype(bits.dtype.newbyteorder("<"))
    return np.ascontiguousarray(bits).reshape(-1).view(np.uint8)


def _buffer() -> npt.NDArray[Any]:
    import mmap

    try:
        return _spare.pop()  # two threads may want it: one gets it
    except IndexError:
        return as_array(mmap.mmap(-1, _BUFFER))  # begins at a page


class _Output:
    """A new file, written through two page-aligned buffers, past the page cache if allowed.

    While one is written, the other is filled and its checksum is computed: on an idle machine a large
    file takes two thirds of the time that it takes with one.
    """

    def __init__(self, path: str) -> None:
        self._used = 0
        self._written = 0
        self._under_way: Future[None] | None = None
        self._fd = _open_new(path)
        self._buffer, self._other = _buffer(), _buffer()

    def put(self, data: npt.NDArray[Any]) -> Iterator[memoryview]:
        """Stage ``data``; yields what was staged, piece by piece, still warm in the cache."""
        import numpy as np

        while data.size:
            taken = min(data.size, self._buffer.size - self._used)
            staged = self._buffer[self._used : self._used + taken]
            np.copyto(staged, data[:taken])
            data = data[taken:]
            self._used += taken
            yield staged.data
            if self._used == self._buffer.size:
                self._flush_behind()

    def finish(self, header: npt.NDArray[Any]) -> None:
        """Write what is staged, and the header again, now that its checksums are known."""
        self._wait()
        if not self._written and self._used >= header.size:
            self._buffer[: header.size] = header  # a small file: one write for all
            header = header[:0]
        if self._used % PAGE:  # no more than is needed: a quota may end there
            _leave_direct(self._fd)
        self._flush()
        for start in range(0, header.size, self._buffer.size):
            piece = header[start : start + self._buffer.size]
            self._buffer[: piece.size] = piece
            self._write(self._buffer[: piece.size].data, start)

    def close(self) -> None:
        """Close the file, and keep the buffers for the next."""
        if self._under_way is not None:
            self._under_way.exception()  # nothing is written any more
        _spare[:] = [self._buffer, self._other]
        calls.close(self._fd)

    def _flush_behind(self) -> None:
        """Have the full buffer written by a thread of the same priority, and go on with the other."""
        self._wait()
        written: Future[None] = Future()
        work = (written, self._write, self._buffer.data, self._written)
        try:
            threading.Thread(target=fulfil, args=work, daemon=True).start()
        except RuntimeError:  # no thread is to be had, as when the interpreter ends
            self._flush()
            return
        self._under_way = written
        self._written += self._used
        self._used = 0
        self._buffer, self._other = self._other, self._buffer

    def _wait(self) -> None:
        """Wait for the write under way; raise what it raised."""
        if self._under_way is not None:
            self._under_way.result()

    def _flush(self) -> None:
        self._write(self._buffer[: self._used].data, self._written)
        self._written += self._used
        self._used = 0

    def _write(self, data: memoryview, offset: int) -> None:
        while len(data):
            try:
                taken = calls.pwrite(self._fd, data, offset)
            except OSError as error:
                if error.errno != errno.EINVAL or not _leave_direct(self._fd):
                    raise
                continue
            data = data[taken:]
            offset += taken


def _open_new(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        return calls.open(path, flags | getattr(os, "O_DIRECT", 0))
    except OSError as error:
        if error.errno != errno.EINVAL:  # the file system has no O_DIRECT
            raise
        return calls.open(path, flags)


def _leave_direct(fd: int) -> bool:
    """Go on through the page cache; False if that is how it is already."""
    direct = getattr(os, "O_DIRECT", 0)
    if not direct:
        return False
    import fcntl

    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags & ~direct)
    return bool(flags & direct)
