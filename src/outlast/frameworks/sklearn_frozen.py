"""Frozen: an estimator as texts and arrays, which are equal where the estimators are. Nothing is pickled.

Only types that skops trusts, of the list below, or of the model that the script has made are loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from outlast.exceptions import CapabilityError, DamagedFile
from outlast.frameworks.sklearn_schema import Hidden, archive, dumped, skops, written

# What scikit-learn's estimators hold, and skops does not trust by itself: numbers, a dict, and a function
# that looks at arrays, with its arguments.
TRUSTED = frozenset(
    {
        *("functools.partial", "sklearn.utils.validation.check_array"),
        *("scipy.sparse._csc.csc_array", "scipy.sparse._csc.csc_matrix"),
        *("scipy.sparse._csr.csr_array", "scipy.sparse._csr.csr_matrix"),
        "sklearn.compose._column_transformer._RemainderColsList",  # of 1.6
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    }
)


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


def freeze(thing: Any, hidden: Hidden | None = None, trusted: Collection[str] = TRUSTED) -> Frozen:
    """An object as it is now.

    Args:
        thing: an estimator, or a dict of values.
        hidden: by the ``id`` of an object, names of its attributes that are left out; they are None then.
        trusted: names of types that are loaded, beside those that skops trusts.

    Raises:
        CapabilityError: something in it cannot be stored, or would not be loaded again.
    """
    texts, arrays, types = written(dumped(thing), hidden or {})
    found = Frozen(texts, arrays)
    refuse_untrusted(found, trusted, types)
    return found


def thaw(frozen: Mapping[str, Any], trusted: Collection[str] = TRUSTED) -> Any:
    """An object from the tree of a :class:`Frozen`; hidden attributes are None.

    Raises:
        CapabilityError: it has types that are not trusted; none of their code is run.
        DamagedFile: it cannot be read.
    """
    try:
        data = archive(frozen)
    except Exception as error:  # of a tree that no Frozen gave
        raise DamagedFile(f"an estimator cannot be read: {type(error).__name__}: {error}") from error
    with _refusal():
        return loaded(data, trusted)


def loaded(data: bytes, trusted: Collection[str]) -> Any:
    """What ``skops.io.loads`` makes of it.

    Raises:
        UntrustedTypes: it has types that are not trusted; none of their code is run.
        DamagedFile: it cannot be read.
    """
    try:
        _refuse(data, trusted)
        return skops().loads(data, trusted=sorted(trusted))
    except UntrustedTypes:
        raise
    except Exception as error:  # whatever a damaged schema makes skops and scikit-learn say
        raise DamagedFile(f"an estimator cannot be read: {type(error).__name__}: {error}") from error


def untrusted_in(thing: Any) -> frozenset[str]:
    """Names of the types in an object that skops does not trust."""
    return frozenset(skops().get_untrusted_types(data=dumped(thing)))


class UntrustedTypes(Exception):
    """Names of types that are not trusted."""


def _refuse(data: bytes, trusted: Collection[str]) -> None:
    if types := set(skops().get_untrusted_types(data=data)) - set(trusted):
        raise UntrustedTypes(", ".join(sorted(types)))


@contextmanager
def _refusal() -> Iterator[None]:
    """Say of types that are not trusted what can be done."""
    try:
        yield
    except UntrustedTypes as error:
        raise CapabilityError(
            f"The estimator holds objects of types that are not trusted: {error}. A file could do harm with "
            "them when it is loaded. Types of your own are trusted if the model that you pass has objects of "
            "them before it is trained: give them in its parameters, or leave them out."
        ) from error


_checked: set[tuple[frozenset[str], frozenset[str]]] = set()


def refuse_untrusted(frozen: Frozen, trusted: Collection[str], types: Collection[str]) -> None:
    """Refuse to store what would not be loaded; types that were looked at before are not looked at again.

    Raises:
        CapabilityError: there is a type that is not trusted.
    """
    known = frozenset(types), frozenset(trusted)
    if known not in _checked:
        with _refusal():
            _refuse(archive(frozen.tree()), trusted)
        _checked.add(known)
