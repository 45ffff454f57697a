"""Held: whether a value belongs to something that a run saves, or that others look after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from outlast.core.asking import asked, has

_PARTS_OF_LOADERS = ("dataset", "sampler", "batch_sampler")
_CONSTANT = (bool, int, float, complex, str, bytes, type(None))
_MOST = 100_000  # values in one thing


def is_held(value: Any, things: Iterable[Any]) -> bool:
    """Whether a value is one of some things, or a piece of one: a list in a dict, a buffer of a module.

    Example:
        >>> losses = [0.5]
        >>> is_held(losses, [{"seen": {"losses": losses}}]), is_held([0.5], [{"losses": losses}])
        (True, False)
    """
    return any(value is piece or _share(value, piece) for one in things for piece in _pieces(one))


def _pieces(thing: Any) -> Iterator[Any]:
    yield thing
    if isinstance(thing, dict | list | tuple):
        yield from islice(_members(thing), _MOST)
        return
    if has(type(thing), "named_parameters"):
        for kind in ("modules", "parameters", "buffers"):
            yield from listed(thing, kind)
    elif has(type(thing), "layers"):
        yield from _members(asked(thing, "layers"))
    elif has(type(thing), "get_params"):  # what an estimator of scikit-learn's was made with
        yield from _members(_parameters(thing))
    if has(thing, "param_groups"):
        yield from _members(asked(thing, "param_groups"))
    yield from (piece for name in _PARTS_OF_LOADERS if (piece := asked(thing, name)) is not None)


def _parameters(estimator: Any) -> dict[str, Any]:
    try:
        return dict(estimator.get_params())
    except Exception:  # of a class of the user's
        return {}


def listed(module: Any, kind: str) -> list[Any]:
    """The ``parameters``, ``buffers`` or ``modules`` of a module; none if it does not give them."""
    try:
        return list(getattr(module, kind)())
    except Exception:  # of a class of the user's
        return []


def _members(thing: Any, depth: int = 8) -> Iterator[Any]:
    """What is in it, but for values that never change: they may be the same object by chance."""
    if not depth or isinstance(thing, _CONSTANT) or (has(thing, "shape") and has(thing, "dtype")):
        return
    yield thing
    if isinstance(thing, dict | list | tuple):
        for inner in thing.values() if isinstance(thing, dict) else thing:
            yield from _members(inner, depth - 1)


def _share(value: Any, piece: Any) -> bool:
    """Whether two tensors of PyTorch are views of the same numbers, as ``weight.data`` is of ``weight``."""
    if not (has(type(value), "data_ptr") and has(type(piece), "data_ptr")):
        return False
    try:
        place = value.untyped_storage().data_ptr()
        return bool(place) and place == piece.untyped_storage().data_ptr()
    except Exception:  # of a tensor without memory of its own
        return False
