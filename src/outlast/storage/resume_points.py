"""Resume points: everything that a run needs to go on, sealed in one file.

A resume point is a document (``document.py``): the state, the blobs behind the published files and the
immutables of the state, and the logs. docs/format.md describes it for other
programs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from outlast.exceptions import DamagedFile
from outlast.storage import immutables
from outlast.storage.blobs import Blob
from outlast.storage.disk import files
from outlast.storage.disk.beside import mapped
from outlast.storage.disk.reading import names_in
from outlast.storage.disk.together import Together
from outlast.storage.format import document, layout
from outlast.storage.format.document import Draft
from outlast.storage.format.dtypes import as_array
from outlast.storage.format.encoding import Immutable, decode
from outlast.storage.format.reader import TensorFile
from outlast.storage.logs import Log

FORMAT = "outlast resume point"
KEPT = 2  # of a run: the newest, and one in case that it breaks
_ROOT = "state"
_LOG = "log/"


@dataclass(frozen=True)
class ResumePoint:
    """The content of a resume point.

    Args:
        number: its place in the order; 1 is the first.
        state: what the run goes on from; see ``encoding.encode`` for what it may hold. Also a draft of it.
        files: the blob behind each published file that is a copy of one, by its name.
        logs: the logs, by name.
        immutables: the blob behind each ``Immutable`` in the state, by the place where it is.
        values: the ``Immutable`` that each of these blobs holds, as far as it is in memory.
        run: the identity of the run.
    """

    number: int
    state: Any
    files: Mapping[str, Blob] = field(default_factory=dict)
    logs: Mapping[str, Log] = field(default_factory=dict)
    immutables: Mapping[str, Blob] = field(default_factory=dict)
    values: Mapping[str, Immutable] = field(default_factory=dict)
    run: str = ""

    @property
    def blobs(self) -> frozenset[str]:
        """The names of all files that it keeps beside its own."""
        lines = (blob for log in self.logs.values() for blob in log.blobs)
        return frozenset(blob.name for blob in (*self.files.values(), *self.immutables.values(), *lines))

    @property
    def sealed(self) -> dict[Immutable, Blob]:
        """The blob that holds each ``Immutable`` which is in memory."""
        return {self.values[name]: blob for name, blob in self.immutables.items() if name in self.values}


def draft(state: Any) -> Draft:
    """The state as it will be written, or a draft as it is. Nothing is written.

    Raises:
        CapabilityError: the state holds something that has no place in the format, or too much.
    """
    return state if isinstance(state, Draft) else document.draft(state, _ROOT)


def seal(
    folder: str, point: ResumePoint, drain: files.Drain = files.exhaust, new: Together | None = None
) -> None:
    """Write the resume point under its name; only syncing the folder makes it count.

    Args:
        folder: the run's.
        point: its content; the blobs that it names are there.
        drain: does the heavy work; see ``tensors.write``.
        new: where it waits for its name; without it it gets it at once.

    Raises:
        FileError: the disk refused, or there is one of that number (another run writes here).
        CapabilityError: the state holds something that has no place in the format, or too much.
    """
    drafted = draft(point.state)
    head = {
        "number": point.number,
        "files": {name: blob.to_json() for name, blob in point.files.items()},
        "logs": {name: _log_to_json(log) for name, log in point.logs.items()},
        "immutables": {name: blob.to_json() for name, blob in point.immutables.items()},
    }
    text = json.dumps(head, separators=(",", ":"))[:-1] + f',"{_ROOT}":{drafted.text}}}'
    logs = {_LOG + name: as_array(log.tail) for name, log in point.logs.items()}
    arrays = {**drafted.arrays, **logs}
    (new or files).seal(
        os.path.join(folder, layout.resume_name(point.number)),
        lambda path: document.write(path, FORMAT, point.run, text, arrays, drain, drafted.memory),
        needed=len(text) + sum(array.nbytes for array in arrays.values()),
    )


def numbers(folder: str) -> list[int]:
    """The numbers of all resume points in the folder, the newest first."""
    found = map(layout.resume_number, names_in(folder))
    return sorted((number for number in found if number is not None), reverse=True)


def run_of(folder: str, number: int) -> str | None:
    """The identity of the run that a resume point belongs to; None if it is damaged.

    Raises:
        UnknownFormat, FileError: as :func:`load`.
    """
    try:
        with document.opened(_path(folder, number), FORMAT) as file:
            return document.run_of(file)
    except DamagedFile:
        return None


def load(folder: str, number: int) -> ResumePoint:
    """A resume point, every checksum of it verified; arrays of types that NumPy lacks as ``Bits``.

    In the place of an ``Immutable`` whose blob is missing or damaged is None.

    Raises:
        DamagedFile: it is not what was written, or not there.
        UnknownFormat: a newer or older outlast wrote it.
        FileError: the system does not let us look.
    """
    return _read(folder, number, TensorFile.read, partial(immutables.load, folder))


def peek(folder: str, number: int) -> ResumePoint:
    """A resume point without its arrays and immutables, in whose places are a ``Place`` or a ``Blob``.

    Errors are those of :func:`load`.
    """
    return _read(folder, number, lambda file, name: file.places[name])


def verify(folder: str, number: int) -> ResumePoint:
    """As :func:`peek`, but every checksum of the file is verified, in little memory."""
    return _read(folder, number, TensorFile.verify)


def _path(folder: str, number: int) -> str:
    return os.path.join(folder, layout.resume_name(number))


def _read(
    folder: str,
    number: int,
    array: Callable[[TensorFile, str], object],
    immutable: Callable[[str, Blob], object] = lambda run, blob: blob,
) -> ResumePoint:
    path = _path(folder, number)
    with document.opened(path, FORMAT) as file:
        run, manifest = document.run_of(file), document.manifest(file)
        logs = {
            name: _log_from_json(entry, document.text(file, _LOG + name))
            for name, entry in manifest["logs"].items()
        }
        for name in manifest["files"]:
            layout.check_published_name(name)
        for name in (name for name, log in logs.items() if log.public):
            layout.check_log_name(name)
        blobs = {name: Blob.from_json(entry) for name, entry in manifest["immutables"].items()}
        values = {name: immutable(run, blob) for name, blob in blobs.items()}
        texts = {document.MANIFEST, *(_LOG + name for name in logs)}
        names = [name for name in file.places if name not in texts]
        sizes = (file.places[name].size for name in names)
        arrays = dict(zip(names, mapped(partial(array, file), names, sizes), strict=True))
        point = ResumePoint(
            number=manifest["number"],
            state=decode(manifest[_ROOT], arrays, values),
            files={name: Blob.from_json(entry) for name, entry in manifest["files"].items()},
            logs=logs,
            immutables=blobs,
            values={name: value for name, value in values.items() if isinstance(value, Immutable)},
            run=run,
        )
    if point.number != number:
        found = str(point.number)[:40]
        raise DamagedFile(f"{path} is damaged: it is resume point {found}.", path=path)
    return point


def _log_to_json(log: Log) -> dict[str, Any]:
    replacement = {} if log.replacement is None else {"replacement": log.replacement.to_json()}
    return {"public": log.public, "segments": [segment.to_json() for segment in log.segments], **replacement}


def _log_from_json(entry: dict[str, Any], tail: bytes) -> Log:
    segments = tuple(Blob.from_json(segment) for segment in entry["segments"])
    replacement = Blob.from_json(entry["replacement"]) if "replacement" in entry else None
    return Log(bool(entry["public"]), segments, tail, replacement)
