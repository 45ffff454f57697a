"""Files of JSON lines for people and programs: one entry a line, torn lines tolerated.

``journal.jsonl`` is a log of a run (``logs.py``): its lines go into resume
points and a resume cuts it back. ``events.jsonl`` is written here alone: it is
only ever appended to, and nobody compares it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from typing import Any

from outlast.core.numbers import encoded
from outlast.exceptions import ArgumentError
from outlast.storage.disk import files
from outlast.storage.disk.reading import ending
from outlast.storage.format import json_text, layout, limits


def line(entry: Mapping[str, Any], most: int = limits.LINE_BYTES) -> bytes:
    r"""The entry as one line of JSON; equal entries give equal bytes.

    Infinities and NaN, which JSON lacks, become text.

    Args:
        entry: what the line says.
        most: bytes that whoever reads the line takes.

    Raises:
        ArgumentError: the line would be longer; nobody could read it again.

    Example:
        >>> line({"epoch": 3, "value": float("inf"), "text": "a\nb"})
        b'{"epoch": 3, "value": "inf", "text": "a\\nb"}\n'
    """
    made = json.dumps(encoded(entry), allow_nan=False).encode() + b"\n"
    is_long = len(made) > most
    if is_long or json_text.is_too_large(made):
        what = ", ".join(f"{name} ({_length(value):,})" for name, value in entry.items())
        limit = f"{most:,}" if is_long else f"{limits.JSON_VALUES:,} values"
        raise ArgumentError(
            f"A line of {len(made):,} bytes is too long for a log, {limit} are the limit; "
            f"it holds {what[:500]}."
        )
    return made


def append(path: str, entry: Mapping[str, Any]) -> None:
    """Append one entry; a line that a crash left torn stays alone on its line.

    What is not a file, or is somebody else's file too, is moved aside first.

    Raises:
        FileError: the disk refused; nothing was added.
    """
    if os.path.lexists(path):
        if _is_ours(path):
            files.separate(path)
        else:
            files.move_aside(path, layout.CONFLICT)
    torn = b"" if ending(path, 1) in (None, b"", b"\n") else b"\n"
    files.append(path, torn + line(entry))


def read_end(path: str, most: int = 1 << 20) -> list[dict[str, Any]]:
    """The whole entries in the last ``most`` bytes of a file; none of no file.

    Torn lines are passed over.

    Raises:
        FileError: the system does not let us read it.
    """
    lines = (ending(path, most) or b"").split(b"\n")
    return [entry for entry in map(_entry, lines) if entry is not None]


def _entry(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_ours(path: str) -> bool:
    """Whether it is a file, and if it has a second name, then one with entries."""
    found = os.lstat(path)
    return stat.S_ISREG(found.st_mode) and (found.st_nlink == 1 or bool(read_end(path)))


def _length(value: Any) -> int:
    """In the line, about."""
    return len(json.dumps(encoded(value), default=str))
