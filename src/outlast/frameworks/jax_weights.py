"""Weights: which leaves of a state are the model's, those that are kept as the best and saved to files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from outlast.core.asking import asked
from outlast.exceptions import ArgumentError
from outlast.frameworks import jax_modules
from outlast.frameworks.jax_tree import CONSTANT, KEY, NUMBER, Leaves, kind_of, shown, taken_apart

_FIRST_KEY = re.compile(r"\.\w+|\[[^\]]*\]")
_MODELS = ("params", "model", "weights")  # what states call what is trained
_BY_STEP = (
    ", and not compute any. Keep what it computes as a field of the state, which the step sets, and pick "
    "that field: lambda s: s.average."
)
_BESIDE = ("batch_stats",)  # what a Linen model needs, too, to compute the same


@dataclass(frozen=True)
class Weights:
    """The leaves of a state that are weights.

    Args:
        indices: their places among the leaves of the state.
        names: in files, one for each.
        structure: of what ``weights(state)`` returns.
        rest: the leaves of that which are not stored, such as activations, by their place there.
    """

    indices: tuple[int, ...]
    names: tuple[str, ...]
    structure: Any
    rest: Mapping[int, Any]

    def together(self, leaves: Sequence[Any]) -> Any:
        """A pytree like ``weights(state)``."""
        remaining = iter(leaves)
        number = len(leaves) + len(self.rest)
        every = [self.rest[index] if index in self.rest else next(remaining) for index in range(number)]
        return jax.tree_util.tree_unflatten(self.structure, every)


def find(state: Any, leaves: Leaves, select: Callable[[Any], Any] | None) -> Weights:
    """The leaves that a function picks.

    The function is called once, here. So it must pick leaves of the state; what it computes is none.

    Args:
        state: of the training.
        leaves: of the state.
        select: gives the piece of a state that is the model; None for the usual places.

    Raises:
        ArgumentError: it fails, or gives something that is no piece of the state.
    """
    if select is not None and not callable(select):
        raise ArgumentError(
            "weights must be a function of the state that gives its weights, such as lambda s: s.params, but "
            f"is {select!r:.80}."
        )
    values = _told_apart(leaves.values)
    apart = state if values is leaves.values else jax.tree_util.tree_unflatten(leaves.structure, values)
    picked = taken_apart(usual(apart) if select is None else _selected(select, apart, leaves))
    place_of = {id(leaf): index for index, leaf in enumerate(values)}
    rest = {index: leaf for index, leaf in enumerate(picked.values) if kind_of(leaf) == CONSTANT}
    indices = [place_of.get(id(leaf)) for index, leaf in enumerate(picked.values) if index not in rest]
    if not indices or None in indices:
        what = "nothing" if not indices else "something that is not in the state"
        raise ArgumentError(
            f"weights gave {what}: it must give pieces of the state as they are, such as lambda s: s.params"
            f"{_BY_STEP if indices else '.'} This state has {_pieces(leaves)}."
        )
    names = [name for index, name in enumerate(_file_names(picked)) if index not in rest]
    return Weights(
        tuple(index for index in indices if index is not None), tuple(names), picked.structure, rest
    )


def usual(state: Any) -> Any:
    """The weights in a state where nobody says what they are: by the names that libraries use.

    Example:
        >>> usual({"params": {"w": 1.0}, "opt": 0})
        {'w': 1.0}
    """
    if jax_modules.is_object(state):
        return jax_modules.weights_of(state)
    for name in _MODELS:
        model = _member(state, name)
        if _has_arrays(model):
            beside = {one: _member(state, one) for one in _BESIDE if _member(state, one) is not None}
            return {name: model, **beside} if beside else _of_model(model)
    models = [one for one in _members(state) if jax_modules.is_module(one)]
    return _of_model(models[0]) if len(models) == 1 else state


def _has_arrays(model: Any) -> bool:
    """Whether something is a model's weights; a static field of that name may hold the model's code."""
    return any(kind_of(leaf) not in ("", CONSTANT) for leaf in jax.tree_util.tree_leaves(model))


def _of_model(model: Any) -> Any:
    return jax_modules.weights_of(model) if jax_modules.is_object(model) else model


def _member(state: Any, name: str) -> Any:
    return state.get(name) if isinstance(state, Mapping) else asked(state, name)


def _members(state: Any) -> list[Any]:
    return (
        [*state.values()]
        if isinstance(state, Mapping)
        else [*state]
        if isinstance(state, tuple | list)
        else []
    )


def _selected(select: Callable[[Any], Any], state: Any, leaves: Leaves) -> Any:
    try:
        return select(state)
    except Exception as error:
        raise ArgumentError(
            f"weights failed on this state with {type(error).__name__}: {error}. It takes the state and "
            "gives the piece that is the model, such as lambda s: s.params. This state has "
            f"{_pieces(leaves)}."
        ) from error


def _pieces(leaves: Leaves) -> str:
    found = (_FIRST_KEY.match(name) for name in leaves.names)
    keys = dict.fromkeys(shown(one.group() if one else "") for one in found)
    return ", ".join([*keys][:8]) + (" and more" if len(keys) > 8 else "")


def _told_apart(values: list[Any]) -> list[Any]:
    """Leaves that are all different objects: one array can be at two places, and numbers are shared."""
    counts = Counter(map(id, values))
    if all(counts[id(leaf)] == 1 and kind_of(leaf) != NUMBER for leaf in values):
        return values
    return [_twin(leaf) if counts[id(leaf)] > 1 or kind_of(leaf) == NUMBER else leaf for leaf in values]


def _twin(leaf: Any) -> Any:
    kind = kind_of(leaf)
    if kind.startswith(KEY):
        return jax.random.wrap_key_data(jnp.array(jax.random.key_data(leaf)), impl=kind.removeprefix(KEY))
    if kind == CONSTANT:
        return leaf
    return np.array(leaf) if kind == NUMBER or isinstance(leaf, np.ndarray) else jnp.array(leaf)


def _file_names(picked: Leaves) -> Sequence[str]:
    """Names as people write them, ``Dense_0.kernel``; the full paths, if two of these were the same.

    Example:
        >>> _file_names(taken_apart({"Dense_0": {"kernel": 1.0}, "layers": [2.0]}))
        ['Dense_0.kernel', 'layers.0']
    """
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(_unflattened(picked))[0]]
    names = [jax.tree_util.keystr(_named(path), simple=True, separator=".") or "weights" for path in paths]
    return names if len({*names}) == len(names) else [name or "weights" for name in picked.names]


def _named(path: Any) -> Any:
    """A path without its last key, if that only says that a variable of Flax has a value."""
    return path[:-1] if path and path[-1] == jax.tree_util.GetAttrKey("value") else path


def _unflattened(picked: Leaves) -> Any:
    return jax.tree_util.tree_unflatten(picked.structure, picked.values)
