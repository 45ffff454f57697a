"""Structure: the names and shapes of what is saved, which a script must not change on the way.

A new start of the script makes a model or a part as it was at first, and what has other shapes does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

_MOST_NAMED = 3
_LOOKED_AT = ("model", "optimizer")  # what other pieces of a training's state are made of may change


class Structure:
    """Knows what something was made of at the first look: before the first batch, if it was built then.

    Args:
        what: it is, in words.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._first: dict[str, str] | None = None
        self._told = False

    def begin(self) -> None:
        """A training begins; if it is not built, its first epoch does that."""
        self._first, self._told = None, False

    def changed(self, state: Any, takes_any_shape: Callable[[str], bool] = lambda name: False) -> str:
        """What is not as it was at the first look, as a warning; "" if all is, or once it was told.

        Args:
            state: a tree of what is saved.
            takes_any_shape: as ``Training`` has it.
        """
        now = dict(_shapes(state))
        before = self._first = now if self._first is None else self._first
        if now == before or self._told:
            return ""
        found = [f"{name} is new" for name in now if name not in before]
        found += [f"{name} is gone" for name in before if name not in now]
        found += [
            f"{name} was {before[name]} and is {now[name]}"
            for name in sorted(before.keys() & now.keys())
            if before[name] != now[name] and not takes_any_shape(name.partition(".")[2])
        ]
        self._told = bool(found)
        if not found:
            return ""
        named = ", ".join(found[:_MOST_NAMED]) + (" and more" if len(found) > _MOST_NAMED else "")
        return (
            f"Training has changed what {self._what} is made of: {named}. A new start of the script makes it "
            "as it was at first, and what is saved now does not fit that: to be able to resume, make it as "
            "it is now before the Run, or begin another Run, in another folder, for what it is now."
        )


def weights_of(state: Any) -> dict[str, Any]:
    """Of a training's state, what must not change; what other pieces are made of may."""
    return {piece: state[piece] for piece in _LOOKED_AT if isinstance(state, Mapping) and piece in state}


def _shapes(tree: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _shapes(value, f"{name}.{key}" if name else str(key))
    elif isinstance(tree, (list, tuple)):
        for index, value in enumerate(tree):
            yield from _shapes(value, f"{name}.{index}")
    elif hasattr(tree, "shape") and hasattr(tree, "dtype"):
        yield name, f"{_named(tree.dtype)} {tuple(tree.shape)}"


@lru_cache(maxsize=64)
def _named(dtype: Any) -> str:
    """The name of a type, which NumPy makes anew at each look."""
    return str(dtype).rpartition(".")[2]
