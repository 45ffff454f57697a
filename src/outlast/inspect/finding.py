"""Finding: where runs lie below a folder. Symbolic links are not followed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from outlast.exceptions import FileError
from outlast.inspect.status import Standing, Status, standing
from outlast.storage.format import layout

LEVELS = 3  # how far below the folder is looked


@dataclass(frozen=True)
class Found:
    """The runs below a folder, and where nobody let us look.

    Args:
        runs: in the order of their names, numbers in them by value.
        unread: folders that could not be read, with the reasons.
    """

    runs: tuple[Standing, ...]
    unread: dict[str, str]


def find(folder: str, levels: int = LEVELS) -> Found:
    """How each run stands in a folder and so many levels below it.

    Hidden folders are passed over. A run may lie in another's folder.

    Raises:
        FileError: there is no such folder, or it cannot be read.
    """
    unread: dict[str, str] = {}
    paths = [path for path, is_run in _below(folder, levels, unread) if is_run]
    if folder in unread:
        raise FileError(f"Cannot look for runs in {folder}: {unread[folder]}.", path=folder)
    here = os.path.join(os.curdir, "")  # "./run" is "run"
    looked_at = map(standing, sorted((path.removeprefix(here) for path in paths), key=_in_order))
    return Found(tuple(one for one in looked_at if one.status is not Status.NO_RUN), unread)


def _below(folder: str, levels: int, unread: dict[str, str]) -> Iterator[tuple[str, bool]]:
    """Each folder, and whether it has the names of a run."""
    inner: list[str] = []
    ours: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if layout.is_mark(entry.name):
                    ours.add(entry.name)
                elif entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    inner.append(entry.path)
    except OSError as error:
        unread[folder] = error.strerror or str(error)
        return
    yield folder, layout.is_run(ours)
    for path in inner if levels else ():
        yield from _below(path, levels - 1, unread)


def _in_order(path: str) -> list[tuple[int, str]]:
    """A key by which ``run-9`` comes before ``run-10``."""
    parts = re.split(r"([0-9]+)", path)
    return [(int(part[:18]), part) if part.isdecimal() else (0, part) for part in parts if part]
