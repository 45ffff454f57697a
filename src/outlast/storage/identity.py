"""Which run a folder belongs to.

A run gets a random identity when its folder is begun. The file ``IDENTITY`` holds it, each
resume point and each immutable holds it, and the names of blobs begin with it. So a file that was
copied from another run is not taken for ours, and a writer that sleeps while its folder is set
aside notices that the new folder is not its own.
"""

from __future__ import annotations

import os

from outlast.storage.disk import files
from outlast.storage.disk.calls import explained
from outlast.storage.disk.reading import read_part, regular_size
from outlast.storage.format import layout

_SIZE = 33  # with the end of the line


def read(folder: str) -> str | None:
    """The identity of the run that the folder belongs to; None if ``IDENTITY`` does not say it."""
    path = os.path.join(folder, layout.IDENTITY)
    if regular_size(path) != _SIZE:
        return None
    with explained(path, "read"):
        text = read_part(path, 0, _SIZE).decode("ascii", "replace").removesuffix("\n")
    return text if layout.is_identity(text) else None


def give(folder: str, run: str, aside: str = layout.DAMAGED) -> None:
    """Make the folder that of ``run``, if it is not; what is called ``IDENTITY`` steps aside."""
    path = os.path.join(folder, layout.IDENTITY)
    if read(folder) == run:
        return
    if os.path.lexists(path):
        files.move_aside(path, front=aside)
    files.seal(path, files.Content(run.encode() + b"\n"), needed=_SIZE)
