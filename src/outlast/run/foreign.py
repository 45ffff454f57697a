"""Callbacks that are not outlast's: Keras's, and subclasses of Keras's. What they remember is not saved.

Keras's own keep models in their attributes, so that nothing of theirs can be saved by itself. Those in the
run's list are named before the first batch. Of those beside the run many only note or show something: so a
user's own is named if an attribute with weights is seen to change, or any if its code acts on the training or
puts a metric into the logs.
"""

from __future__ import annotations

import dis
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from outlast.core.asking import has
from outlast.frameworks import random_state
from outlast.frameworks.base import is_of_framework
from outlast.run.held import is_held, listed
from outlast.run.plain import may_change, stored

# Keras's callbacks of which no later epoch depends on what they remember; their base has nothing.
_WITHOUT_STATE = {
    *("CSVLogger", "History", "LambdaCallback", "LearningRateScheduler", "ProgbarLogger", "RemoteMonitor"),
    *("TensorBoard", "TerminateOnNaN"),
    *("EvaluationMonitor", "TrainingCheckPoint"),  # XGBoost's
}
_OURS_TOO = {"EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau"}
_BASE = "Callback"

# What code sets or calls that sets a rate or changes weights.
_SET = {"learning_rate", "lr", "trainable"}
_STOPPING = {*_SET, "stop_training", "should_training_stop", "should_epoch_stop"}
_CALLED = {"assign", "assign_add", "assign_sub", "set_weights", "set_value", "load_weights"}

_FILLED = {"update", "setdefault"}  # what is called of logs to put a metric into them

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

    So is what a callback that is called after the run changes when an epoch ends: the run has saved then.

    Args:
        run: that stands among them.
        callbacks: of ``fit``, in the order in which they are called.
    """
    place = next((index for index, one in enumerate(callbacks) if one is run), len(callbacks))
    told = [
        _swapped(one, index < place) if type(one).__name__ == "SwapEMAWeights" else unsaved(one)
        for index, one in enumerate(callbacks)
        if is_of_framework(type(one))
    ]
    told += [
        f"what {type(one).__name__} changes when an epoch ends comes after the Run has saved it: put the Run "
        "last, callbacks=[..., run], and hold what it changes beside the model in an attribute of the model "
        "(model.beta = beta), or pass it to the Run as a part"
        for one in callbacks[place + 1 :]
        if _acts_in(getattr(one, "on_epoch_end", None))
        and (not is_of_framework(type(one)) or "on_epoch_end" in vars(one))
    ]
    return [text for text in told if text]


def _swapped(callback: Any, is_before: bool) -> str | None:
    """It swaps back in the next epoch's beginning, or after each validation if it was told so."""
    if not (is_before and getattr(callback, "swap_on_epoch", True)):
        return None
    return "the state of SwapEMAWeights is not saved: put it after the Run, callbacks=[run, ...]"


class _Watched(NamedTuple):
    """A callback of the user's.

    Args:
        callback: a subclass of its framework's.
        theirs: the framework's class.
        acts: its code acts on the training.
        begun: attributes that it sets anew when an epoch begins.
    """

    callback: Any
    theirs: type
    acts: bool
    begun: frozenset[str]

    def looked(self) -> dict[str, Any]:
        """What is seen of its attributes."""
        return {name: _glance(getattr(self.callback, name)) for name in _attributes(*self[:2])}


class Beside:
    """Watches the attributes of a user's own callbacks that stand beside a run in ``fit``.

    What is set again when an epoch begins is lost by a resume inside the epoch alone.
    """

    def __init__(self) -> None:
        self._watched: list[_Watched] = []
        self._at_begin: list[dict[str, Any]] = []  # how they were when the epoch had begun
        self._told: set[str] = set()
        self._saved: Callable[[], Sequence[Any]] = tuple  # gives what the run saves

    def begin(self, callbacks: Iterable[Any], saved: Callable[[], Sequence[Any]] = tuple) -> None:
        """A training begins.

        Args:
            callbacks: those beside the run.
            saved: gives what the run saves, the model and other things, as they are then.
        """
        self._saved = saved
        theirs = [(one, next(filter(is_of_framework, type(one).__mro__), None)) for one in callbacks]
        self._watched = [
            _Watched(one, base, _acts(type(one)), _set_anew(getattr(type(one), "on_epoch_begin", None)))
            for one, base in theirs
            if base is not None and base is not type(one)
        ]
        self._at_begin = []

    def begin_epoch(self) -> list[str]:
        """What an epoch's end does not save, of those that are not as they were one epoch ago."""
        found = self._changed(inside=False)
        self._at_begin = [one.looked() for one in self._watched]
        return found

    def changed_inside(self) -> list[str]:
        """What a save inside an epoch does not hold, of those that are not as they were at its begin."""
        return self._changed(inside=True)

    def _changed(self, *, inside: bool) -> list[str]:
        found = []
        for one, before in zip(self._watched, self._at_begin, strict=False):
            now, kind = one.looked(), type(one.callback).__name__
            names = [name for name in now if before.get(name) is not None and before[name] != now[name]]
            names = [name for name in names if inside or name not in one.begun]
            if not one.acts:
                names = [name for name in names if _has_weights(getattr(one.callback, name))]
            names = [name for name in names if not is_held(getattr(one.callback, name), self._saved())]
            if names and kind not in self._told:
                self._told.add(kind)
                found.append(
                    f"the state of {kind} ({', '.join(names)}) is not saved: derive it from "
                    "outlast.Callback, and put it into the Run"
                )
        return found


