"""Frozen: an estimator as texts and arrays, which are equal where the estimators are. Nothing is pickled.

What is loaded again is compared with what was there before a shape of it is saved for the first time.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from outlast.exceptions import CapabilityError, DamagedFile
from outlast.frameworks.sklearn_schema import VIEWS, Hidden, archive, culprit, dumped, skops, written
from outlast.frameworks.sklearn_trust import COMMON, UntrustedTypes, refuse_untrusted
from outlast.frameworks.sklearn_views import share, views
from outlast.frameworks.sklearn_walk import Place, difference, is_made_by_attributes, places, shape


@dataclass(frozen=True)
class Frozen:
    """An object at one moment.

    Args:
        texts: for each attribute what skops writes of it; what it writes of the whole is under "".
        arrays: by their places, in the memory order that they had.
    """

    texts: Mapping[str, str]
    arrays: Mapping[str, Any]

    def tree(self) -> dict[str, Any]:
        """The same as a tree to be stored."""
        return {"texts": dict(self.texts), "arrays": dict(self.arrays)}

    def is_as(self, tree: Mapping[str, Any]) -> bool:
        """Whether a tree says the same."""
        theirs = tree["arrays"]
        return (
            self.texts == tree["texts"]
            and self.arrays.keys() == theirs.keys()
            and all(
                (one.dtype, one.shape, one.tobytes())
                == (theirs[name].dtype, theirs[name].shape, theirs[name].tobytes())
                for name, one in self.arrays.items()
            )
        )

    def named_arrays(self) -> list[tuple[str, Any]]:
        """The same as arrays by name."""
        import numpy as np

        texts = ((name, np.frombuffer(text.encode(), "uint8")) for name, text in self.texts.items())
        named = {"texts": texts, "arrays": self.arrays.items()}
        return [(f"{kind}/{name}", array) for kind, pairs in named.items() for name, array in pairs]

    @classmethod
    def of_arrays(cls, pairs: Iterable[tuple[str, Any]]) -> Frozen:
        """The inverse of :meth:`named_arrays`."""
        found: dict[str, dict[str, Any]] = {"texts": {}, "arrays": {}}
        for name, array in pairs:
            kind, _, rest = name.partition("/")
            found[kind][rest] = array.tobytes().decode() if kind == "texts" else array
        return cls(**found)


def freeze(thing: Any, hidden: Hidden | None = None, trusted: Collection[str] = COMMON) -> Frozen:
    """An object as it is now.

    Args:
        thing: an estimator, or a dict of values.
        hidden: by the ``id`` of an object, names of its attributes that are left out; they are None then.
        trusted: what is loaded, beside what skops trusts.

    Raises:
        CapabilityError: something in it cannot be stored, or would not be the same when it is loaded again.
    """
    data = dumped(thing, hidden or {})
    found = [*places(thing, hidden or {})]
    result = written(data, hidden or {}, views(found))
    frozen = Frozen(result.texts, result.arrays)
    known = shape(found), frozenset(trusted)
    if known not in _confirmed:
        made = [place for place in found if id(place.value) in result.by_attributes]
        with _refusal(found):
            told = (
                _unfaithful(made)
                or _aliased(found, hidden or {})
                or _lost(thing, frozen, hidden or {}, trusted)
            )
        if told:
            raise CapabilityError(f"{told}. {_WAY_OUT}")
        _confirmed.add(known)
    return frozen


def _unfaithful(made: Iterable[Place]) -> str:
    """Names an object that skops would make anew by attributes, which are not all of it."""
    for place in made:
        kind = type(place.value)
        if not kind.__module__.startswith("sklearn.") and not is_made_by_attributes(place.value):
            return (
                f"{place.path}, of the type {kind.__name__}, cannot be stored: it is more than its attributes"
            )
    return ""


def _aliased(found: Iterable[Place], hidden: Hidden) -> str:
    """Names an attribute that is a parameter, too: parameters come from the script, so there would be two."""
    import numpy as np

    kinds = (list, dict, set, np.ndarray)
    owners = [place.value for place in found if id(place.value) in hidden]
    parameters = {
        id(vars(owner)[name]): name
        for owner in owners
        for name in hidden[id(owner)]
        if isinstance(vars(owner)[name], kinds)
    }
    for place in found:
        if id(place.value) in parameters and not type(place.owner).__module__.startswith("sklearn."):
            return f"{place.path} is the same object as the parameter {parameters[id(place.value)]}: copy it"
    return ""


def _lost(thing: Any, frozen: Frozen, hidden: Hidden, trusted: Collection[str]) -> str:
    """Names what would not be the same."""
    try:
        return difference(thing, _thawed(frozen.tree(), trusted), hidden)
    except DamagedFile as error:
        found = culprit(thing, lambda value: loaded(dumped(value), trusted), hidden)
        where, told = found or (type(thing).__name__, error)
        return f"{where} cannot be loaded again: {told}"


_confirmed: set[tuple[frozenset[Any], frozenset[str]]] = set()  # the shapes of what was the same again
_WAY_OUT = (
    "Keep it in the estimator as a number, text, list, dict or array, and make the rest from that when it is "
    "needed; or keep it outside of the estimator, and pass it to the Run as a part."
)


def thaw(frozen: Mapping[str, Any], trusted: Collection[str] = COMMON) -> Any:
    """An object from the tree of a :class:`Frozen`; hidden attributes are None.

    Raises:
        CapabilityError: it has types that are not trusted; none of their code is run.
        DamagedFile: it cannot be read.
    """
    with _refusal():
        return _thawed(frozen, trusted)


def _thawed(frozen: Mapping[str, Any], trusted: Collection[str]) -> Any:
    try:
        data = archive(frozen)
        shared = json.loads(frozen["texts"][""]).get(VIEWS, {})
    except Exception as error:  # of a tree that no Frozen gave
        raise DamagedFile(f"an estimator cannot be read: {type(error).__name__}: {error}") from error
    found = loaded(data, trusted)
    share(found, shared)
    return found


def loaded(data: bytes, trusted: Collection[str]) -> Any:
    """What ``skops.io.loads`` makes of it.

    Raises:
        UntrustedTypes: it has types that are not trusted; none of their code is run.
        DamagedFile: it cannot be read.
    """
    try:
        names = refuse_untrusted(data, trusted)
        found = skops().loads(data, trusted=names)
        _refuse_forged(found)
    except (UntrustedTypes, DamagedFile):
        raise
    except Exception as error:  # whatever a damaged schema makes skops and scikit-learn say
        raise DamagedFile(f"an estimator cannot be read: {type(error).__name__}: {error}") from error
    return found


def _refuse_forged(found: Any) -> None:
    """Refuse what would act otherwise than its class says.

    Raises:
        DamagedFile: an attribute hides a method.
        ValueError: a sparse matrix points outside of its numbers.
    """
    import scipy.sparse  # type: ignore[import-untyped,unused-ignore]

    for place in places(found, {}):
        is_attribute = isinstance(place.key, str) and not isinstance(place.owner, dict)
        if is_attribute and place.value is not None and callable(getattr(type(place.owner), place.key, None)):
            raise DamagedFile(f"{place.path} hides a method of {type(place.owner).__name__}")
        if scipy.sparse.issparse(place.value) and place.value.format in ("csr", "csc"):
            place.value.check_format(full_check=True)


@contextmanager
def _refusal(found: Iterable[Place] = ()) -> Iterator[None]:
    """Say of types that are not trusted where they are, and what can be done."""
    try:
        yield
    except UntrustedTypes as error:
        kinds = str(error).split(", ")
        where = [
            one.path for one in found if f"{type(one.value).__module__}.{type(one.value).__name__}" in kinds
        ]
        raise CapabilityError(
            f"The estimator holds objects of types that are not trusted: {error}"
            f"{f' (in {where[0]})' if where else ''}. A file could do harm with them when it is loaded. "
            "Types are trusted if the model that you pass has objects of them before the Run begins: give "
            "them in its parameters, fit that estimator before, or leave them out. Functions are trusted in "
            "parameters alone."
        ) from error
