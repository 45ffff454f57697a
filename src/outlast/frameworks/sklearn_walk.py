"""Walk: what an object is made of, place by place; and whether another one is the same.

skops does not store everything faithfully: contents of a deque, the class of an ``IntEnum`` or that two
arrays share memory are lost. So what it gives back is compared with what was there.
"""

from __future__ import annotations

import copyreg
import functools
import types
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from outlast.exceptions import CapabilityError
from outlast.frameworks.sklearn_schema import Hidden, global_generator, is_mark

_VALUES = (type(None), bool, int, float, complex, str, bytes)  # nobody asks which object they are
_FUNCTIONS = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)
_VERSION = "_sklearn_version"  # which scikit-learn adds to what it gives to be stored
_FOUND_AGAIN = ("_has_canonical_format", "_has_sorted_indices")  # by sparse matrices, when they are asked


class Place(NamedTuple):
    """Where something is.

    Args:
        path: from the estimator, as Python would write it.
        owner: the object that has it.
        key: there: the name of an attribute, a key or an index.
        value: what is there.
    """

    path: str
    owner: Any
    key: Any
    value: Any

    @property
    def can_be_put(self) -> bool:
        """Whether another value can be here."""
        return isinstance(self.owner, (dict, list)) or hasattr(self.owner, "__dict__")

    def put(self, value: Any) -> None:
        """Have another value here."""
        (self.owner if isinstance(self.owner, (dict, list)) else vars(self.owner))[self.key] = value


def places(thing: Any, hidden: Hidden, path: str = "") -> Iterator[Place]:
    """All places in an object; what is in more than one of them is entered once."""
    entered: dict[int, Any] = {}  # keeps them alive, or an id could be another's
    todo = [Place(path, None, None, thing)]
    while todo:
        place = todo.pop()
        yield place
        one = place.value
        if isinstance(one, (*_VALUES, *_FUNCTIONS)) or id(one) in entered:
            continue
        entered[id(one)] = one
        todo.extend(reversed(inner(one, place.path, hidden.get(id(one), ()))))


def shape(found: Collection[Place]) -> frozenset[tuple[Any, ...]]:
    """What is equal as long as skops can do with an object what it could before."""
    return frozenset((_anywhere(place.path), *_kind(place.value)) for place in found)


def _anywhere(path: str) -> str:
    return path.partition("[")[0]


def _kind(one: Any) -> tuple[Any, ...]:
    import numpy as np

    if isinstance(one, np.ndarray):
        return type(one), one.dtype.str, one.flags.writeable, one.ndim, getattr(one, "hardmask", None)
    if isinstance(one, dict):
        return type(one), frozenset(map(type, one)), len({str(key).lower() for key in one}) == len(one)
    if isinstance(one, (set, frozenset)):
        return type(one), frozenset(map(type, one))
    return (type(one),)


def inner(one: Any, path: str = "", hidden: Collection[str] = ()) -> list[Place]:
    """The places in an object itself."""
    import numpy as np

    if type(one) in (list, tuple):
        return [Place(f"{path}[{index}]", one, index, value) for index, value in enumerate(one)]
    if type(one) is dict:
        return [Place(f"{path}[{key!r}]", one, key, value) for key, value in one.items()]
    if isinstance(one, (*_numbers(), set, frozenset)):  # a set has no places; its items are compared at once
        return []
    if isinstance(one, np.ma.MaskedArray):
        names = ("data", "mask", "fill_value", "hardmask")
        return [Place(f"{path}.{name}", None, None, getattr(one, name)) for name in names]
    if isinstance(one, np.ndarray):
        items = one.ravel().tolist() if one.dtype == object else ()
        return [Place(f"{path}[{index}]", None, None, value) for index, value in enumerate(items)]
    if isinstance(one, np.random.RandomState):
        return [Place(path, None, None, one.get_state(legacy=False))]
    return _of_object(one, path, hidden)


def _of_object(one: Any, path: str, hidden: Collection[str]) -> list[Place]:
    """By its attributes, or else by what it tells ``copy`` and ``pickle``."""
    from sklearn.base import BaseEstimator

    if getattr(type(one), "__getstate__", None) is BaseEstimator.__getstate__:
        return _attributes(one, vars(one), path, hidden)
    if isinstance(one, functools.partial):
        parts = {"func": one.func, "args": one.args, "keywords": one.keywords, **vars(one)}
        return [Place(f"{path}.{name}", None, None, value) for name, value in parts.items()]
    _, arguments, state, items, pairs = _reduced(one, path)
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):  # with __slots__
        state = {**(state[0] or {}), **state[1]}
    found = [Place(path, None, None, value) for value in arguments if value is not type(one)]
    if isinstance(state, dict):
        found += _attributes(one, state, path, hidden)
    elif state is not None:
        found.append(Place(path, None, None, state))
    found += [Place(f"{path}[{index}]", None, None, value) for index, value in enumerate(items or ())]
    return found + [Place(f"{path}[{key!r}]", one, key, value) for key, value in pairs or ()]


