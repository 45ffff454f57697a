"""Find the runs below a folder, with the status of each."""

from __future__ import annotations

import os
import re

from outlast.exceptions import FileError
from outlast.inspect.folders import run_folders
from outlast.inspect.status import RunStatus, Status, look


def find(folder: str) -> tuple[list[RunStatus], dict[str, str]]:
    """The runs in a folder and up to ``LEVELS`` levels below it.

    Returns:
        The runs, sorted by name (numbers in names are compared by value), and the folders that could not
        be read, with the reasons.

    Raises:
        FileError: the folder does not exist, or cannot be read.
    """
    unread: dict[str, str] = {}
    paths = [*run_folders(folder, unread)]
    if folder in unread:
        raise FileError(f"Cannot look for runs in {folder}: {unread[folder]}.", path=folder)
    here = os.path.join(os.curdir, "")  # "./run" is shown as "run"
    runs = [look(path).run for path in sorted((path.removeprefix(here) for path in paths), key=_in_order)]
    return [run for run in runs if run.status is not Status.NO_RUN], unread


def _in_order(path: str) -> list[tuple[int, str]]:
    """A key that sorts ``run-9`` before ``run-10``."""
    pieces = re.split(r"([0-9]+)", path)
    return [(int(piece[:18]), piece) if piece.isdecimal() else (0, piece) for piece in pieces if piece]
