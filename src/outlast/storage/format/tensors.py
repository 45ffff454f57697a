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

import json
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from outlast.exceptions import CapabilityError
from outlast.storage.disk.direct import PAGE, DirectFile, in_pieces
from outlast.storage.disk.files import Drain, exhaust
from outlast.storage.format import json_text, limits
from outlast.storage.format.dtypes import SAFETENSORS, Array, as_array, bits_of, name_of

if TYPE_CHECKING:
    import numpy.typing as npt

HEADER_CRC = "header_crc32"  # always the header's first key, so that it is found unparsed
BLANK = "0" * 8
_SMALL = 1 << 18  # bytes that are written at once with all else: a copy is cheaper than a write of their own


def write(
    path: str,
    tensors: Mapping[str, Array],
    metadata: Mapping[str, str],
    drain: Drain = exhaust,
    memory: npt.NDArray[Any] | None = None,
) -> None:
    """Make a new file with ``tensors``; the caller seals it.

    Args:
        path: a free name.
        tensors: arrays by name; any numeric type, shape, byte order and layout.
        metadata: text by key, beside the writer's own.
        drain: does the heavy work, which comes as an iterator of small pieces of
            work; the writer's thread lends it to somebody who waits.
        memory: the bytes of the first of them, as the file has them and with nothing between them, from the
            beginning of a page on: the disk takes them from there. Nobody may change them meanwhile.

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
    output = DirectFile(path)
    try:
        drain(_pieces(output, first_header, entries, tensors, memory))
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
    output: DirectFile,
    first_header: bytes,
    entries: Mapping[str, Any],
    tensors: Mapping[str, Array],
    memory: npt.NDArray[Any] | None,
) -> Iterator[None]:
    texts = entries["__metadata__"]
    laid = 0  # bytes that are on their way already
    if memory is not None and memory.size >= _SMALL:
        laid = memory.size
        output.leave_room(len(first_header))
        output.put_pages(memory)
    else:
        yield from (None for _ in output.put(as_array(first_header)))
    for name, array in tensors.items():
        raw, crc = _raw(array), 0
        for piece in in_pieces(raw) if laid else output.put(raw):
            crc = zlib.crc32(piece, crc)
            yield
        laid = max(0, laid - raw.size)
        texts[f"crc32.{name}"] = f"{crc:08x}"
    output.finish(as_array(_header(entries)))


def _raw(array: Array) -> npt.NDArray[Any]:
    """The array's bytes, little-endian, in C order; a view of it where that can be."""
    import numpy as np

    bits = np.asarray(bits_of(array))
    if bits.dtype.str[0] == ">":
        bits = bits.astype(bits.dtype.newbyteorder("<"))
    return np.ascontiguousarray(bits).reshape(-1).view(np.uint8)
