"""Resume points as somebody would forge them who can write into a run's folder: every checksum is right."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from outlast.storage import resume_points
from outlast.storage.blobs import Blob
from outlast.storage.format import layout, tensors
from outlast.storage.format import reader as tensor_reader

Change = Callable[[dict[str, Any]], object]


def newest(folder: Path) -> Path:
    """The newest resume point's file."""
    return folder / layout.resume_name(max(resume_points.numbers(str(folder))))


def forge_manifest(folder: Path, change: Change) -> None:
    """Change the newest resume point's JSON, and seal it anew."""
    path = newest(folder)
    with tensor_reader.opened(str(path)) as file:
        content = {name: file.read(name) for name in file.places}
        metadata = dict(file.metadata)
    manifest = json.loads(content["manifest"].tobytes())
    change(manifest)
    path.unlink()
    text = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
    tensors.write(str(path), {**content, "manifest": text}, metadata)


def forge_file(folder: Path, published: str, data: bytes) -> None:
    """Put other bytes behind a published file, in the blob and in the file itself."""
    number = max(resume_points.numbers(str(folder)))
    point = resume_points.load(str(folder), number)
    name = point.files[published].name
    blob = Blob(name, len(data), zlib.crc32(data))
    (folder / name).write_bytes(data)
    (folder / published).write_bytes(data)
    files = {**point.files, **{other: blob for other, old in point.files.items() if old.name == name}}
    newest(folder).unlink()
    resume_points.seal(str(folder), replace(point, files=files))


def forge_journal(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change every decision in the journal."""
    number = max(resume_points.numbers(str(folder)))
    point = resume_points.load(str(folder), number)
    log = point.logs[layout.JOURNAL]
    lines = [json.loads(line) for line in log.content(str(folder)).splitlines()]
    for line in lines:
        change(line)
    tail = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    logs: Mapping[str, Any] = {**point.logs, layout.JOURNAL: replace(log, tail=tail, segments=())}
    newest(folder).unlink()
    resume_points.seal(str(folder), replace(point, logs=logs))
