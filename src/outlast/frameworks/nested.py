"""Nested: optimizers inside an optimizer, whose state the outer one may or may not save.

SAM steps with one that its own ``state_dict()`` leaves out; the wrappers of other libraries pass theirs on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from outlast.frameworks import optimizers
from outlast.frameworks.tensors import values_in


def inner_states(optimizer: Any, state: Any, name: str) -> dict[str, Any]:
    """The state dicts of optimizers inside this one whose tensors its own state dict does not have.

    Of one that has no state yet nobody can tell, so it is among them.

    Args:
        optimizer: which may hold others in its attributes.
        state: its own state dict.
        name: what it is called in an error.

    Returns:
        State dicts, by the path of attributes.
    """
    found = {}
    live = inside(optimizer)
    known = set(_memories(state)) if live else set()
    for path, inner in live.items():
        memories = [*_memories(inner.state)]
        if not memories or not known.issuperset(memories):
            found[path] = optimizers.state_of(inner, f"{name}.{path}")
    return found


def load_inner(optimizer: Any, states: Mapping[str, Any]) -> None:
    """Load what :func:`inner_states` gave, once the optimizer itself is loaded.

    The list of groups stays the same: the two may share it.
    """
    for path, inner in inside(optimizer).items():
        if path in states:
            groups = inner.param_groups
            optimizers.load(inner, states[path])
            if inner.param_groups is not groups:
                groups[:] = inner.param_groups
                inner.param_groups = groups


def inside(optimizer: Any) -> dict[str, Any]:
    """The optimizers in attributes of an optimizer, and in attributes of those, by their paths."""
    found: dict[str, Any] = {}
    _look_inside(optimizer, "", found, {id(optimizer)})
    return found


def _look_inside(optimizer: Any, path: str, found: dict[str, Any], seen: set[int]) -> None:
    for name, value in _attributes(optimizer):
        if id(value) not in seen and optimizers.is_optimizer(value):
            seen.add(id(value))
            found[path + name] = value
            _look_inside(value, f"{path}{name}.", found, seen)


def _attributes(thing: Any) -> Iterator[tuple[str, Any]]:
    """Attributes, and what lists and dicts in attributes hold, by name."""
    for name, value in getattr(thing, "__dict__", {}).items():
        if name not in ("param_groups", "state"):
            yield name, value
            if isinstance(value, dict):
                yield from ((f"{name}.{key}", one) for key, one in value.items())
            elif isinstance(value, (list, tuple)):
                yield from ((f"{name}.{index}", one) for index, one in enumerate(value))


def _memories(tree: Any) -> Iterator[int]:
    """Where the tensors in a tree lie."""
    for one in values_in(tree):
        if hasattr(one, "data_ptr") and str(one.layout) == "torch.strided":
            yield one.data_ptr()
