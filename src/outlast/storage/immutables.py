"""Immutables: values of a state that never change, each a blob of its own that resume points name."""

from __future__ import annotations

import os

from outlast.exceptions import CapabilityError, DamagedFile
from outlast.storage.blobs import Blob, Sealer
from outlast.storage.disk.files import Drain
from outlast.storage.format import document, layout
from outlast.storage.format.encoding import Immutable, decode

FORMAT = "outlast immutable"


def draft(value: Immutable, name: str) -> document.Draft:
    """The value as it will be written. Nothing is written.

    Raises:
        CapabilityError: it holds what cannot be stored; ``name`` says which it is.
    """
    drafted = document.draft(value.value, name)
    for inner in drafted.immutables:
        raise CapabilityError(f"Cannot store {inner}: an Immutable within another is not supported.")
    return drafted


def seal(sealer: Sealer, written: document.Draft, drain: Drain) -> Blob:
    """Write one, as :func:`draft` gave it."""

    def write(path: str) -> None:
        document.write(path, FORMAT, sealer.run, written.text, written.arrays, drain)

    needed = sum(array.nbytes for array in written.arrays.values())
    return sealer.seal(write, kind=layout.IMMUTABLE, needed=needed)


def load(folder: str, run: str, blob: Blob) -> Immutable | None:
    """The value that ``blob`` holds; None if its bytes are lost.

    Raises:
        FileError: the system does not let us look.
    """
    path = os.path.join(folder, blob.name)
    if not blob.fits(path):
        return None
    try:
        with document.opened(path, FORMAT) as file:
            if document.run_of(file) != run:
                return None
            arrays = {name: file.read(name) for name in file.places if name != document.MANIFEST}
            return Immutable(decode(document.manifest(file), arrays))
    except DamagedFile:
        return None
