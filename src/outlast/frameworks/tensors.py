"""Tensors to NumPy arrays and back, in whatever containers a state dict holds them."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any

from outlast.exceptions import CapabilityError
from outlast.storage.format.dtypes import Bits


def to_arrays(tree: Any, name: str) -> Any:
    """The same dicts, lists and tuples, with tensors as arrays.

    Args:
        tree: such as a state dict.
        name: what it is called in an error.

    Raises:
        CapabilityError: a tensor has no array, such as a sparse or an uninitialised one; it is named.
    """

    def convert(value: Any, name: str) -> Any:
        try:
            return to_array(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise CapabilityError(
                f"Cannot store {name}: {type(value).__name__}: {str(error).splitlines()[0]:.300}"
            ) from error

    return _mapped(tree, convert, name)


def to_tensors(tree: Any, but: Collection[str] = (), devices: Mapping[str, str] | None = None) -> Any:
    """The inverse of :func:`to_arrays`, in memory of its own.

    Args:
        tree: what it gave.
        but: the names of arrays that were arrays before, as :func:`array_names` gives them.
        devices: where tensors were, as :func:`device_names` gives it; the CPU for others.
    """

    def convert(value: Any, name: str) -> Any:
        tensor = value if name in but else to_tensor(value)
        return tensor.to(devices[name]) if devices and name in devices else tensor

    return _mapped(tree, convert, "")


def device_names(tree: Any) -> dict[str, str]:
    """The devices of the tensors in a tree that are not on the CPU, by the tensors' names."""
    found: dict[str, str] = {}

    def note(value: Any, name: str) -> None:
        if hasattr(value, "detach") and value.device.type != "cpu":
            found[name] = str(value.device)

    _mapped(tree, note, "")
    return found


def array_names(tree: Any) -> list[str]:
    """The names of NumPy arrays in a tree, which are to come back as arrays and not as tensors."""
    found: list[str] = []
    _mapped(
        tree, lambda value, name: found.append(name) if hasattr(value, "__array_interface__") else None, ""
    )
    return found


def _mapped(tree: Any, function: Callable[[Any, str], Any], name: str) -> Any:
    """Other leaves in the same containers; a scheduler needs its Counter back as a Counter."""
    if isinstance(tree, Mapping):
        items = {key: _mapped(value, function, f"{name}/{key}") for key, value in tree.items()}
        return type(tree)(items) if isinstance(tree, (Counter, OrderedDict)) else items
    if isinstance(tree, (list, tuple)):
        values = [_mapped(value, function, f"{name}/{index}") for index, value in enumerate(tree)]
        return values if isinstance(tree, list) else tuple(values)
    return function(tree, name)


def to_array(value: Any) -> Any:
    """A tensor as a NumPy array that shares its memory where it can; anything else as it is."""
    if not hasattr(value, "detach"):
        return value
    tensor = value.detach().cpu().contiguous().resolve_conj().resolve_neg()
    name = str(tensor.dtype).removeprefix("torch.")
    if not name.startswith(("bfloat", "float8")):
        return tensor.numpy()
    import torch

    bits = {1: torch.uint8, 2: torch.uint16}[tensor.element_size()]
    return Bits(name, tensor.view(bits).numpy())


def to_tensor(value: Any) -> Any:
    """The inverse of :func:`to_array`, in memory of its own."""
    import numpy as np
    import torch

    if isinstance(value, Bits):
        return torch.from_numpy(value.array.copy()).view(getattr(torch, value.dtype))
    return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value
