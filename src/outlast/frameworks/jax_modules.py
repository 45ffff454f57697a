"""Modules in a state: those of Flax's NNX are changed in place, not made anew as other pytrees are."""

from __future__ import annotations

import sys
from typing import Any

import jax


def is_object(thing: Any) -> bool:
    """Whether it is one of NNX's: a module, an optimizer, or generators. Flax is not imported for it."""
    nnx = sys.modules.get("flax.nnx")
    kind = None if nnx is None else getattr(nnx, "Pytree", None)
    return kind is not None and isinstance(thing, kind)


def has_objects(state: Any) -> bool:
    """Whether there are some in a state, so that a step need not return it."""
    return any(map(is_object, outer_leaves(state)))


def outer_leaves(state: Any) -> list[Any]:
    """The leaves of a state, with each object in place of its own, as it is changed in place."""
    return list(jax.tree_util.tree_leaves(state, is_leaf=is_object))


def put_into(state: Any, new: Any) -> Any:
    """A state with the leaves of another: its objects stay the same ones, all around them is new."""
    return jax.tree_util.tree_map(_updated, state, new, is_leaf=is_object)


def _updated(old: Any, new: Any) -> Any:
    if not is_object(old):
        return new
    from flax import nnx

    nnx.update(old, nnx.state(new))
    return old


def weights_of(thing: Any) -> Any:
    """What is trained of an object, and its statistics: all but the states of its random generators."""
    from flax import nnx

    return nnx.state(thing, nnx.Not(nnx.RngState))


def is_module(thing: Any) -> bool:
    """Whether it is a model, of NNX or of Equinox; an optimizer is none."""
    flax, equinox = sys.modules.get("flax.nnx"), sys.modules.get("equinox")
    kinds = tuple(one.Module for one in (flax, equinox) if one is not None)
    return isinstance(thing, kinds)


def in_equinox(state: Any) -> list[bool]:
    """Of each leaf, whether it is in a module of Equinox, where all that is no array is a setting."""
    equinox = sys.modules.get("equinox")

    def is_equinox(thing: Any) -> bool:
        return equinox is not None and isinstance(thing, equinox.Module)

    outer = jax.tree_util.tree_leaves(state, is_leaf=is_equinox)
    return [is_equinox(one) for one in outer for _ in jax.tree_util.tree_leaves(one)]
