"""PastRun: a run that is looked at, not trained."""

from __future__ import annotations

import os
from typing import Any

from outlast.exceptions import DamagedFile, UsageError
from outlast.frameworks.base import load_file
from outlast.inspect.saved_run import SavedRun
from outlast.run.arguments import folder_path
from outlast.run.notebook import Shown
from outlast.storage import blobs


class PastRun(Shown, SavedRun):
    """A run, read only: the same properties as :class:`outlast.Run`'s.

    Args:
        folder: the run's.

    Raises:
        FileError: there is no run, or it cannot be read.
    """

    def load_best(self) -> Any:
        """The best model: a Keras model, a PyTorch state dict, or, of a JAX loop, a dict of NumPy arrays.

        Keras or PyTorch is imported now.

        If the run has gone on since it was opened here, and has a better one, that is the best.

        Raises:
            UsageError: no best model is saved.
            DamagedFile: its bytes are lost, or it is not what a run saved.
            TypeError, ValueError: the framework needs your code to load it; a note says what can be done.
        """
        best = self.best
        if best is None or best.path is None:
            raise UsageError(f"{self.folder} has no best model.")
        name = os.path.relpath(best.path, self.folder)
        try:
            path = blobs.intact(self.folder, name, self._point.files[name])
        except DamagedFile:
            now = PastRun(self.folder)
            if now.number == self.number:
                raise
            return now.load_best()
        return load_file(path)

    def __repr__(self) -> str:
        return f"PastRun({self.folder!r})"


def open_run(folder: str | os.PathLike[str]) -> PastRun:
    """A run, read only; no framework is imported.

    Args:
        folder: the run's.

    Raises:
        FileError: there is no run, or it cannot be read.

    Example:
        >>> import tempfile, outlast
        >>> folder = tempfile.mkdtemp() + "/run"
        >>> with outlast.Run(folder, adapter=outlast.testing.FakeAdapter()) as run:
        ...     for epoch in run.epochs(2):
        ...         run.log(loss=1.0 / (epoch + 1))
        >>> outlast.open_run(folder).history["loss"]
        [1.0, 0.5]
    """
    return PastRun(folder_path(folder))
