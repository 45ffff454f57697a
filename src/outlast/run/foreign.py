"""Callbacks that are not outlast's: Keras's, and subclasses of Keras's. What they remember is not saved.

Keras's own keep models in their attributes, so that nothing of theirs can be saved by itself. Those in the
run's list are named before the first batch. Of those beside the run many only note or show something: so a
user's own is named if an attribute with weights is seen to change, or any if its code acts on the training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

# It puts back in the next epoch's beginning what it changed at this one's end: no matter if a run, which
# is called before, saves without it.
_UNDONE_AT_EPOCH_BEGIN = {"SwapEMAWeights"}

# Names in the code of a callback that stops the training, sets a rate or changes weights.
_ACTING = {"stop_training", "learning_rate", "lr", "set_weights", "assign", "set_value", "trainable"}

_LOOKED_AT = 8


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


def unsaved_beside(run: Any, callbacks: Sequence[Any]) -> list[str]:
    """What is lost of Keras's own callbacks that stand beside a run in ``fit``, as phrases.

    Args:
        run: that stands among them.
        callbacks: of ``fit``, in the order in which they are called.
    """
    own = [one for one in callbacks if is_of_framework(type(one))]
    place = next((index for index, one in enumerate(callbacks) if one is run), len(callbacks))
    later = [id(one) for one in callbacks[place:] if type(one).__name__ in _UNDONE_AT_EPOCH_BEGIN]
    told = {id(one): unsaved(one) for one in own if id(one) not in later}
    return [text for text in told.values() if text]


class Beside:
    """Watches the attributes of a user's own callbacks that stand beside a run in ``fit``."""

    def __init__(self) -> None:
        self._watched: list[tuple[Any, type | None]] = []
        self._seen: dict[tuple[int, str], Any] = {}
        self._told: set[str] = set()

    def begin(self, callbacks: Iterable[Any]) -> None:
        """A training begins, with these callbacks beside the run."""
        theirs = [(one, next(filter(is_of_framework, type(one).__mro__), None)) for one in callbacks]
        self._watched = [(one, base) for one, base in theirs if base not in (None, type(one))]
        self._seen = {}

    def changed(self) -> list[str]:
        """After an epoch: what is lost of those that are not what they were after the one before."""
        found = []
        for one, theirs in self._watched:
            now = {name: _glance(getattr(one, name)) for name in _attributes(one, theirs)}
            before = {name: self._seen.get((id(one), name)) for name in now}
            names = [name for name in now if before[name] is not None and before[name] != now[name]]
            if not _acts(type(one)):
                names = [name for name in names if _has_weights(getattr(one, name))]
            self._seen |= {(id(one), name): glance for name, glance in now.items()}
            if names and type(one).__name__ not in self._told:
                self._told.add(type(one).__name__)
                found.append(
                    f"the state of {type(one).__name__} ({', '.join(names)}) is not saved: derive it from "
                    "outlast.Callback, and put it into the Run"
                )
        return found


def _acts(cls: type) -> bool:
    """Whether the code of a callback mentions what it would act with."""
    own = [one for one in cls.__mro__ if one is not object and not is_of_framework(one)]
    codes = (getattr(function, "__code__", None) for one in own for function in vars(one).values())
    return any(not _ACTING.isdisjoint(code.co_names) for code in codes if code)


def _has_weights(value: Any) -> bool:
    """Whether it is an array, a model, or a container of them; the last one tells."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, (list, tuple)):
        return bool(value) and _has_weights(value[-1])
    return any(hasattr(type(value), name) for name in ("__array__", "get_weights"))


def _glance(value: Any) -> Any:
    """Tells most changes of a value, at no cost; of a list its length and its end."""
    if isinstance(value, (list, tuple)):
        return len(value), [*map(id, value[-_LOOKED_AT:])]
    if isinstance(value, (dict, set)):
        return len(value)
    return value if isinstance(value, (bool, int, float, complex, str, bytes)) else id(value)


def _attributes(callback: Any, theirs: type | None) -> list[str]:
    """The attributes that it has beyond its framework's class, and that may be a memory."""
    known = {"params", "model", *(vars(theirs()) if theirs is not None and theirs.__name__ == _BASE else ())}
    return [
        name
        for name, value in vars(callback).items()
        if name not in known and (stored(value) is not None or may_change(value))
    ]
