"""Callbacks that are not outlast's: Keras's, and subclasses of Keras's. What they remember is not saved.

Keras's own keep models in their attributes, so that nothing of theirs can be saved by itself.
"""

from __future__ import annotations

from typing import Any

from outlast.frameworks.base import is_of_framework
from outlast.run.plain import may_change, stored

# Keras's callbacks of which no later epoch depends on what they remember; their base has nothing.
_WITHOUT_STATE = {
    *("CSVLogger", "History", "LambdaCallback", "LearningRateScheduler", "ProgbarLogger", "RemoteMonitor"),
    *("TensorBoard", "TerminateOnNaN"),
}
_OURS_TOO = {"EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau"}
_BASE = "Callback"


def unsaved(callback: Any) -> str | None:
    """What is lost of a callback by a resume, as a phrase with the way out; None if that does not matter."""
    cls = type(callback)
    theirs = next(filter(is_of_framework, cls.__mro__), None)
    if theirs is cls:
        if cls.__name__ in {*_WITHOUT_STATE, _BASE}:
            return None
        better = f": use outlast.{cls.__name__}" if cls.__name__ in _OURS_TOO else ""
        return f"the state of {cls.__name__} is not saved{better}"
    if theirs is not None and theirs.__name__ not in {*_WITHOUT_STATE, _BASE}:
        return f"the state of {cls.__name__} is not saved"
    names = _attributes(callback, theirs)
    if not names:
        return None
    return f"the state of {cls.__name__} ({', '.join(names)}) is not saved: derive it from outlast.Callback"


def _attributes(callback: Any, theirs: type | None) -> list[str]:
    """The attributes that it has beyond its framework's class, and that may be a memory."""
    known = {"params", "model", *(vars(theirs()) if theirs is not None and theirs.__name__ == _BASE else ())}
    return [
        name
        for name, value in vars(callback).items()
        if name not in known and (stored(value) is not None or may_change(value))
    ]
