"""Parameters: what a script makes an estimator with, and what is put back into the same objects."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from outlast.frameworks import random_state
from outlast.frameworks.description import text
from outlast.frameworks.sklearn_schema import global_generator, is_mark

_CONTAINERS = (list, tuple, set, frozenset)
# Attributes that are no parameters, and the script's or its call's all the same.
OF_SCRIPT = (
    "_skl_callbacks",
    "_skl_callbacks_to_teardown",
    "_callback_fit_ctx",
    "_parent_callback_ctx",
    "_metadata_request",
)
_VERSION = "_sklearn_version"  # which scikit-learn adds to what it gives to be stored


class Parameter(NamedTuple):
    """A number, a text, an array or a function that an estimator was made with.

    Args:
        owner: the estimator.
        name: there.
    """

    owner: Any
    name: str

    @property
    def value(self) -> Any:
        return getattr(self.owner, self.name)

    @property
    def text(self) -> str:
        """The value as a text that is equal where values are, in each process."""
        value = self.value
        if hasattr(value, "dtype") and hasattr(value, "tobytes") and not isinstance(value, type):
            return f"{value.dtype}{value.shape} ({zlib.crc32(value.tobytes()):08x})"
        return text(value)

    def put(self, value: Any, *, fill: bool = False) -> None:
        """Give it another value.

        Args:
            value: what it has then.
            fill: whether a list, dict, set or array stays the object that it is, and is filled.
        """
        current = self.value
        if not fill or current is value or type(current) is not type(value):
            setattr(self.owner, self.name, value)
        elif isinstance(value, list):
            current[:] = value
        elif isinstance(value, (dict, set)):
            current.clear()
            current.update(value)
        elif _is_alike(current, value):
            current[...] = value
        else:
            setattr(self.owner, self.name, value)


def _is_alike(one: Any, other: Any) -> bool:
    """Whether both are arrays, of one shape and type, and the first can be written to."""
    names = ("dtype", "shape", "flags")
    if type(one) is not type(other) or any(not hasattr(one, name) for name in names) or not one.shape:
        return False
    return bool(one.dtype == other.dtype and one.shape == other.shape and one.flags.writeable)


def is_estimator(thing: Any) -> bool:
    """Whether it is an estimator of scikit-learn's, or one that behaves so."""
    return hasattr(thing, "get_params") and hasattr(thing, "set_params") and not isinstance(thing, type)


def estimators(model: Any) -> dict[str, Any]:
    """An estimator and those in its parameters, by scikit-learn's names; its own is "".

    Example:
        >>> from sklearn.linear_model import SGDClassifier
        >>> from sklearn.pipeline import make_pipeline
        >>> [*estimators(make_pipeline(SGDClassifier()))]
        ['', 'sgdclassifier']
    """
    inner = {name: one for name, one in model.get_params(deep=True).items() if is_estimator(one)}
    return {"": model, **inner}


def cloned(model: Any) -> dict[str, str]:
    """Of the estimators those that are trained in clones alone: their names, and the class that clones them.

    So does all of scikit-learn's that has ``partial_fit`` and an estimator in its parameters.

    Example:
        >>> from sklearn.linear_model import SGDClassifier
        >>> from sklearn.multiclass import OneVsRestClassifier
        >>> cloned(OneVsRestClassifier(SGDClassifier()))
        {'estimator': 'OneVsRestClassifier'}
    """
    found: dict[str, str] = {}
    owners = estimators(model)
    for place in sorted(owners.keys() - {""}):
        outer = place.rpartition("__")[0]
        owner = owners.get(outer)
        if outer in found:
            found[place] = found[outer]
        elif type(owner).__module__.startswith("sklearn.") and hasattr(owner, "partial_fit"):
            found[place] = type(owner).__name__
    return found


def plain(model: Any) -> dict[str, Parameter]:
    """The parameters that hold neither estimators nor random generators, by scikit-learn's names.

    Example:
        >>> from sklearn.linear_model import SGDClassifier
        >>> plain(SGDClassifier(alpha=0.5))["alpha"].value
        0.5
    """
    found, owners = {}, estimators(model)
    for name, value in model.get_params(deep=True).items():
        place, _, short = name.rpartition("__")
        if place in owners and short in vars(owners[place]) and not any(True for _ in _held(value)):
            found[name] = Parameter(owners[place], short)
    return found


