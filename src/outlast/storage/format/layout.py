"""Every name in a run's folder, and the version of the format.

A run's folder holds::

    LOCK                the one writer, and who it is
    run.json            what was asked for
    resume-00000042     resume point 42: everything that a run needs to go on
    blob-00000040.keras immutable, named by resume points: a kept model
    blob-rows-00000040  immutable, named by resume points: older lines of a log
    best.keras, ...     views: copies of blobs, for people
    history.csv, ...    views: the logs, for people
    events.jsonl        starts, resumes, repairs; only ever appended

Anything else is somebody else's and is left alone, and so is what was set
aside (``resume-00000043.damaged``, ``history.csv.conflict``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import PurePath

from outlast.exceptions import ArgumentError
from outlast.storage.disk import lock
from outlast.storage.disk.temporary import is_temporary

VERSION = 1  # of the resume point's format, docs/format.md

LOCK, LOCK_WITHOUT_FLOCK = lock.NAME, lock.NAME_WITHOUT_FLOCK
RUN = "run.json"
JOURNAL = "journal.jsonl"
EVENTS = "events.jsonl"

DAMAGED = "damaged-"  # in front: the suffix still says what it was
CONFLICT = ".conflict"

_RESUME = re.compile(r"resume-([0-9]{8}|[1-9][0-9]{8,})")  # one name a number
_BLOB = re.compile(r"blob-(rows-)?\d{8,}(-\d+)?(\..+)?")
_OURS = {LOCK, LOCK_WITHOUT_FLOCK, RUN, EVENTS}


def resume_name(number: int) -> str:
    """The name of resume point ``number``.

    Example:
        >>> resume_name(42)
        'resume-00000042'
    """
    return f"resume-{number:08d}"


def resume_number(name: str) -> int | None:
    """The number of the resume point that is called ``name``, if it is one."""
    match = _RESUME.fullmatch(name)
    return int(match[1]) if match else None


def is_of_run(name: str) -> bool:
    """Whether a run gives files in its folder such a name, models and tables of its callbacks aside.

    Example:
        >>> is_of_run("resume-00000042"), is_of_run("notes.txt")
        (True, False)
    """
    return name in _OURS or name == JOURNAL or resume_number(name) is not None or is_blob(name)


def is_mark(name: str) -> bool:
    """Whether a file of this name speaks for a run in its folder."""
    return name in _OURS or resume_number(name) is not None


def is_run(names: Collection[str]) -> bool:
    """Whether a folder with these names holds a run, be it one that has not saved yet.

    Example:
        >>> is_run({"resume-00000042"}), is_run({"LOCK", "run.json"}), is_run({"LOCK", "a.txt"})
        (True, True, False)
    """
    return len(_OURS & set(names)) > 1 or any(resume_number(name) is not None for name in names)


def blob_names(number: int, view: str, *, rows: bool = False) -> list[str]:
    """Names for a blob of resume point ``number``, to be tried in this order.

    Example:
        >>> blob_names(40, "best.weights.h5")[:2]
        ['blob-00000040.weights.h5', 'blob-00000040-1.weights.h5']
        >>> blob_names(40, "history.csv", rows=True)[0]
        'blob-rows-00000040'
    """
    stem = f"blob-rows-{number:08d}" if rows else f"blob-{number:08d}"
    suffix = "" if rows else "".join(PurePath(view).suffixes[-2:])
    return [stem + suffix, *(f"{stem}-{i}{suffix}" for i in range(1, 10_000))]


def is_blob(name: str) -> bool:
    """Whether ``name`` is one that :func:`blob_names` gives."""
    return _BLOB.fullmatch(name) is not None


def is_rows(name: str) -> bool:
    """Whether ``name`` is that of a blob which holds lines of a log."""
    return is_blob(name) and name.startswith("blob-rows-")


def view_path(folder: str, name: str) -> str:
    """The path of the view ``name``, which must stay inside the run's folder.

    Raises:
        ArgumentError: the name leads out of the folder, is one that the run
            keeps for itself, or holds control characters.

    Example:
        >>> view_path("runs/digits", "best.keras")
        'runs/digits/best.keras'
        >>> view_path("runs/digits", "../../.bashrc")
        Traceback (most recent call last):
        ...
        outlast.exceptions.ArgumentError: '../../.bashrc' cannot be a file of a run: it leads ...
    """
    check_view_name(name)
    path = os.path.join(folder, name)
    inside, root = os.path.realpath(os.path.dirname(path)), os.path.realpath(folder)
    if os.path.commonpath([inside, root]) != root:
        raise _refused(name, "a symbolic link on its way leads out of the run's folder")
    return path


def check_view_name(name: str) -> None:
    """Raise ``ArgumentError`` if no view may have this name, whatever the folder holds."""
    parts = name.replace(os.sep, "/").split("/")
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise _refused(name, "it holds control characters")
    if os.path.isabs(name) or os.path.splitdrive(name)[0] or ".." in parts:
        raise _refused(name, "it leads out of the run's folder")
    if not {"", "."}.isdisjoint(parts):
        raise _refused(name, "it has an empty part")
    if parts[0] in _OURS or resume_number(parts[0]) is not None or is_blob(parts[0]):
        raise _refused(name, "the run keeps that name for itself")
    if any(map(is_temporary, parts)):
        raise _refused(name, "temporary files are called so")


def _refused(name: str, fault: str) -> ArgumentError:
    return ArgumentError(
        f"{name!r} cannot be a file of a run: {fault}; use a name inside it, such as 'best.keras'."
    )
