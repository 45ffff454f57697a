"""Plain values of the user's: how one is saved and set again, and what else may have a state."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from functools import partial
from inspect import isroutine
from types import ModuleType
from typing import Any

from outlast.core.asking import asked, has
from outlast.exceptions import CapabilityError
from outlast.frameworks import loaders, random_state, tensors
from outlast.frameworks.containers import filled
from outlast.frameworks.tensors import device_names, to_tensors
from outlast.run.comparison import ROOT
from outlast.storage.format.encoding import encode

# What comes back as what it is; another kind of dict or tuple would not.
_CONTAINERS = (list, tuple, dict, set, frozenset, deque, Counter, OrderedDict)

# What is written to or held: its content is elsewhere.
_OUTPUTS = ("write", "writerow", "add_scalar", "fileno", "close", "flush", "handlers", "acquire", "finish")


def stored(value: Any) -> Any:
    """The form in which a value is saved; None if it cannot be.

    Numbers, text, None, arrays, tensors, lists, tuples, dicts and sets of these, and random generators.

    Example:
        >>> stored([1, "a"])["value"], stored(object())
        ([1, 'a'], None)
    """
    try:
        if random_state.is_generator(value) and not isinstance(value, ModuleType):
            form = {"generator": random_state.of_generator(value)}
        else:
            value = _with_plain_dicts(value)  # they are changed in place
            if not _comes_back(value):
                return None
            arrays, details = tensors.stored(value, "")
            form = {"value": arrays, "details": details, "devices": device_names(value)}
        encode(form, ROOT)
    except (CapabilityError, TypeError, RecursionError):
        return None
    return form


def put(thing: Any, name: str, form: Mapping[str, Any]) -> None:
    """Set an attribute to what was saved: a list, dict or set in place, since others may hold it."""
    old: Any = getattr(thing, name, None)
    if "generator" in form:
        random_state.set_generator(old, form["generator"])
        return
    new = to_tensors(form["value"], form["details"], form["devices"])
    if filled(old, new) is not old:
        vars(thing)[name] = new


def _with_plain_dicts(value: Any) -> Any:
    """A value in which dicts of other classes are plain ones."""
    if _is_own_dict(value) or type(value) is dict:
        return {key: _with_plain_dicts(one) for key, one in value.items()}
    return [*map(_with_plain_dicts, value)] if type(value) is list else value


def may_change(value: Any) -> bool:
    """Whether a value that is not plain may have a state: not if it is code, a file, data, or immutable.

    Example:
        >>> import pathlib
        >>> may_change(print), may_change(pathlib.Path("x")), may_change([object()]), may_change(iter("ab"))
        (False, False, True, True)
    """
    try:
        if isinstance(value, (list, tuple, set, frozenset, deque)):
            return any(map(may_change, value))
        if isinstance(value, Mapping):
            return any(map(may_change, value.values()))
        if has(value, "__array__") or any(asked(value, one) for one in ("variables", "weights")):
            return True
        if has(value, "state_dict"):
            return bool(value.state_dict())
        is_iterator = has(value, "__next__") and not has(value, "write")  # as files are
        if is_iterator or loaders.generators(value):
            return True  # it stands at some place
    except Exception:  # of the user's code, or a dict that holds itself: looking must not stop a training
        return True
    is_code = isroutine(value) or callable(value) or isinstance(value, (type, ModuleType, partial))
    is_data = has(value, "__iter__") or has(value, "__getitem__")
    is_output = any(has(value, name) for name in _OUTPUTS)
    return not (is_code or is_data or is_value(value) or is_output or _is_constant(value))


def is_value(value: Any) -> bool:
    """Whether a value is compared by what it is, and so hardly ever changes itself; a time is none.

    Example:
        >>> import pathlib
        >>> is_value(pathlib.Path("x")), is_value(object()), is_value(print)
        (True, False, False)
    """
    hashed: Any = type(value).__hash__
    is_code = isroutine(value) or isinstance(value, (type, ModuleType, partial))
    return hashed not in (object.__hash__, None) and not is_code and type(value).__module__ != "datetime"


def _is_constant(value: Any) -> bool:
    """Whether it is pickled as a mere name, as ``torch.float32`` is."""
    try:
        return isinstance(value.__reduce_ex__(2), str)
    except Exception:  # it cannot be pickled at all
        return False


def _is_own_dict(value: Any) -> bool:
    """Whether it is a dict of another class, such as a defaultdict, or one that is read by attributes."""
    return isinstance(value, dict) and type(value) not in _CONTAINERS


def _comes_back(value: Any) -> bool:
    """Whether all parts of a value come back as what they are."""
    if isinstance(value, (Mapping, list, tuple, set, frozenset, deque)) and type(value) not in _CONTAINERS:
        return False
    if isinstance(value, Mapping):
        return all(map(_comes_back, value.values()))
    if isinstance(value, (list, tuple, deque)):
        return all(map(_comes_back, value))
    return not has(value, "detach") or (type(value).__name__ == "Tensor" and not value.requires_grad)