def hidden(model: Any) -> dict[int, set[str]]:
    """The names of attributes that are the script's, by the ``id`` of their estimator."""
    found = {id(one): {*OF_SCRIPT} & vars(one).keys() for one in estimators(model).values()}
    for parameter in plain(model).values():
        found[id(parameter.owner)].add(parameter.name)
    return found


def without_callbacks(model: Any) -> Any:
    """The estimator, or, while it has scikit-learn's callbacks, a copy that has none."""
    if not any(name in vars(model) for name in OF_SCRIPT):
        return model
    found = copy.copy(model)
    for name in OF_SCRIPT:
        vars(found).pop(name, None)
    return found


def _held(value: Any) -> Iterator[Any]:
    """The estimators and random generators in a parameter."""
    if is_estimator(value) or random_state.is_generator(value):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _held(one)
    elif isinstance(value, _CONTAINERS):
        for one in value:
            yield from _held(one)


def _is_array_of_objects(thing: Any) -> bool:
    return hasattr(thing, "flat") and getattr(thing.dtype, "kind", "") == "O"


def put_into(live: Any, other: Any, *, generators: bool) -> None:
    """Have an estimator be as another one: the same object, with the estimators and generators in it.

    Args:
        live: the script's.
        other: the same one at another moment, whose plain parameters do not count; it is used up.
        generators: whether random generators are put back, too.
    """
    _Placing(live, other, generators).place(other)


class _Placing:
    def __init__(self, live: Any, other: Any, generators: bool) -> None:
        self._generators, self._global = generators, global_generator()
        self._of_script = {
            id(one): {*one.get_params(deep=False), *OF_SCRIPT} for one in estimators(live).values()
        }
        self._pairs: dict[int, Any] = {id(other): live}  # the script's object for one of the other's
        self._placed: dict[int, Any] = {}
        self._kept_alive: list[Any] = []  # or an id could be another's
        others = other.get_params(deep=True)
        for name, one in live.get_params(deep=True).items():
            if name in others and any(True for _ in _held(one)):
                self._pair(one, others[name])

    def _pair(self, live: Any, other: Any) -> None:
        """Note that one stands for the other, and so do the lists and estimators in them."""
        if type(live) is not type(other):
            return
        if is_estimator(live) or random_state.is_generator(live) or isinstance(live, _CONTAINERS):
            self._pairs[id(other)] = live
        if isinstance(live, (list, tuple)) and len(live) == len(other):
            for one, its in zip(live, other, strict=True):
                self._pair(one, its)

    def place(self, thing: Any) -> Any:
        """What stands for one of the other's objects; whatever is in it is placed, too."""
        key = id(thing)
        if key not in self._placed:
            self._kept_alive.append(thing)
            self._placed[key] = self._pairs.get(key, thing)
            self._placed[key] = self._filled(self._placed[key], thing)
        return self._placed[key]

    def _filled(self, target: Any, thing: Any) -> Any:
        if random_state.is_generator(thing):
            return self._generator(target, thing)
        if isinstance(thing, (list, tuple)) and type(thing) in (list, tuple):
            items = type(thing)(self.place(one) for one in thing)
            return items if target is thing else target
        if type(thing) is dict:
            values = {key: self.place(one) for key, one in thing.items()}
            return values if target is thing else target
        if _is_array_of_objects(thing):
            for index, one in enumerate(thing.flat):
                thing.flat[index] = self.place(one)
            return target
        attributes = getattr(thing, "__dict__", None)
        if isinstance(attributes, dict) and not isinstance(thing, type) and not callable(thing):
            self._fill(target, attributes)
        return target

    def _fill(self, target: Any, attributes: Mapping[str, Any]) -> None:
        """Give an object other attributes; what it was made with stays, and is filled itself."""
        own, mine = vars(target), self._of_script.get(id(target), set())
        kept = {name: one for name, one in own.items() if name in mine}
        placed = {name: self.place(one) for name, one in attributes.items() if name != _VERSION}
        own.clear()
        own.update(kept | {name: one for name, one in placed.items() if name not in mine})

    def _generator(self, target: Any, thing: Any) -> Any:
        if not is_mark(thing):
            if target is not thing and self._generators:
                random_state.set_generator(target, random_state.of_generator(thing))
            return target
        return self._global
