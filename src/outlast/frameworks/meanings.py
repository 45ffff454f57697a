"""Meanings: what ``loss`` and ``val_`` are in the logs of a training, which no later start may change.

A library names metrics by its own order of sets and metrics. Another order would have callbacks compare, say,
a loss with an AUC.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from outlast.exceptions import RunChanged

_LOSSES = ("loss", "val_loss")
_HELD_OUT = "the data of val_ metrics"


class Meanings:
    """Those of a run, and whether a start has the same.

    Example:
        >>> meanings = Meanings()
        >>> meanings.load({"val_loss": "val_auc"})
        >>> meanings.meet({"val_loss": "val_logloss"})
        Traceback (most recent call last):
        outlast.exceptions.RunChanged: val_loss changed from val_auc to val_logloss...
    """

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def begin(self, held_out: Any) -> None:
        """A training begins, whose ``val_`` metrics are of these data; None if there are none."""
        self._found = {} if held_out is None else {_HELD_OUT: _described(held_out)}

    def state(self) -> dict[str, str]:
        """What is to be saved."""
        return dict(self._found)

    def check(self, saved: Mapping[str, str]) -> None:
        """Refuse what was saved, if something has another meaning now.

        Raises:
            RunChanged: it has.
        """
        _refuse_others(saved, self._found)

    def load(self, saved: Mapping[str, str]) -> None:
        """Go on with what was saved."""
        self._found = {**self._found, **saved}

    def meet(self, meant: Mapping[str, str]) -> None:
        """A round has ended, in which names have these meanings.

        Raises:
            RunChanged: they are others than before.
        """
        found = {name: meant[name] for name in _LOSSES if name in meant}
        _refuse_others(self._found, found)
        self._found.update(found)


def _refuse_others(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    for name, what in now.items():
        if before.get(name, what) != what:
            raise RunChanged(
                f"{name} changed from {before[name]} to {what}, so that callbacks would compare what is not "
                "the same: give the sets of data and the metrics in the order of the start before, or begin "
                "again with resume='never'."
            )


def _described(data: Any) -> str:
    """Tells data apart, by what the library has of their labels."""
    import numpy as np

    labels = np.ascontiguousarray(data.get_label(), "float32")
    return f"{labels.size} labels with checksum {zlib.crc32(labels.tobytes()):08x}"
