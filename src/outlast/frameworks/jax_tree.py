"""Leaves: what a JAX state is made of, how each leaf is stored, and how it comes back.

A pytree is stored as its leaves, by the names of their paths (``.params['w']``). Its structure is not stored:
the script makes a state at each start, and that is the template into which the leaves go back.

Every leaf has a kind, for what NumPy cannot tell: that an array is of a weak type, as ``jnp.full(3, 1.0)`` is
(bfloat16 times weak float32 is bfloat16, times strong float32 it is float32), or that it is a random key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from outlast.exceptions import ArgumentError, CapabilityError, UsageError
from outlast.frameworks import jax_modules
from outlast.storage.format.dtypes import Bits, name_of

ARRAY, WEAK, KEY, NUMPY, NUMBER, CONSTANT = "array", "weak", "key:", "numpy", "number", "constant"
_NUMBERS = (bool, int, float)
_MOST_NAMED = 3
_AS_MODEL = "A Keras model or a PyTorch module is passed as model=."


class Leaves(NamedTuple):
    """A pytree, taken apart.

    Args:
        names: of the leaves, by their paths.
        values: the leaves.
        structure: what puts them together again.
    """

    names: tuple[str, ...]
    values: list[Any]
    structure: Any


@dataclass(frozen=True)
class Place:
    """Where a leaf of the template is, and what it is.

    Args:
        sharding: of an array that was put on its devices on purpose; None if JAX may choose.
        described: its type and shape, for comparison.
    """

    sharding: Any
    described: str

    @classmethod
    def of(cls, leaf: Any) -> Place:
        """That of a leaf; of an array that was donated, too."""
        is_put = isinstance(leaf, jax.Array) and leaf.committed
        return cls(leaf.sharding if is_put else None, described(leaf, kind_of(leaf)))


def taken_apart(state: Any) -> Leaves:
    """The leaves of a pytree, each with a name of its own.

    Example:
        >>> taken_apart({"b": [1, 2], "a": None}).names
        ("['b'][0]", "['b'][1]")
    """
    found, structure = jax.tree_util.tree_flatten_with_path(state)
    names = [jax.tree_util.keystr(path) for path, _ in found]
    return Leaves(_distinct(names), [leaf for _, leaf in found], structure)


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Keys of a custom node may print alike: then a number makes them different."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(found)


def kind_of(leaf: Any) -> str:
    """The kind of a leaf; "" if it cannot be stored.

    Example:
        >>> kind_of(jnp.ones(2)), kind_of(jnp.full(2, 1.0)), kind_of(jax.random.key(0)), kind_of({1})
        ('array', 'weak', 'key:threefry2x32', '')
    """
    if isinstance(leaf, jax.core.Tracer):
        return ""
    if isinstance(leaf, jax.Array):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return f"{KEY}{jax.random.key_impl(leaf)}"
        return WEAK if leaf.weak_type else ARRAY
    if isinstance(leaf, (np.ndarray, np.generic)):
        return NUMPY if _has_numbers(leaf) else ""
    if type(leaf) in _NUMBERS:
        return NUMBER
    return CONSTANT if callable(leaf) or isinstance(leaf, str) else ""


def _has_numbers(array: Any) -> bool:
    try:
        return bool(name_of(array))
    except CapabilityError:
        return False


def refuse_unsavable(state: Any, leaves: Leaves) -> None:
    """Refuse a state with leaves that cannot be stored.

    A text is taken for a setting in a model of Equinox, and for a mistake elsewhere.

    Raises:
        ArgumentError: there are some; the text names their paths.
    """
    texts = [isinstance(leaf, str) for leaf in leaves.values]
    settings = jax_modules.in_equinox(state) if any(texts) else texts
    wrong = [
        (name, leaf)
        for name, leaf, is_setting in zip(leaves.names, leaves.values, settings, strict=True)
        if not kind_of(leaf) or (isinstance(leaf, str) and not is_setting)
    ]
    shapes = [name for name, leaf in wrong if isinstance(leaf, jax.ShapeDtypeStruct)]
    if shapes:
        raise ArgumentError(
            f"{shown(shapes[0])} is a ShapeDtypeStruct, as jax.eval_shape gives them: it has no numbers. "
            "Pass real arrays, made by the same function without jax.eval_shape."
        )
    if leaves.names == ("",) and kind_of(leaves.values[0]) in ("", CONSTANT):
        kind = type(leaves.values[0])
        raise ArgumentError(
            f"state must be a pytree of arrays, such as a dict or a TrainState, but is a {kind.__module__}."
            f"{kind.__qualname__}. {_AS_MODEL}"
        )
    if wrong:
        told = [f"{shown(name)} is a {_class_of(leaf)}" for name, leaf in wrong[:_MOST_NAMED]]
        more = f" (and {len(wrong) - _MOST_NAMED} more)" if len(wrong) > _MOST_NAMED else ""
        raise ArgumentError(
            f"A state has arrays, numbers and typed random keys as leaves, but {', '.join(told)}{more}. Keep "
            "other values out of the tree: in a static field (flax.struct.field(pytree_node=False), "
            "eqx.field(static=True)), in run.extra, or in variables of the script."
        )
    far = [name for name, leaf in zip(leaves.names, leaves.values, strict=True) if not _is_at_hand(leaf)]
    if far:
        raise ArgumentError(
            f"{shown(far[0])} has pieces on the devices of other processes, which one process cannot save."
        )


def _class_of(leaf: Any) -> str:
    """With the type of an array's elements, which is what is wrong with it."""
    is_array = isinstance(leaf, (np.ndarray, np.generic))
    return type(leaf).__name__ + (f" of dtype {leaf.dtype}" if is_array else "")


