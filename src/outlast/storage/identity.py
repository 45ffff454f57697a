"""Which run a folder belongs to.

A run gets a random identity when its folder is begun. The file ``IDENTITY`` holds it, each
resume point and each immutable holds it, and the names of blobs contain its first eight
digits. So a file that was copied from another run is not taken for ours, and a writer that
sleeps while its folder is set aside notices that the new folder is not its own.
"""

from __future__ import annotations

import os

from outlast.storage.disk import files
from outlast.storage.disk.reading import beginning
from outlast.storage.format import layout

_SIZE = 33  # with the end of the line


def read(folder: str) -> str | None:
    """The identity of the run that the folder belongs to; None if ``IDENTITY`` does not say it."""
    path = os.path.join(folder, layout.IDENTITY)
    text = (beginning(path, _SIZE + 1) or b"").decode("ascii", "replace")
    run = text.removesuffix("\n")
    return run if len(text) == _SIZE and layout.is_identity(run) else None


def give(folder: str, run: str, aside: str = layout.DAMAGED) -> bool:
    """Make the folder that of ``run``; what is called ``IDENTITY`` steps aside.

    Returns whether it was not that run's before.
    """
    path = os.path.join(folder, layout.IDENTITY)
    if read(folder) == run:
        return False
    if os.path.lexists(path):
        files.move_aside(path, front=aside)
    files.seal(path, files.Content(run.encode() + b"\n"), needed=_SIZE)
    return True
