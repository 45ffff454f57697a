"""Checks a model's file before anything opens it: it must not take more memory than it is long.

Keras and PyTorch store without compression, so no file of theirs is refused.
"""

from __future__ import annotations

import io
import os
import zipfile
from typing import Any

from outlast.exceptions import DamagedFile


def check(path: str) -> None:
    """Refuse a file that would take more memory than its own length.

    Raises:
        DamagedFile: an archive whose entries, or a file of HDF5 whose arrays are longer than itself.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _compare(sum(entry.file_size for entry in entries), os.path.getsize(path), path)
            for entry in entries:
                if entry.filename.endswith(".h5"):
                    _check_arrays(io.BytesIO(archive.read(entry)), entry.file_size, path)
    elif path.endswith(".h5"):
        _check_arrays(path, os.path.getsize(path), path)


def _check_arrays(file: Any, size: int, path: str) -> None:
    import h5py  # type: ignore[import-untyped]

    arrays: list[int] = []

    def note(name: str, one: Any) -> None:
        if isinstance(one, h5py.Dataset):
            arrays.append(one.nbytes)

    with h5py.File(file, "r") as content:
        content.visititems(note)
    _compare(sum(arrays), size, path)


def _compare(needed: int, size: int, path: str) -> None:
    if needed > size:
        raise DamagedFile(
            f"{path} is not a model that this run saved: {size:,} bytes would become {needed:,}.", path=path
        )