def refuse_empty(state: Any, leaves: Leaves) -> None:
    """Refuse a state in which nothing would be saved.

    Raises:
        ArgumentError: it has no leaves, or functions alone.
    """
    if any(kind_of(leaf) != CONSTANT for leaf in leaves.values):
        return
    pairs = zip(leaves.names, leaves.values, strict=True)
    told = [f"{shown(name)} is a {_class_of(leaf)}" for name, leaf in pairs]
    what = f"has no array: {', '.join(told[:_MOST_NAMED])}" if told else "has no leaf: None is none"
    raise ArgumentError(
        "state must have everything that the next step depends on, such as the weights and the optimizer's "
        f"state, but this {type(state).__name__} {what}. {_AS_MODEL}"
    )


def refuse_traced(leaves: Leaves) -> None:
    """Refuse a state from inside a function that JAX traces, which has no numbers yet.

    Raises:
        UsageError: it is from there.
    """
    pairs = zip(leaves.names, leaves.values, strict=True)
    traced = [name for name, leaf in pairs if isinstance(leaf, jax.core.Tracer)]
    if traced:
        raise UsageError(
            f"{shown(traced[0])} has no value yet: run.state is set inside a function that JAX traces. "
            "Return the state from that function, and set run.state to what comes back: run.state, loss = "
            "train_step(run.state, x, y)."
        )


def within_none(names: Sequence[str], state: Any) -> list[str]:
    """Those of the names of leaves in whose place a state has None.

    Example:
        >>> within_none(["['a']['b']", "['ab']", "['c']"], {"a": None, "c": 1.0})
        ["['a']['b']"]
    """
    found, _ = jax.tree_util.tree_flatten_with_path(state, is_leaf=lambda node: node is None)
    nones = [jax.tree_util.keystr(path) for path, leaf in found if leaf is None]
    return [name for name in names if any(_is_within(name, none) for none in nones)]


def _is_within(name: str, place: str) -> bool:
    return name.startswith(place) and name[len(place) : len(place) + 1] in ("", ".", "[")


def _is_at_hand(leaf: Any) -> bool:
    return not isinstance(leaf, jax.Array) or bool(leaf.is_fully_addressable)


def shown(name: str) -> str:
    """What a user writes to see the leaf.

    Example:
        >>> shown("['params']['w']"), shown(".params['w']")
        ("state['params']['w']", "state.params['w']")
    """
    return f"state{name}"


def refuse_deleted(leaves: Leaves, *, new: bool = False) -> None:
    """Refuse a state whose arrays were donated to a step.

    Args:
        leaves: of the state.
        new: a run is made with it, as in a notebook whose cell is run again.

    Raises:
        UsageError: there are some.
    """
    gone = [
        name
        for name, leaf in zip(leaves.names, leaves.values, strict=True)
        if isinstance(leaf, jax.Array) and leaf.is_deleted()
    ]
    if gone and new:
        raise UsageError(
            f"{shown(gone[0])} was donated to a step, in an earlier training, and is deleted: make the state "
            "that is passed to the Run anew, before each Run."
        )
    if gone:
        raise UsageError(
            f"run.{shown(gone[0])} was donated to a step and is deleted, so that the state cannot be saved. "
            "Set run.state to what the step returns: run.state, loss = train_step(run.state, x, y)."
        )


