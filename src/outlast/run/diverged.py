"""Diverged: a training that TerminateOnNaN stopped, and when it may go on.

Its newest resume point was made in the epoch with the invalid loss, so its weights are of no use: a training
that goes on does so from the one before.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from outlast.core.decision import Decision, Reason
from outlast.core.run_state import RunState
from outlast.run.comparison import ROOT
from outlast.run.settings import Change
from outlast.storage.format.dtypes import Bits
from outlast.storage.format.encoding import encode

WHY = "whose loss was NaN or infinite"


def may_go_on(saved: RunState, changed: Collection[Change]) -> bool:
    """Whether a stop for an invalid loss does not hold any more.

    Args:
        saved: what the run holds.
        changed: what the code asks for now and did not before, as far as it was accepted.
    """
    stops = [stop for stop in saved.stops if stop.reason is Reason.INVALID_LOSS]
    return bool(stops) and any(change.fixed or _removes(change, stops) for change in changed)


def _removes(change: Change, stops: Collection[Decision]) -> bool:
    """Whether it is the callback that stopped the training which was removed."""
    return change.how == "was removed" and any(
        change.name.partition("#")[0] == stop.callback for stop in stops
    )


def is_finite(tree: Any) -> bool:
    """Whether no array of floating-point numbers in a tree holds NaN or an infinity."""
    import numpy as np

    arrays = [one.numpy() if isinstance(one, Bits) else one for one in encode(tree, ROOT).arrays.values()]
    return all(bool(np.isfinite(one).all()) for one in arrays if one.dtype.kind in "fc")
