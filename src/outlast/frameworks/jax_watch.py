"""Watch: whether a loop does with its state what a resume needs, as far as it shows between two looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from outlast.frameworks.base import weakly


class Watch:
    """Remembers a state from one look to the next, but keeps no array alive; tells each thing once."""

    def __init__(self) -> None:
        self._seen: dict[str, list[Callable[[], Any]]] = {}
        self._static: Any = None
        self._told: set[str] = set()

    def is_unchanged(self, since: str, state: Any) -> bool:
        """Whether all arrays of a state are those of the last look of this name; there must be some.

        Example:
            >>> import jax.numpy as jnp
            >>> watch, state = Watch(), {"w": jnp.ones(1)}
            >>> [watch.is_unchanged("save", state), watch.is_unchanged("save", state)]
            [False, True]
            >>> watch.is_unchanged("save", {"w": state["w"] + 0})
            False
        """
        arrays = [leaf for leaf in jax.tree_util.tree_leaves(state) if isinstance(leaf, jax.Array)]
        before, self._seen[since] = self._seen.get(since, []), [weakly(one) for one in arrays]
        if not arrays or len(before) != len(arrays):
            return False
        return all(one is seen() for one, seen in zip(arrays, before, strict=True))

    def forget_structure(self) -> None:
        """What counts is how it differs between the ends of epochs, not what it begins as."""
        self._static = None

    def has_other_structure(self, state: Any, constants: Any) -> bool:
        """Whether what is no array differs from the last look.

        Args:
            state: a pytree.
            constants: the leaves in it that are not saved.
        """
        now = jax.tree_util.tree_structure(state), constants
        before, self._static = self._static, now
        return before is not None and not is_equal(before, now)

    def once(self, text: str) -> str:
        """The text; "" if it was told before."""
        if text in self._told:
            return ""
        self._told.add(text)
        return text


def is_equal(structure: Any, other: Any) -> bool:
    """Whether two structures are equal, as far as what is static in them can be compared."""
    try:
        return bool(structure == other)
    except Exception:  # of a class of the user's, or of an array in a static field
        return False