def _reduced(one: Any, path: str) -> tuple[Any, ...]:
    """What ``copy`` and ``pickle`` ask an object for.

    Raises:
        CapabilityError: it does not tell.
    """
    try:
        found = one.__reduce_ex__(2)
    except Exception as error:  # of an object of somebody else's
        told = f"{type(error).__name__}: {error}"
        raise CapabilityError(
            f"{path}, of the type {type(one).__name__}, cannot be stored: {told}"
        ) from error
    return (type(one), (), None, None, None) if isinstance(found, str) else (*found, None, None, None)[:5]


def _attributes(one: Any, state: Mapping[str, Any], path: str, hidden: Collection[str]) -> list[Place]:
    at = f"{path}." if path else ""
    return [
        Place(f"{at}{name}", one, name, state[name])
        for name in sorted(state)
        if name not in hidden and name != _VERSION and name not in _FOUND_AGAIN
    ]


def is_made_by_attributes(one: Any) -> bool:
    """Whether a new object with the same attributes is the same: not so for a deque, and for what C made."""
    made, arguments, _, items, pairs = _reduced(one, "")
    arguments = tuple(value for value in arguments if value is not type(one))
    is_new = made is type(one) or made is copyreg.__newobj__  # type: ignore[attr-defined]
    return is_new and not arguments and items is None and pairs is None


def difference(one: Any, other: Any, hidden: Hidden) -> str:
    """Where two objects differ first, and how, in a sentence without an end; "" if they are the same."""
    return _Comparison(hidden).told(Place("", None, None, one), Place("", None, None, other))


def is_same_kind(one: Any, other: Any) -> bool:
    """Whether they are of one class, or of two of one name: a notebook may have made it again."""
    kinds = type(one), type(other)
    names = [(kind.__module__, kind.__qualname__) for kind in kinds]
    return kinds[0] is kinds[1] or names[0] == names[1]


class _Comparison:
    def __init__(self, hidden: Hidden) -> None:
        self._hidden = hidden
        self._pairs: dict[int, tuple[Any, Any, str]] = {}  # by the id of each, it, the other, the place

    def told(self, here: Place, there: Place) -> str:
        one, other, where = here.value, there.value, here.path or type(here.value).__name__
        if one is other or (one is global_generator() and type(one) is type(other) and is_mark(other)):
            return ""
        if not is_same_kind(one, other):
            return f"{where}, of the type {type(one).__name__}, would come back as a {type(other).__name__}"
        if isinstance(one, _VALUES):
            return "" if repr(one) == repr(other) else f"{where} would come back as {other!r}"
        if isinstance(one, _FUNCTIONS):
            return f"{where} would come back as another function"
        if not isinstance(one, (tuple, frozenset, *_numbers())):
            known, twin = self._pairs.get(id(one)), self._pairs.get(id(other))
            if known is not None and known[1] is other:
                return ""
            if known is not None or twin is not None:
                both = (known or twin or ("", "", ""))[2]
                return f"{where} and {both} would not be one object, or two, as they are"
            self._pairs[id(one)], self._pairs[id(other)] = (one, other, where), (other, one, where)
        return _told_of_values(one, other, where) or self._inside(here, there)

    def _inside(self, here: Place, there: Place) -> str:
        ours = inner(here.value, here.path, self._hidden.get(id(here.value), ()))
        theirs = inner(there.value, here.path)
        names = {place.path for place in ours}
        theirs = [place for place in theirs if place.path in names or not self._hidden.get(id(here.value))]
        before, after = [place.path for place in ours], [place.path for place in theirs]
        if before != after:
            odd = next((name for name in (*before, *after) if before.count(name) != after.count(name)), "")
            return f"{odd or f'the order in {here.path}'} would be lost, or added"
        found = (self.told(one, other) for one, other in zip(ours, theirs, strict=True))
        return next(filter(None, found), "")


def _told_of_values(one: Any, other: Any, where: str) -> str:
    """How arrays, numbers of NumPy's and sets differ."""
    import numpy as np

    if isinstance(one, (set, frozenset)):
        same = sorted(map(_named, one)) == sorted(map(_named, other))
        return "" if same else f"the items of {where} would come back otherwise"
    if isinstance(one, (np.dtype, slice, bytearray)):
        return "" if one == other else f"{where} would come back as {other!r}"
    if not isinstance(one, (np.ndarray, np.generic)):
        return ""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        told = f"{one.dtype}{one.shape}", f"{other.dtype}{other.shape}"
        return f"{where}, {told[0]}, would come back as {told[1]}"
    if isinstance(one, np.ndarray) and one.flags.writeable != other.flags.writeable:
        return f"{where} is read-only, and would not be any more"
    pairs: list[Any] = [(one, other)]
    if one.dtype.names:
        pairs = [(one[name], other[name]) for name in one.dtype.names]  # type: ignore[index]
    if one.dtype != object and any(mine.tobytes() != its.tobytes() for mine, its in pairs):
        return f"the numbers of {where} would come back otherwise"
    return ""


def _numbers() -> tuple[type, ...]:
    """Types of NumPy's whose objects do not change."""
    import numpy as np

    return np.generic, np.dtype, np.ufunc


def _named(one: Any) -> str:
    return f"{type(one).__name__} {one!r}"
