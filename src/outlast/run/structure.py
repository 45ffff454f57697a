"""Structure: the names and shapes of a model's weights, which a script must not change on the way.

A new start of the script makes the model as it was at first, and weights of other shapes do not fit it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_MOST_NAMED = 3
_LOOKED_AT = ("model", "optimizer")  # what other pieces of a training's state are made of may change


class Structure:
    """Knows what a training was made of at the first look: before its first batch, if it was built then."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._told = False

    def begin(self) -> None:
        """A training begins; if it is not built, its first epoch does that."""
        self._first, self._told = {}, False

    def changed(self, state: Any, takes_any_shape: Callable[[str], bool]) -> str:
        """What is not as it was at the first look, as a warning; "" if all is, or once it was told.

        Args:
            state: of the training, as ``Training.state`` gives it.
            takes_any_shape: as ``Training`` has it.
        """
        now = dict(_shapes(state))
        before = self._first = self._first or now
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
            f"Training has changed what the model is made of: {named}. A new start of the script makes it as "
            "it was at first, and what is saved now does not fit that: to be able to resume, make the model "
            "as it is now before the Run, or begin another Run, in another folder, for the changed model."
        )


def _shapes(state: Any) -> Iterator[tuple[str, str]]:
    for piece in _LOOKED_AT if isinstance(state, Mapping) else ():
        yield from _of(state.get(piece), piece)


def _of(tree: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _of(value, f"{name}.{key}")
    elif isinstance(tree, (list, tuple)):
        for index, value in enumerate(tree):
            yield from _of(value, f"{name}.{index}")
    elif hasattr(tree, "shape") and hasattr(tree, "dtype"):
        yield name, f"{tree.dtype} {tuple(tree.shape)}"
