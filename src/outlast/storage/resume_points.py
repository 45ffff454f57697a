"""Resume points: everything that a run needs to go on, sealed in one file.

A resume point is a file of tensors (``tensors.py``). One of them, ``manifest``,
is JSON: the state with its arrays left out, the blobs that stand behind the
views, and the logs. docs/format.md describes it for other programs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from outlast.exceptions import CapabilityError, DamagedFile, FileError, UnknownFormat
from outlast.storage.blobs import Blob
from outlast.storage.disk import files
from outlast.storage.disk.calls import explained
from outlast.storage.disk.reading import NOT_WHAT_WAS_WRITTEN
from outlast.storage.format import json_text, layout, tensors
from outlast.storage.format.dtypes import Array
from outlast.storage.format.encoding import decode, encode
from outlast.storage.format.reader import Place, TensorFile, opened
from outlast.storage.logs import Log

FORMAT = "outlast resume point"
_MANIFEST = "manifest"
_LOG = "log/"
_METADATA = {"format": FORMAT, "version": str(layout.VERSION)}


@dataclass(frozen=True)
class ResumePoint:
    """The content of a resume point.

    Args:
        number: its place in the order; 1 is the first.
        state: what the run goes on from; see ``encoding.encode`` for what it may hold.
        files: the blob behind each view that is a copy of one, by the view's name.
        logs: the logs, by name.
    """

    number: int
    state: Any
    files: Mapping[str, Blob] = field(default_factory=dict)
    logs: Mapping[str, Log] = field(default_factory=dict)

    @property
    def blobs(self) -> frozenset[str]:
        """The names of all files that it needs beside its own."""
        segments = (segment.name for log in self.logs.values() for segment in log.segments)
        return frozenset([*(blob.name for blob in self.files.values()), *segments])


def seal(folder: str, point: ResumePoint, drain: files.Drain = files.exhaust) -> None:
    """Write the resume point under its name; only syncing the folder makes it count.

    Raises:
        FileError: the disk refused, or there is one of that number (another run writes here).
        CapabilityError: the state holds something that has no place in the format, or too much.
    """
    state, arrays = encode(point.state, "state")
    manifest = {
        "number": point.number,
        "files": {view: blob.to_json() for view, blob in point.files.items()},
        "logs": {name: _log_to_json(log) for name, log in point.logs.items()},
        "state": state,
    }
    text = json.dumps(manifest, separators=(",", ":"), allow_nan=False).encode()
    if json_text.is_too_large(text):
        raise CapabilityError("The state has too many values: keep large ones as arrays.")
    tails = {_LOG + name: _bytes(log.tail) for name, log in point.logs.items()}
    content = {_MANIFEST: _bytes(text), **tails, **arrays}
    files.seal(
        os.path.join(folder, layout.resume_name(point.number)),
        lambda path: tensors.write(path, content, _METADATA, drain),
        needed=sum(array.nbytes for array in content.values()),
    )


def numbers(folder: str) -> list[int]:
    """The numbers of all resume points in the folder, the newest first."""
    with explained(folder, "read"):
        found = [layout.resume_number(name) for name in os.listdir(folder)]
    return sorted((number for number in found if number is not None), reverse=True)


def load(folder: str, number: int) -> ResumePoint:
    """A resume point, every checksum of it verified; arrays of types that NumPy lacks as ``Bits``.

    Raises:
        DamagedFile: it is not what was written, or not there.
        UnknownFormat: a newer or older outlast wrote it.
        FileError: the system does not let us look.
    """
    return _read(folder, number, lambda file, name: file.read(name))


def peek(folder: str, number: int) -> ResumePoint:
    """A resume point without its arrays, each of which is a ``Place`` here; else as :func:`load`."""
    return _read(folder, number, lambda file, name: file.places[name])


def verify(folder: str, number: int) -> ResumePoint:
    """As :func:`peek`, but every checksum is verified, in little memory."""

    def verified(file: TensorFile, name: str) -> Place:
        file.verify(name)
        return file.places[name]

    return _read(folder, number, verified)


def _read(folder: str, number: int, array: Callable[[TensorFile, str], object]) -> ResumePoint:
    path = os.path.join(folder, layout.resume_name(number))
    try:
        with opened(path) as file:
            _check_format(path, file.metadata)
            point = _parsed(file, array)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFile(f"{path} is damaged: it makes no sense ({str(error)[:200]}).", path=path) from error
    except OSError as error:
        if isinstance(error, FileError):
            raise
        kind = DamagedFile if error.errno in NOT_WHAT_WAS_WRITTEN else FileError
        text = f"Cannot read {path}: {error.strerror}."
        raise kind(text, path=path, errno=error.errno) from error
    if point.number != number:
        raise DamagedFile(f"{path} is damaged: it is resume point {point.number}.", path=path)
    return point


def _parsed(file: TensorFile, array: Callable[[TensorFile, str], object]) -> ResumePoint:
    manifest = json_text.parsed(_text(file, _MANIFEST))
    logs = {name: _log_from_json(entry, _text(file, _LOG + name)) for name, entry in manifest["logs"].items()}
    for name in (*manifest["files"], *(name for name, log in logs.items() if log.view)):
        layout.check_view_name(name)
    arrays = {name: array(file, name) for name in file.places if name.startswith("state")}
    return ResumePoint(
        number=manifest["number"],
        state=decode(manifest["state"], arrays),
        files={view: Blob.from_json(entry) for view, entry in manifest["files"].items()},
        logs=logs,
    )


def _check_format(path: str, metadata: Mapping[str, str]) -> None:
    if metadata["format"] != FORMAT:
        raise ValueError(f"its format is {metadata['format']!r}")
    version = metadata["version"]
    if version != str(layout.VERSION):
        raise UnknownFormat(
            f"{path} has version {version[:20]} of the format, this outlast reads version "
            f"{layout.VERSION}. Install the outlast that wrote it, or start anew in another "
            'folder or with resume="never".',
            path=path,
            newer=not (version.isdecimal() and len(version) < 9 and int(version) < layout.VERSION),
        )


def _log_to_json(log: Log) -> dict[str, Any]:
    return {"view": log.view, "segments": [segment.to_json() for segment in log.segments]}


def _log_from_json(entry: dict[str, Any], tail: bytes) -> Log:
    segments = tuple(Blob.from_json(segment) for segment in entry["segments"])
    return Log(bool(entry["view"]), segments, tail)


def _bytes(data: bytes) -> Array:
    import numpy as np

    return np.frombuffer(data, np.uint8)


def _text(file: TensorFile, name: str) -> bytes:
    place = file.places[name]
    if place.dtype != "uint8" or place.size > json_text.MOST_BYTES:
        raise ValueError(f"{name!r} is no text")
    return file.read_bytes(name)