def _acts(cls: type) -> bool:
    """Whether the code of a callback acts on the training, or puts a metric into the logs of a hook."""
    own = [one for one in cls.__mro__ if one is not object and not is_of_framework(one)]
    functions = [function for one in own for function in vars(one).values()]
    return any(_acts_in(one, _STOPPING) or _fills_logs(one) for one in functions)


def _acts_in(function: Any, setting: Collection[str] = _SET) -> bool:
    """Whether a function sets one of these attributes, or changes weights, as its own code says."""
    code = getattr(function, "__code__", None)
    return code is not None and any(
        one.argval in (setting if one.opname == "STORE_ATTR" else _CALLED)
        for one in dis.get_instructions(code)
        if one.opname in ("STORE_ATTR", "LOAD_ATTR", "LOAD_METHOD")
    )


def _set_anew(function: Any) -> frozenset[str]:
    """The attributes that a function sets, and does not read."""
    code = getattr(function, "__code__", None)
    found = [] if code is None else [*dis.get_instructions(code)]
    used = {name: {one.argval for one in found if one.opname == name} for name in ("STORE_ATTR", "LOAD_ATTR")}
    return frozenset(used["STORE_ATTR"] - used["LOAD_ATTR"])


def _fills_logs(function: Any) -> bool:
    """Whether a hook puts something into its logs, its last argument."""
    code = getattr(function, "__code__", None)
    if code is None or not code.co_name.startswith("on_"):
        return False
    logs = code.co_varnames[: code.co_argcount][-1:]
    loaded: list[Any] = []  # the stack, by the name of the variable that a value on it is
    for one in dis.get_instructions(code):
        stored = one.opname == "STORE_SUBSCR" and tuple(loaded[-2:-1]) == logs
        called = one.opname in ("LOAD_ATTR", "LOAD_METHOD") and one.argval in _FILLED
        if logs and (stored or (called and tuple(loaded[-1:]) == logs)):
            return True
        change = dis.stack_effect(one.opcode, one.arg, jump=False)
        if one.opname.startswith(("LOAD_FAST", "LOAD_DEREF")):  # newer versions load two at once
            loaded += one.argval if isinstance(one.argval, tuple) else [one.argval]
        elif change > 0:
            loaded += [None] * change
        else:
            del loaded[len(loaded) + change :]
            loaded[-1:] = [None]
    return False


def _has_weights(value: Any) -> bool:
    """Whether it is an array, a model, a random generator, or a container of them; the last one tells."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, (list, tuple)):
        return bool(value) and _has_weights(value[-1])
    if random_state.is_generator(value) and not isinstance(value, ModuleType):
        return True
    return any(hasattr(type(value), name) for name in ("__array__", "get_weights", "named_parameters"))


def _glance(value: Any) -> Any:
    """Tells most changes of a value, at little cost; of a list or a dict its length and its end."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, (list, tuple)):
        return len(value), [*map(_written, value[-_LOOKED_AT:])]
    if isinstance(value, set):
        return len(value)
    if has(type(value), "named_parameters"):
        return id(value), [_written(one) for kind in ("parameters", "buffers") for one in listed(value, kind)]
    if has(type(value), "_version") or random_state.is_generator(value):
        return _written(value)
    if hasattr(type(value), "assign") and hasattr(type(value), "__array__"):  # a Variable
        return id(value), zlib.crc32(str(value).encode())
    return value if isinstance(value, (bool, int, float, complex, str, bytes)) else id(value)


def _written(value: Any) -> Any:
    """Which object it is; of a tensor of PyTorch's also how often it was written to, and some numbers."""
    if random_state.is_generator(value) and not isinstance(value, ModuleType):
        return id(value), zlib.crc32(repr(_states(random_state.of_generator(value))).encode())
    if not has(type(value), "_version"):
        return id(value)
    try:
        return id(value), value._version, value.detach().reshape(-1)[:_LOOKED_AT].tolist()
    except Exception:  # no numbers at hand
        return id(value)


def _states(state: Any) -> Any:
    """A state of a generator with all numbers of its arrays."""
    if isinstance(state, dict):
        return {name: _states(one) for name, one in state.items()}
    if isinstance(state, tuple):
        return [*map(_states, state)]
    return state.tobytes() if has(state, "tobytes") else state


def _attributes(callback: Any, theirs: type | None) -> list[str]:
    """The attributes that it has beyond its framework's class, and that may be a memory."""
    known = {"params", "model", *(vars(theirs()) if theirs is not None and theirs.__name__ == _BASE else ())}
    return [
        name
        for name, value in vars(callback).items()
        if name not in known and (stored(value) is not None or may_change(value))
    ]
