"""Kinds: which values of a script's own matter when they start over, and what to do about each kind."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from outlast.core.asking import asked, has, shows
from outlast.core.source.calls import LOADS
from outlast.core.source.carried import Carried
from outlast.core.source.pieces import ITEM, PIECE
from outlast.frameworks.bystanders import is_bystander
from outlast.frameworks.random_state import gives_keys, is_generator
from outlast.run.held import listed
from outlast.run.parts import is_stateful

_NUMBERS = (bool, int, float, complex)
_COLLECTIONS = (list, dict, deque)
_PLAIN = (*_NUMBERS, *_COLLECTIONS, str, bytes, tuple, set, type(None))
_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)
_METERS = ("update", "add", "append", "record")
_ADDING = frozenset(
    (*("accumulate", "add", "add_", "append", "appendleft"), *("extend", "first", "record", "update"))
)

_TOLD = _ADDING - {"add_"}
_LISTS = (list, deque)
_SEQUENCES = (list, tuple, deque)
_CONSTANT = (*_NUMBERS, str, bytes, type(None))
_LOADING = LOADS | {"update_parameters"}
_FEW, _MOST = 8, 10_000  # of the pieces of a value that are looked at

_MEANS = ("avg", "average", "compute", "global_avg", "mean", "result", "value")  # of a meter

LOG = "log each batch, run.log(loss=loss)"
CHOOSE = "choose it anew each time, by the epoch or by run.step, or by what run.extra says"
_KEEP = "keep it in run.extra"
_BEST = "for the best weights use EarlyStopping(restore_best_weights=True), or run.load_best()"


def is_module(value: Any) -> bool:
    """Whether it is a module of PyTorch, or one that looks like it."""
    return has(type(value), "named_parameters")


def pieces(value: Any) -> list[Any]:
    """A few of the arrays and objects in a module, a list or a dict: the first ones, and the last."""
    if is_module(value):
        found = [*listed(value, "parameters")] or [*listed(value, "buffers")]
    else:
        found = [*islice(_inner(value), _MOST)]
    return found if len(found) <= 2 * _FEW else [*found[:_FEW], *found[-_FEW:]]


def is_rng(value: Any) -> bool:
    """Whether it is a random generator, but not a module with the global one."""
    return gives_keys(value) or (is_generator(value) and not isinstance(value, (ModuleType, type)))


def counts(value: Any, one: Carried) -> bool:
    """Whether a value is one that a loop sums up, counts or collects."""
    if isinstance(value, _CODE):
        return False
    if one.is_called:
        return is_metric(value) or (_is_own(value) and any(has(type(value), name) for name in _METERS))
    others = {way for way in one.ways if not way.startswith((PIECE, ITEM))}
    if is_module(value):
        return bool(others & _LOADING) or _changes_in_pieces(value, one.ways - others)
    if one.ways and not others - {"out"}:
        return ("out" in others and _is_mutable(value)) or _changes_in_pieces(value, one.ways - others)
    if isinstance(value, _PLAIN) or is_array(value) or is_metric(value) or is_rng(value):
        return True
    return _is_iterator(value) or _is_own(value)


def is_kept(value: Any) -> bool:
    """Whether it is a function, a module or an object that acts: a variable stands for it, and is not it."""
    return isinstance(value, _CODE) or is_module(value) or callable(value)


def is_all_of(value: Any, indices: Collection[int | str]) -> bool:
    """Whether a collection or an array has no other items than those of these indices."""
    if isinstance(value, dict):
        return bool(indices) and all(key in indices for key in value)
    if not isinstance(value, list) and not (is_array(value) and asked(value, "ndim")):
        return False
    return bool(indices) and {*range(len(value))} == {*indices}


def is_array(value: Any) -> bool:
    """Whether it is an array of any package. Its class is asked: to ask for an attribute may run code."""
    return has(type(value), "shape") and has(type(value), "dtype")


def is_metric(value: Any) -> bool:
    """Whether it is a metric as torchmetrics has them."""
    return shows(value, "update") and shows(value, "compute")


def advice(
    value: Any,
    one: Carried,
    *,
    inside: bool,
    is_jax: bool = False,
    is_forgotten: bool = False,
    is_loaded: bool = False,
) -> str:
    """What to do about a variable that starts over.

    Args:
        value: of it.
        one: what the loop does with it.
        inside: it starts over only where the run goes on inside an epoch.
        is_jax: what is trained is a value, which the loop sets.
        is_forgotten: the loop does not set it.
        is_loaded: it is loaded into a model, or into the state, as the best weights are.
    """
    name, short = one.name, one.name.rpartition(".")[2]
    ways = {way.removeprefix("[]") for way in one.ways}
    is_sum = bool(ways & _ADDING) or "+=" in ways
    if gives_keys(value):
        return "put it into the state"
    if is_loaded and (value is None or (not is_stateful(value) and _has_arrays(value))):
        return (
            f"{_BEST}; keep other weights {'in the state' if is_jax else 'in a copy of the model as a part'}"
        )
    if is_rng(value) or (is_stateful(value) and not is_metric(value)):
        return f"pass it to the Run, Run(..., {short}={name})"
    if _is_iterator(value):
        both = "go through both with run.batches(zip(a, b))"
        return both if inside else f"make it in each epoch, or {both}"
    if is_forgotten and _has_arrays(value):
        return "set run.state, as in run.state, loss = step(run.state, x)"
    if is_jax and (is_array(value) or (_has_arrays(value) and not is_sum)):
        return "put it into the state"
    if is_array(value) and asked(value, "ndim"):
        is_tensor = has(value, "detach")
        return "keep it in a buffer of the model, or in a part" if is_tensor else f"{_KEEP}, as a list"
    if isinstance(value, _COLLECTIONS) and any(
        has(one, "detach") and asked(one, "ndim") for one in pieces(value)
    ):
        return "keep it in buffers of the model, or in a part"
    if isinstance(value, bool) or (isinstance(value, _NUMBERS) and ways <= {"begun"}):
        return _KEEP  # a flag, or a level
    if isinstance(value, int) and one.counts:
        return f"{'run.batch' if inside else 'run.step'} counts on"
    if isinstance(value, int) and "+1" in ways and ways <= {"+1", "begun"}:
        return f'{_KEEP}, run.extra["{short}"] = run.extra.get("{short}", 0) + 1'
    if isinstance(value, deque) and not inside:
        return f"{_KEEP}, or in a part"
    if isinstance(value, _COLLECTIONS) and is_sum and not inside:
        return f"log it, run.log(loss=loss), for run.history, or {_KEEP}"
    if isinstance(value, _PLAIN):
        is_mean = (inside or is_sum) and "*=" not in ways and isinstance(value, (*_NUMBERS, *_COLLECTIONS))
        return f"{LOG}, or {_KEEP}" if is_mean else _KEEP
    if is_array(value) and not is_sum and not inside:
        return f"{_KEEP}, as a number"
    if is_array(value) or any(shows(value, name) for name in _MEANS):
        return f"{LOG}, which averages"
    return "give it a state_dict() and a load_state_dict(), and pass it to the Run"


def _changes_in_pieces(value: Any, ways: Collection[str]) -> bool:
    """Whether a value changes where its pieces are changed so: a number is another one then."""
    if is_array(value):
        return (
            any(way.startswith(PIECE) for way in ways) and bool(asked(value, "ndim")) and _is_mutable(value)
        )
    of_objects = {way for way in ways if way.partition(" ")[2] in _TOLD}
    inner = pieces(value)
    if len(of_objects) < len(ways) and any(map(_is_mutable, inner)):
        return True
    return bool(of_objects) and any(
        is_metric(one) or isinstance(one, _LISTS) or _is_own(one) for one in inner
    )


def _is_mutable(value: Any) -> bool:
    """Whether it is an array that can be changed in place."""
    return is_array(value) and has(type(value), "__iadd__")


def _inner(value: Any, depth: int = 3) -> Iterator[Any]:
    """The arrays, lists and objects in a container, but no texts and no numbers."""
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, _SEQUENCES) else ():
        if isinstance(one, dict | tuple) and depth:
            yield from _inner(one, depth - 1)
        elif not isinstance(one, _CONSTANT):
            yield one
            if isinstance(one, list) and depth:
                yield from _inner(one, depth - 1)


def _has_arrays(value: Any, depth: int = 4) -> bool:
    """Whether it is a container with arrays in it, as states of JAX are."""
    if isinstance(value, dict):
        inner = [*value.values()]
    else:
        inner = [*value] if isinstance(value, list | tuple) else _attributes(value)
    return (
        bool(depth)
        and not is_array(value)
        and any(is_array(one) or _has_arrays(one, depth - 1) for one in inner)
    )


def _is_iterator(value: Any) -> bool:
    return has(type(value), "__next__") and type(value).__module__ not in ("_io", "io")


def _is_own(value: Any) -> bool:
    """Whether an object keeps numbers and the like, and is none of a package that others look after."""
    return not is_bystander(value) and any(
        isinstance(one, _PLAIN) or is_array(one) for one in _attributes(value)
    )


def _attributes(value: Any) -> list[Any]:
    inner = asked(value, "__dict__")
    slots = [name for cls in type(value).__mro__ for name in vars(cls).get("__slots__", ())]
    return [*(inner.values() if isinstance(inner, dict) else ()), *(asked(value, name) for name in slots)]
