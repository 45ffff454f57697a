"""Files of named arrays, ``best.safetensors`` and ``best.npz``: other programs read them, and run no code.

``.safetensors`` is the usual one: it has bfloat16 and the float8 types, which NumPy's own files lose, and
ours carry a checksum of each array.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from outlast.exceptions import DamagedFile
from outlast.frameworks import archives
from outlast.storage.format import reader, tensors
from outlast.storage.format.dtypes import Bits

SAFETENSORS, NPZ = ".safetensors", ".npz"
_MADE = (1980, 1, 1, 0, 0, 0)  # equal weights make equal files


@dataclass(frozen=True)
class ArraysSave:
    """Writes arrays to a file whose ending says how.

    Args:
        collect: gives the arrays by name, copied or never changed again.
        suffix: of the file, where its name does not tell.
    """

    collect: Callable[[], Mapping[str, Any]]
    suffix: str = SAFETENSORS

    def named(self, name: str) -> ArraysSave:
        """The same for a file of that name."""
        return ArraysSave(self.collect, NPZ if name.endswith(NPZ) else SAFETENSORS)

    def write(self, path: str) -> None:
        """Write the arrays while training waits."""
        self.named(path).capture()(path)

    def capture(self) -> Callable[[str], object]:
        """Take the arrays now, write them later."""
        return _Writer(self.collect(), self.suffix)


@dataclass(frozen=True)
class _Writer:
    """Writes arrays to the path that it is called with."""

    arrays: Mapping[str, Any]
    suffix: str

    @property
    def needed(self) -> int:
        """Bytes that the file will take, or a little more."""
        return sum(array.nbytes for array in self.arrays.values())

    def __call__(self, path: str) -> None:
        if self.suffix == NPZ:
            _write_npz(path, self.arrays)
        else:
            tensors.write(path, self.arrays, {"format": "np"})


def _write_npz(path: str, arrays: Mapping[str, Any]) -> None:
    import numpy as np

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", _MADE)
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def load(path: str) -> dict[str, Any]:
    """The arrays of a file that a run saved, by name, as NumPy's.

    Raises:
        DamagedFile: it is not what a run saved.

    Example:
        >>> import tempfile, numpy as np
        >>> path = tempfile.mkdtemp() + "/best.npz"
        >>> ArraysSave(lambda: {"w": np.ones(2)}).write(path)
        >>> load(path), np.load(path)["w"]
        ({'w': array([1., 1.])}, array([1., 1.]))
    """
    if path.endswith(NPZ):
        return _load_npz(path)
    with reader.opened(path) as file:
        arrays = {name: file.read(name) for name in file.places}
    return {name: array.numpy() if isinstance(array, Bits) else array for name, array in arrays.items()}


def _load_npz(path: str) -> dict[str, Any]:
    import numpy as np

    archives.check(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, zipfile.BadZipFile, KeyError, EOFError) as error:
        raise DamagedFile(
            f"{os.path.basename(path)} is damaged: {type(error).__name__}: {error}", path=path
        ) from error
