"""Random generators that an object holds: in an attribute, or in a list, dict or object in one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from outlast.core.asking import asked, has
from outlast.frameworks import random_state

_DEPTH = 4  # of a transform in the list of a Compose in an attribute
_ITEMS = 64  # what is longer is data
_CODE = (type, ModuleType, FunctionType, MethodType, BuiltinFunctionType)
_ATOMS = (bool, int, float, complex, str, bytes, type(None), *_CODE)


def held(attributes: Mapping[Any, Any], depth: int = _DEPTH) -> Iterator[tuple[str, Any]]:
    """The generators in attributes by their places; those of a thing before what it holds itself.

    Example:
        >>> import random
        >>> [place for place, _ in held({"steps": [{"rng": random.Random(1)}], "size": 3})]
        ['steps.0.rng']
    """
    for name, value in attributes.items():
        if isinstance(value, _ATOMS):
            continue
        if random_state.is_generator(value):
            yield str(name), value
        elif depth > 1:
            for place, one in held(_members(value), depth - 1):
                yield f"{name}.{place}", one


def _members(value: Any) -> Mapping[Any, Any]:
    """What a container or an object of the user's holds; nothing of data, of arrays, and of a framework's."""
    if isinstance(value, Mapping):
        return value if len(value) <= _ITEMS else {}
    if isinstance(value, (list, tuple)):
        return dict(enumerate(value)) if len(value) <= _ITEMS else {}
    if has(type(value), "named_parameters") or has(type(value), "__array__"):
        return {}
    if type(value).__module__.partition(".")[0] in ("torch", "numpy", "keras", "tensorflow", "jax"):
        return {}
    found = asked(value, "__dict__", {})
    return found if isinstance(found, dict) else {}
