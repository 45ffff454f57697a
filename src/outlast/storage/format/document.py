"""A document: one JSON value and the arrays that it names, in a file of tensors.

Resume points are documents, and so are the immutables of a state. The file's
metadata says which of the two it is, the version of the format, and the run it belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outlast.exceptions import CapabilityError, DamagedFile, FileError, UnknownFormat
from outlast.storage.disk.files import Drain
from outlast.storage.disk.reading import NOT_WHAT_WAS_WRITTEN
from outlast.storage.format import json_text, layout, limits, tensors
from outlast.storage.format import reader as tensor_reader
from outlast.storage.format.dtypes import Array, as_array
from outlast.storage.format.encoding import Encoded, Immutable, encode
from outlast.storage.format.reader import NONSENSE, TensorFile

if TYPE_CHECKING:
    import numpy.typing as npt

MANIFEST = "manifest"  # the tensor that holds the JSON
_VERSION = str(layout.VERSION)


@dataclass(frozen=True)
class Draft:
    """A value that is known to fit into a document, and to be readable again.

    Args:
        text: the value in JSON.
        arrays: those that it names.
        immutables: the immutable values that it names.
        memory: where all arrays lie as the file has them; see ``tensors.write``.
    """

    text: str
    arrays: Mapping[str, Array]
    immutables: Mapping[str, Immutable]
    memory: npt.NDArray[Any] | None = None


def draft(value: object, root: str) -> Draft:
    """Encode ``value``, called ``root``, and check it against the limits. Nothing is written.

    Raises:
        CapabilityError: it holds what cannot be stored, or too much.
    """
    encoded: Encoded = encode(value, root)
    text = json.dumps(encoded.json_value, separators=(",", ":"), allow_nan=False)
    if json_text.is_too_large(text.encode()):
        raise CapabilityError(
            f"Cannot store {root}: it has too many values beside its arrays, or too long texts; "
            f"{limits.JSON_VALUES:,} values and {limits.JSON_BYTES:,} bytes are the limit. "
            "Keep large ones as arrays."
        )
    tensors.check_number(encoded.arrays)
    return Draft(text, encoded.arrays, encoded.immutables)


def write(
    path: str,
    kind: str,
    run: str,
    text: str,
    arrays: Mapping[str, Array],
    drain: Drain,
    memory: npt.NDArray[Any] | None = None,
) -> None:
    """Make the file of a document; the caller seals it.

    Args:
        path: a free name.
        kind: what it is, such as ``"outlast resume point"``.
        run: the identity of the run that it belongs to.
        text: the JSON.
        arrays: by name.
        drain: does the heavy work; see ``tensors.write``.
        memory: where the first of the arrays lie as the file has them; see there, too.

    Raises:
        OSError: as the system says.
        CapabilityError: there is too much for a reader.
    """
    if json_text.is_too_large(text.encode()):
        raise CapabilityError(f"The state has too many values: {limits.JSON_VALUES:,} are the limit.")
    whole = {**arrays, MANIFEST: as_array(text.encode())}
    tensors.write(path, whole, {"format": kind, "version": _VERSION, "run": run}, drain, memory)


@contextmanager
def opened(path: str, kind: str) -> Iterator[TensorFile]:
    """The file of a document, its header verified; whatever is read of it has the same errors.

    Raises:
        DamagedFile: it is not what was written, or not there.
        UnknownFormat: a newer or older outlast wrote it.
        FileError: the system does not let us look.
    """
    try:
        with tensor_reader.opened(path) as file:
            _check_format(path, file.metadata, kind)
            yield file
    except NONSENSE as error:
        raise DamagedFile(f"{path} is damaged: it makes no sense ({str(error)[:200]}).", path=path) from error
    except FileError:
        raise
    except OSError as error:
        damaged = DamagedFile if error.errno in NOT_WHAT_WAS_WRITTEN else FileError
        text = f"Cannot read {path}: {error.strerror}."
        raise damaged(text, path=path, errno=error.errno) from error


def manifest(file: TensorFile) -> Any:
    """The JSON value of a document."""
    return json_text.parsed(text(file, MANIFEST))


def text(file: TensorFile, name: str) -> bytes:
    """A tensor that is text."""
    place = file.places[name]
    if place.dtype != "uint8" or place.size > limits.JSON_BYTES:
        raise ValueError(f"{name!r} is not a text")
    return file.read_bytes(name)


def run_of(file: TensorFile) -> str:
    """The identity of the run that a document belongs to."""
    run = file.metadata["run"]
    if not layout.is_identity(run):
        raise ValueError(f"{run[:40]!r} is not the identity of a run")
    return run


def _check_format(path: str, metadata: Mapping[str, str], kind: str) -> None:
    if metadata["format"] != kind:
        raise ValueError(f"its format is {metadata['format'][:40]!r}")
    version = metadata["version"]
    if version != _VERSION:
        raise UnknownFormat(
            f"{path} has version {version[:20]} of the format, this outlast reads version "
            f"{_VERSION}. Install the outlast that wrote it, or begin a new run in another "
            'folder or with resume="never".',
            path=path,
            newer=not (version.isdecimal() and len(version) < 9 and int(version) < layout.VERSION),
        )