def classes(structure: Any) -> list[str]:
    """The classes in a structure that are no plain containers, in its order.

    Example:
        >>> import optax
        >>> classes(jax.tree_util.tree_structure([optax.adam(0.1).init({"w": jnp.ones(2)})]))
        ['ScaleByAdamState', 'EmptyState']
    """
    data = structure.node_data()
    if data is None:
        return []
    own = [] if data[0] in (dict, list, tuple) else [data[0].__qualname__]
    return own + [name for child in structure.children() for name in classes(child)]


def described(value: Any, kind: str) -> str:
    """Type and shape of a leaf, or of what was stored of it.

    Example:
        >>> described(jnp.ones((8, 32)), "array"), described(3, "number")
        ('float32 (8, 32)', 'int')
    """
    if kind == NUMBER:
        return type(value).__name__
    if kind == CONSTANT:
        return CONSTANT
    if not kind.startswith(KEY):
        array = value.array if isinstance(value, Bits) else value
        return f"{value.dtype if isinstance(value, Bits) else _name(value.dtype)} {tuple(array.shape)}"
    shape = value.shape if isinstance(value, jax.Array) else _array(value).shape[:-1]
    return f"key<{kind.removeprefix(KEY)}> {tuple(shape)}"


@cache
def _name(dtype: Any) -> str:
    """A type's name, which NumPy makes anew at each look."""
    return str(dtype.name)


def fits(there: str, here: str) -> bool:
    """Whether a leaf that is described so can take the place of one that is described so.

    A step makes an array of a plain number, such as the count of steps that begins as 0.

    Example:
        >>> fits("int32 ()", "int"), fits("float32 (3,)", "float32 (2,)")
        (True, False)
    """
    if there == here:
        return True
    numbers = {kind.__name__ for kind in _NUMBERS}
    is_one = [text in numbers or text.endswith(" ()") for text in (there, here)]
    families = [text.partition(" ")[0].rstrip("0123456789").removeprefix("u") for text in (there, here)]
    return all(is_one) and families[0] == families[1] and not {there, here}.isdisjoint(numbers)


def stored(leaf: Any, kind: str) -> Any:
    """A leaf as it is stored: a number, or an array, which on a CPU is the leaf's own memory.

    That memory outlives a donation: while it is looked at, JAX copies instead of overwriting it.
    """
    if kind.startswith(KEY):
        return np.asarray(jax.random.key_data(leaf))
    return np.asarray(leaf) if kind in (ARRAY, WEAK) else leaf


def restored(value: Any, kind: str, place: Place) -> Any:
    """The leaf that was stored, as an array of its own, which shares no memory with ``value``.

    Args:
        value: what :func:`stored` gave, perhaps in another process.
        kind: of the leaf that was stored.
        place: of the template's leaf.
    """
    if kind == NUMBER:
        return value
    array = _array(value)
    if kind == NUMPY:
        return array if isinstance(array, np.generic) else np.array(array)
    if kind == WEAK:  # only a number of Python's makes a weak type, and it stays when the numbers are set
        made = jnp.full(array.shape, array.dtype.type(0).item()).at[...].set(array)
    elif kind.startswith(KEY):
        made = jax.random.wrap_key_data(jnp.array(array), impl=kind.removeprefix(KEY))
    elif place.sharding is not None:  # not through one device, where it may have no room
        return jax.device_put(np.array(array), place.sharding)
    else:
        made = jnp.array(array)
    return made if place.sharding is None else jax.device_put(made, place.sharding)


def is_same(leaf: Any, kind: str, value: Any) -> bool:
    """Whether a leaf has this kind, and the bits of a stored value."""
    if kind_of(leaf) != kind or described(leaf, kind) != described(value, kind):
        return False
    if kind == NUMBER:
        return bool(leaf == value or (leaf != leaf and value != value))
    return bool(np.array_equal(_bits(stored(leaf, kind)), _bits(_array(value))))


def _bits(array: Any) -> Any:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _array(value: Any) -> Any:
    return value.numpy() if isinstance(value, Bits) else value


def lost_types(values: Mapping[str, Any], kinds: Mapping[str, str]) -> list[str]:
    """The names of arrays of 64 bits, where this process makes 32 of them: without ``jax_enable_x64``."""
    return [
        name
        for name, kind in kinds.items()
        if kind in (ARRAY, WEAK)
        and not isinstance(values[name], Bits)
        and jax.dtypes.canonicalize_dtype(values[name].dtype) != values[name].dtype
    ]
