"""Find the runs below a folder, with the status of each."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from outlast.exceptions import FileError
from outlast.inspect.folders import run_folders
from outlast.inspect.status import RunStatus, Status, status_of


@dataclass(frozen=True)
class Found:
    """The runs below a folder.

    Args:
        runs: sorted by name; numbers in names are compared by value.
        unread: folders that could not be read, with the reasons.
    """

    runs: tuple[RunStatus, ...]
    unread: dict[str, str]


def find(folder: str) -> Found:
    """The runs in a folder and up to ``LEVELS`` levels below it.

    Raises:
        FileError: the folder does not exist, or cannot be read.
    """
    unread: dict[str, str] = {}
    paths = [*run_folders(folder, unread)]
    if folder in unread:
        raise FileError(f"Cannot look for runs in {folder}: {unread[folder]}.", path=folder)
    here = os.path.join(os.curdir, "")  # "./run" is shown as "run"
    runs = map(status_of, sorted((path.removeprefix(here) for path in paths), key=_in_order))
    return Found(tuple(run for run in runs if run.status is not Status.NO_RUN), unread)


def _in_order(path: str) -> list[tuple[int, str]]:
    """A key that sorts ``run-9`` before ``run-10``."""
    pieces = re.split(r"([0-9]+)", path)
    return [(int(piece[:18]), piece) if piece.isdecimal() else (0, piece) for piece in pieces if piece]
