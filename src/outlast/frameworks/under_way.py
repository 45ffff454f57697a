"""The epoch that is under way, for data whose order depends on it.

Such data can be anywhere in the script: in ``enumerate``, in a validation, in Keras's ``fit``, which shows
nobody what it was given. So the run does not look for them; they ask here.
"""

from __future__ import annotations

import weakref
from threading import get_ident
from typing import Any, NamedTuple


class _Begun(NamedTuple):
    run: weakref.ref[Any]
    epoch: int
    thread: int  # that trains


_begun: tuple[_Begun, ...] = ()  # replaced, never changed: TensorFlow asks from threads of its own


def begin(run: Any, epoch: int) -> None:
    """An epoch of a run begins; one of another run may be under way around it.

    Args:
        run: says with ``is_running`` whether it still trains: an error may have ended it unheard. It knows
            that by the calls of its own thread alone.
        epoch: from 0.
    """
    global _begun
    end(run)
    _begun = (*_begun, _Begun(weakref.ref(run), epoch, get_ident()))


def end(run: Any) -> None:
    """The run trains no longer."""
    global _begun
    others = [one for one in _begun if one.run() is not run]
    _begun = tuple(one for one in others if one.run() is not None)


def epoch() -> int | None:
    """The epoch of the run that is training; None if there is none."""
    here = get_ident()
    for one in reversed(_begun):
        run = one.run()
        if run is not None and (one.thread != here or run.is_running):
            found: int = one.epoch
            return found
    return None
