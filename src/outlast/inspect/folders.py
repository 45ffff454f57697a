"""Which folders hold runs, judged by file names alone: no file is opened, no link is followed."""

from __future__ import annotations

import os
from collections.abc import Iterator

from outlast.storage.disk.calls import explained
from outlast.storage.format import layout

LEVELS = 3  # how many levels below a folder are searched


def run_folders(folder: str, unread: dict[str, str], levels: int = LEVELS) -> Iterator[str]:
    """The folders with a run's files: ``folder`` itself, and those up to ``levels`` below it.

    Hidden folders are skipped. A run may lie inside another run's folder.

    Args:
        folder: where the search starts.
        unread: gets each folder that cannot be read, with the reason.
        levels: how far down it goes.
    """
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
    if layout.is_run(ours):
        yield folder
    for path in inner if levels else ():
        yield from run_folders(path, unread, levels - 1)


def why_no_run(folder: str) -> str:
    """Why there is no run in this folder, as a sentence with the way out; "" if there is one.

    Raises:
        FileError: the folder cannot be read.
    """
    if not os.path.lexists(folder):
        return f"There is no run {folder}: no such folder."
    if not os.path.isdir(folder):
        return f"There is no run {folder}: it is not a folder."
    with explained(folder, "read"):
        names = os.listdir(folder)
    if layout.is_run(names):
        return ""
    count = len([*run_folders(folder, {})])
    if count:
        lie = "1 run lies" if count == 1 else f"{count} runs lie"
        return f"There is no run in {folder} itself, but {lie} below it: outlast ls {folder}"
    return f"There is no run in {folder}: it " + ("has no files of a run." if names else "is empty.")
