"""Attributes: what a callback of one's own remembers in plain attributes, as in ``self.count += 1``.

Nobody says which attributes are state. So all that are plain are saved, with one exception: an argument of
``__init__`` that training never changed is a setting, and there the script decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from outlast.callbacks.base import Callback
from outlast.core.run_state import Moment
from outlast.exceptions import warn
from outlast.run import settings
from outlast.run.comparison import ROOT, leaves
from outlast.run.parts import AnyPart
from outlast.run.plain import is_value, may_change, put, stored
from outlast.storage.format.encoding import encode

_LARGE = 1 << 16  # bytes of arrays; what is larger and never changed, such as data, is not saved
_WAY_OUT = "give the callback a state_dict() and a load_state_dict()"


class AttributesPart(AnyPart):
    """The plain attributes of callbacks whose class has no ``state_dict`` of its own.

    They go back after ``on_train_begin``, where many callbacks set them to what they begin with.

    Args:
        callbacks: the run's, but not the framework's own.
        saved_elsewhere: whether an object is saved by another part, such as the model.
    """

    name, moment = "attributes", Moment.TRAIN_BEGIN

    def __init__(
        self, callbacks: Callable[[], Sequence[Callback]], saved_elsewhere: Callable[[Any], bool]
    ) -> None:
        self._callbacks, self._saved_elsewhere = callbacks, saved_elsewhere
        self._watched: dict[str, _Watched] = {}
        self._named: set[str] = set()

    def begin(self) -> list[str]:
        """Take what is set now, after ``on_train_begin``, for what a new process begins with.

        Returns:
            A phrase for each attribute that is not saved although a later epoch may depend on it.
        """
        callbacks = self._callbacks()
        by_key = zip(settings.keys(callbacks), callbacks, strict=True)
        self._watched = {key: _Watched(one) for key, one in by_key if not _saves_itself(type(one))}
        self._named = set()
        return [f"{name} is not saved: {_WAY_OUT}" for name in self._newly_unsaved()]

    def collect(self) -> dict[str, Any]:
        """The state of each, by its key; what is no longer plain is named."""
        state = {key: found for key, one in self._watched.items() if (found := one.state())}
        for name in self._newly_unsaved():
            warn(f"{name} is not saved, so that a resume would not be exact: {_WAY_OUT}.")
        return state

    def put_back(self, saved: Mapping[str, Any]) -> None:
        """Set what was saved."""
        for key, one in self._watched.items():
            one.put_back(saved.get(key, {}))

    def _newly_unsaved(self) -> list[str]:
        found = {
            f"{key}.{name} ({type(value).__name__})"
            for key, one in self._watched.items()
            for name, value in one.others.items()
            if not all(map(self._saved_elsewhere, _members(value) or [value]))
        }
        new = sorted(found - self._named)
        self._named |= found
        return new


class _Looked(NamedTuple):
    """What was seen of an attribute: its form for storage, checksums of it, its size in bytes."""

    stored: Any
    checksums: Any
    size: int


class _Watched:
    """A callback, and its attributes as they were when training began.

    Attributes:
        others: those that are not plain and may change, or have changed, when it was looked at last.
    """

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self._settings = _arguments(type(callback))
        self._saved: set[str] = set()  # what was saved once always is
        self.others: dict[str, Any] = {}
        self._constants: dict[str, Any] | None = None  # what is set is seen from the second look on
        self._first = self._look()
        self._constants = {name: one for name, one in _attributes(callback).items() if is_value(one)}

    def state(self) -> dict[str, Any]:
        """What is to be saved."""
        found = self._look()
        self._saved |= {name for name, looked in found.items() if self._is_state(name, looked)}
        return {name: looked.stored for name, looked in found.items() if name in self._saved}

    def _is_state(self, name: str, now: _Looked) -> bool:
        first = self._first.get(name)
        if first is None or first.checksums != now.checksums:
            return True
        return name not in self._settings and now.size <= _LARGE

    def put_back(self, saved: Mapping[str, Any]) -> None:
        """Set what was saved; what is the same already is left alone."""
        self._saved |= saved.keys()
        now = self._look()
        for name, value in saved.items():
            if name not in now or now[name].checksums != _checksums(value):
                put(self._callback, name, value)

    def _look(self) -> dict[str, _Looked]:
        found, self.others = {}, {}
        for name, value in _attributes(self._callback).items():
            form = stored(value)
            if form is not None:
                arrays = encode(form, ROOT).arrays.values()
                found[name] = _Looked(form, _checksums(form), sum(array.nbytes for array in arrays))
            elif may_change(value) or self._was_set(name, value):
                self.others[name] = value
        return found

    def _was_set(self, name: str, value: Any) -> bool:
        """Whether an attribute was set to a value that cannot be saved, such as a named tuple."""
        if self._constants is None or not is_value(value):
            return False
        try:
            return name not in self._constants or bool(self._constants[name] != value)
        except Exception:  # of a comparison of the user's
            return True


def _members(value: Any, depth: int = 8) -> list[Any]:
    """The objects in a list or dict that may change; or the value itself, as of a dict that holds itself."""
    inner = [*value.values()] if isinstance(value, Mapping) else value
    if not depth or not isinstance(inner, (list, tuple, set, frozenset)):
        return [value]
    return [member for one in inner if may_change(one) for member in _members(one, depth - 1)]


def _checksums(form: Any) -> Any:
    """The same only for what is the same, types and the order of keys included."""
    return [(name, type(leaf), leaf if leaf == leaf else "nan") for name, leaf in leaves(form).items()]


def _saves_itself(cls: type) -> bool:
    """Whether a class of the user's says what its state is."""
    return any(name in vars(one) for one in _users(cls) for name in ("state_dict", "load_state_dict"))


def _users(cls: type) -> list[type]:
    """The classes that are not outlast's, the most general first."""
    return [one for one in reversed(cls.__mro__) if one is not object and not _is_ours(one)]


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith("outlast.")


def _arguments(cls: type) -> frozenset[str]:
    """The names of what ``__init__`` takes, in all classes of the user's."""
    inits = [vars(one)["__init__"] for one in _users(cls) if "__init__" in vars(one)]
    codes = [getattr(init, "__wrapped__", init).__code__ for init in inits]
    return frozenset(
        name for code in codes for name in code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    )


def _attributes(callback: Callback) -> dict[str, Any]:
    """The user's own; of the class only lists and the like, which its objects change and do not replace."""
    of_class = {
        name: value
        for cls in _users(type(callback))
        for name, value in vars(cls).items()
        if isinstance(value, (list, dict, set)) and not name.startswith("__")
    }
    ours = callback.names_of_outlast()
    return {name: value for name, value in {**of_class, **vars(callback)}.items() if name not in ours}
