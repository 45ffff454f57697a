"""Shown: which of the files that people see are as the run has left them.

A file is the run's own if nobody has touched it since the run put it there. Whatever else is found in its
place, from before the run or written over it, is somebody else's work: it steps aside, and that is said.
"""

from __future__ import annotations

import os

from outlast.storage.blobs import Blob
from outlast.storage.disk import files
from outlast.storage.disk.reading import Stamp, stamp
from outlast.storage.format import layout


class Shown:
    """The published files that a process knows to be the run's own, by name."""

    def __init__(self) -> None:
        self._stamps: dict[str, Stamp | None] = {}

    def note(self, folder: str, name: str) -> None:
        """The file is the run's own as it is now."""
        self._stamps[name] = stamp(layout.published_path(folder, name))

    def make_way(self, folder: str, name: str, blob: Blob | None) -> str | None:
        """Before a file is written over or deleted: if it is somebody else's, it steps aside.

        Args:
            folder: the run's.
            name: of the published file.
            blob: what the run has put there, or is about to; None if that is not known any more.

        Returns:
            What was found, as a phrase; None if the file is the run's own, or not there.
        """
        path = layout.published_path(folder, name)
        now, known = stamp(path), self._stamps.get(name)
        if now is None or now == known or os.path.isdir(path):  # a folder is refused where it is written over
            return None
        if blob.fits(path) if blob is not None else known is None:
            return None
        kept = os.path.basename(files.move_aside(path, layout.CONFLICT))
        if name in self._stamps:
            return f"{name} had been changed: the other is {kept}"
        return f"{name} was there already, and is of no saved epoch of this run: now {kept}"
