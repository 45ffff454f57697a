"""Every name in a run's folder, and the version of the format.

A run's folder holds::

    LOCK                         the one writer, and who it is
    IDENTITY                     which run this is: 32 random hexadecimal digits
    run.json                     what was asked for
    results.json                 what was logged after the training
    resume-00000042              resume point 42: everything that a run needs to go on
    blob-00000040-3f9ac21b.keras never changes; named by resume points: a kept model
    blob-immutable-00000040-3f9ac21b  the same: a value in the state that never changes
    blob-rows-00000040-3f9ac21b  the same: older lines of a log
    best.keras, ...              published files: copies of blobs
    history.csv, ...             published files: the logs
    events.jsonl                 starts, resumes, checks, signals, ends; only ever appended

The name of a blob holds the number of the resume point that it was made for, and the first
digits of the run's identity. Anything else is somebody else's and is left alone, and so is
what was set aside (``damaged-resume-00000043``, ``foreign-resume-00000099``,
``history.csv.conflict``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import PurePath

from outlast.exceptions import ArgumentError
from outlast.storage.disk import lock
from outlast.storage.disk.temporary import is_temporary
from outlast.storage.format import limits

VERSION = 2  # of the resume point's format, docs/format.md

LOCK, LOCK_WITHOUT_FLOCK = lock.NAME, lock.NAME_WITHOUT_FLOCK
IDENTITY = "IDENTITY"
RUN = "run.json"
RESULTS = "results.json"
JOURNAL = "journal.jsonl"
ROWS = "rows.jsonl"  # the log of all metrics, which is not a file of its own
EVENTS = "events.jsonl"

DAMAGED = "damaged-"  # in front: the suffix still says what it was
FOREIGN = "foreign-"  # the same, for files of another run
CONFLICT = ".conflict"

MODEL, IMMUTABLE, LINES = "model", "immutable", "rows"  # kinds of blobs

_RESUME = re.compile(r"resume-([0-9]{8}|[1-9][0-9]{8,})")  # one name a number
_BLOB = re.compile(r"blob-(?:(rows|immutable)-)?([0-9]{8,18})-([0-9a-f]{8})(?:-[0-9]+)?(?:\..+)?", re.DOTALL)
_IDENTITY = re.compile(r"[0-9a-f]{32}")
_OURS = {LOCK, LOCK_WITHOUT_FLOCK, IDENTITY, RUN, RESULTS, EVENTS}
_LOGS = {JOURNAL, ROWS}  # the run's own; no callback may have one of this name
_RESERVED = {name.casefold() for name in _OURS | _LOGS}


def new_identity() -> str:
    """A random identity for a new run."""
    return os.urandom(16).hex()


def is_identity(text: object) -> bool:
    """Whether it is what :func:`new_identity` gives."""
    return isinstance(text, str) and _IDENTITY.fullmatch(text) is not None


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


def blob_names(run: str, number: int, *, file: str = "", kind: str = "") -> list[str]:
    """Names for a blob of resume point ``number``, to be tried in this order.

    Args:
        run: the run's identity.
        number: the resume point's.
        file: what people call the file; gives the suffix.
        kind: ``IMMUTABLE``, ``LINES``, or "" for a model.

    Example:
        >>> blob_names("3f9ac21b" * 4, 40, file="best.weights.h5")[:2]
        ['blob-00000040-3f9ac21b.weights.h5', 'blob-00000040-3f9ac21b-1.weights.h5']
        >>> blob_names("3f9ac21b" * 4, 40, kind=LINES)[0]
        'blob-rows-00000040-3f9ac21b'
    """
    stem = f"blob-{kind}-{number:08d}-{run[:8]}" if kind else f"blob-{number:08d}-{run[:8]}"
    suffix = suffix_of(file)
    return [stem + suffix, *(f"{stem}-{i}{suffix}" for i in range(1, 10_000))]


def is_blob(name: str) -> bool:
    """Whether ``name`` is one that :func:`blob_names` gives."""
    return _BLOB.fullmatch(name) is not None


def is_blob_of(run: str, name: str) -> bool:
    """Whether ``name`` is that of a blob of the run with this identity."""
    match = _BLOB.fullmatch(name)
    return match is not None and match[3] == run[:8]


def blob_number(name: str) -> int:
    """The number of the resume point that a blob was made for; 0 if it is not a blob."""
    match = _BLOB.fullmatch(name)
    return int(match[2]) if match else 0


def suffix_of(file: str) -> str:
    """The end of a file's name that its blob's name has too.

    Example:
        >>> suffix_of("models/best.weights.h5"), suffix_of("blob-00000040-3f9ac21b-1.weights.h5")
        ('.weights.h5', '.weights.h5')
    """
    return "".join(PurePath(file).suffixes[-2:])


def blob_kind(name: str) -> str:
    """What a blob of this name holds: ``MODEL``, ``LINES`` or ``IMMUTABLE``; "" if it is not a blob."""
    match = _BLOB.fullmatch(name)
    return match[1] or MODEL if match else ""


def published_path(folder: str, name: str) -> str:
    """The path of the published file ``name``, which must stay inside the run's folder.

    Raises:
        ArgumentError: the name leads out of the folder, is one that the run
            keeps for itself, is too long, or holds control characters.

    Example:
        >>> published_path("runs/digits", "best.keras")
        'runs/digits/best.keras'
        >>> published_path("runs/digits", "../../.bashrc")
        Traceback (most recent call last):
        ...
        outlast.exceptions.ArgumentError: '../../.bashrc' cannot be a file of a run: it leads ...
    """
    check_published_name(name)
    return _path_inside(folder, name)


def log_path(folder: str, name: str) -> str:
    """The path of the log ``name``: as :func:`published_path`, but the run's own logs have one too."""
    check_log_name(name)
    return _path_inside(folder, name)


def check_published_name(name: str) -> None:
    """Raise ``ArgumentError`` if no published file may have this name, whatever the folder holds."""
    names = name.replace(os.sep, "/").split("/")
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise _refused(name, "it holds control characters")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise _refused(name, "it holds half of a character") from None
    if os.path.isabs(name) or os.path.splitdrive(name)[0] or ".." in names:
        raise _refused(name, "it leads out of the run's folder")
    if not {"", "."}.isdisjoint(names):
        raise _refused(name, "it has an empty name in it")
    first = names[0].casefold()  # as file systems compare that do not tell A from a
    if first in _RESERVED or first.startswith(("resume-", "blob-")):
        raise _refused(name, "the run keeps that name for itself")
    if any(map(is_temporary, names)):
        raise _refused(name, "temporary files are called so")
    if max(map(_bytes, names)) > limits.NAME_BYTES or _bytes(name) > limits.PATH_BYTES:
        raise _refused(name, f"the name has {_bytes(name):,} bytes; at most {limits.NAME_BYTES} are allowed")


def check_log_name(name: str) -> None:
    """As :func:`check_published_name`, but the run's own logs have their names."""
    if name not in _LOGS:
        check_published_name(name)


def _path_inside(folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    inside, root = os.path.realpath(os.path.dirname(path)), os.path.realpath(folder)
    if os.path.commonpath([inside, root]) != root:
        raise _refused(name, "a symbolic link on its way leads out of the run's folder")
    return path


def _bytes(name: str) -> int:
    return len(name.encode(errors="surrogatepass"))


def _refused(name: str, fault: str) -> ArgumentError:
    return ArgumentError(
        f"{name!r} cannot be a file of a run: {fault}; use a name inside it, such as 'best.keras'."
    )
