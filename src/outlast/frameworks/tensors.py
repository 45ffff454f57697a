"""Tensors to NumPy arrays and back, in whatever containers a state dict holds them."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from outlast.core.asking import has
from outlast.exceptions import CapabilityError
from outlast.frameworks import containers
from outlast.storage.format.dtypes import Bits, axes_of

# Where something is in a tree: the keys on the way. Joined to a text, two places could read alike.
Place: TypeAlias = "tuple[Any, ...]"

_SPARSE = "sparse tensor"  # the key of a dict that a sparse tensor is stored as
_PARAMETER, _WITH_GRADIENT, _SCALAR = "parameter", "requires_grad", "scalar"
_PLAIN = frozenset({int, float, bool, str, type(None)})  # most of what is no tensor
_NOT_PASSED_ON = (AttributeError, BufferError, RuntimeError, TypeError)  # a type that older versions do not
_COMPRESSED = {  # the layout of a compressed sparse tensor, and its methods for the two kinds of indices
    "torch.sparse_csr": ("crow_indices", "col_indices"),
    "torch.sparse_bsr": ("crow_indices", "col_indices"),
    "torch.sparse_csc": ("ccol_indices", "row_indices"),
    "torch.sparse_bsc": ("ccol_indices", "row_indices"),
}


def to_arrays(tree: Any, name: str) -> Any:
    """The same dicts, lists and tuples, with tensors as arrays; see :func:`stored`."""
    return stored(tree, name)[0]


def stored(tree: Any, name: str) -> tuple[Any, dict[str, Any]]:
    """The same dicts, lists and tuples, with tensors as arrays; and the details that these do not keep.

    The details are by place: what was an array before, types, kinds and strides of tensors, and
    ``_metadata``. Types of containers are by names that people can read, since a difference in one is told.

    Args:
        tree: such as a state dict.
        name: what it is called in an error.

    Raises:
        CapabilityError: a tensor cannot be stored, such as a quantised one; it is named.
    """
    arrays: list[Place] = []
    types: dict[str, str] = {}
    metadata: dict[Place, Any] = {}
    kinds: dict[Place, list[str]] = {}
    strides: dict[Place, list[int]] = {}

    def leaf(value: Any, place: Place) -> Any:
        if type(value) in _PLAIN:
            return value
        made = _converted(value, name, place)
        if has(value, "__array_interface__"):
            arrays.append(place)
        if found := _kinds(value):
            kinds[place] = found
        if steps := _strides(value):
            strides[place] = steps
        return made

    def container(live: Any, made: Any, place: Place) -> Any:
        if not containers.is_usual(live):
            types[_readable(place)] = containers.described(live)
        if hasattr(live, "_metadata"):  # where PyTorch keeps the versions of modules
            metadata[place] = {key: dict(one) for key, one in live._metadata.items()}
        return made

    details = {"arrays": arrays, "types": types, "metadata": metadata, "kinds": kinds, "strides": strides}
    return _mapped(tree, leaf, container), details


def _converted(value: Any, name: str, place: Place) -> Any:
    if _kind(value.__class__):
        raise CapabilityError(
            f"Cannot store {_told(name, place)}: its key {_SPARSE!r} is outlast's own; rename it."
        )
    try:
        return to_array(value)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        kind = f"a tensor of {value.dtype}" if has(value, "dtype") else type(value).__name__
        raise CapabilityError(
            f"Cannot store {_told(name, place)}: {kind} is not supported "
            f"({str(error).splitlines()[0]:.200}). Keep it as a tensor of plain numbers, or in an attribute "
            "that is no buffer and never changes."
        ) from error


def _told(name: str, place: Place) -> str:
    return "/".join(map(str, (name, *place)))


def types_of(tree: Any) -> dict[str, str]:
    """The types of the containers that do not come back as what they are by themselves."""
    return {
        _readable(place): containers.described(one)
        for place, one in _containers(tree, ())
        if not containers.is_usual(one)
    }


def check_types(kept: Mapping[str, Any], before: Mapping[str, str], after: Any, name: str) -> None:
    """Check that what was loaded has not put a container of another type in the place of a live one.

    Args:
        kept: the details of what was loaded, as :func:`stored` gave them.
        before: :func:`types_of` the live state before; it may be changed in place.
        after: the live state.
        name: what it is called in an error.

    Raises:
        CapabilityError: it has, and the training could fail only later; the container is named.
    """
    loaded = {_readable(place): one for place, one in _containers(after, ())}
    for where, kind in before.items():
        if kept["types"].get(where) == kind and where in loaded:
            now = loaded[where]
            if containers.described(now) != kind:
                raise CapabilityError(
                    f"Cannot store {name}/{where}: {kind} is not kept, and is a {type(now).__name__} after "
                    f"loading; return {type(now).__name__}(...) of it in state_dict(), and make it again in "
                    "load_state_dict()."
                )


def _readable(place: Place) -> str:
    """A place as a text, another for each place."""
    return "/".join(key if type(key) is str and key.isidentifier() else repr(key) for key in place)


def _kinds(value: Any) -> list[str]:
    """What a tensor of PyTorch's is beside its numbers, or a number of a type that NumPy lacks."""
    if has(value, "detach") and has(value, "requires_grad"):
        kinds = [_WITH_GRADIENT] if value.requires_grad else []
        return [*kinds, _PARAMETER] if _is_parameter(value) else kinds
    is_scalar = has(value, "__array_interface__") and type(value).__module__ == "ml_dtypes"
    return [_SCALAR] if is_scalar else []


def _strides(value: Any) -> list[int]:
    """How a tensor with gaps in memory lies there: sums of one without may differ in the last bits."""
    if not has(value, "detach") or not has(value, "stride") or _named(value.layout) != "torch.strided":
        return []
    if _is_dense(value):
        return []
    strides = list(value.stride())
    repeats = any(stride == 0 and length > 1 for stride, length in zip(strides, value.shape, strict=True))
    return [] if repeats else strides


def _is_parameter(value: Any) -> bool:
    import torch

    return isinstance(value, torch.nn.Parameter)


def device_names(tree: Any) -> dict[Place, str]:
    """The devices of the tensors in a tree that are not on the CPU, by the tensors' places."""
    found: dict[Place, str] = {}

    def note(value: Any, place: Place) -> None:
        if has(value, "detach") and value.device.type != "cpu":
            found[place] = str(value.device)

    _mapped(tree, note)
    return found


def to_tensors(
    tree: Any, kept: Mapping[str, Any], devices: Mapping[Place, str] | None = None, live: Any = None
) -> Any:
    """The inverse of :func:`stored`, in memory of its own.

    Args:
        tree: the arrays that :func:`stored` gave.
        kept: the details that it gave.
        devices: where tensors were, as :func:`device_names` gives it; the CPU for others.
        live: the state that this one takes the place of: its containers show how those of other types
            are made.
    """
    arrays = frozenset(kept["arrays"])
    types = kept["types"]
    kinds, strides = kept.get("kinds", {}), kept.get("strides", {})  # older runs have none

    def convert(value: Any, place: Place) -> Any:
        if place in arrays:
            array = value.numpy() if isinstance(value, Bits) else value
            return array[()] if _SCALAR in kinds.get(place, ()) else array
        tensor = to_tensor(value)
        if place in strides:
            tensor = _with_gaps(tensor, strides[place])
        if devices and place in devices:
            tensor = tensor.to(devices[place])
        return _of_kinds(tensor, kinds[place]) if place in kinds else tensor

    def of_type(plain: Any, made: Any, place: Place) -> Any:
        kind = types.get(_readable(place))
        return made if kind is None else containers.remade(made, kind, _at(live, place))

    tensors = _mapped(tree, convert, of_type if types else None)
    for place, container in _containers(tensors, ()) if kept["metadata"] else ():
        if place in kept["metadata"]:
            container._metadata = OrderedDict(kept["metadata"][place])
    return tensors


def _of_kinds(tensor: Any, kinds: Sequence[str]) -> Any:
    import torch

    has_gradient = _WITH_GRADIENT in kinds
    if _PARAMETER in kinds:
        return torch.nn.Parameter(tensor, requires_grad=has_gradient)
    return tensor.requires_grad_(has_gradient)


def _at(tree: Any, place: Place) -> Any:
    """What is at a place of a tree; None if there is nothing."""
    for key in place:
        try:
            is_there = key in tree if isinstance(tree, Mapping) else key < len(tree)
            tree = tree[key] if is_there else None  # a defaultdict would make what it has not
        except TypeError:  # neither
            return None
    return tree


def _mapped(
    tree: Any,
    function: Callable[[Any, Place], Any],
    finish: Callable[[Any, Any, Place], Any] | None = None,
    place: Place = (),
) -> Any:
    """Other leaves in containers of the usual types, or in what ``finish`` makes of those.

    ``finish`` is given the container that was there, the new one, and its place.
    """
    kind = _kind(tree.__class__)
    if kind == "mapping" and _SPARSE not in tree:
        items = {key: _mapped(value, function, finish, (*place, key)) for key, value in tree.items()}
        made = containers.usual(tree, items)
    elif kind == "sequence":
        values = [_mapped(value, function, finish, (*place, index)) for index, value in enumerate(tree)]
        made = containers.usual(tree, values)
    else:
        return function(tree, place)
    return made if finish is None else finish(tree, made, place)


@lru_cache(4096)
def _kind(cls: type) -> str:
    """What the objects of a class are; "" for leaves. To ask each object would take longer than all else."""
    if issubclass(cls, Mapping):
        return "mapping"
    return "sequence" if issubclass(cls, (list, tuple, deque)) else ""


def _containers(tree: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    if _kind(tree.__class__):
        yield place, tree
        for key, value in _items(tree):
            if _kind(value.__class__):
                yield from _containers(value, (*place, key))


def values_in(tree: Any) -> Iterator[Any]:
    """What is in a tree of mappings, lists and tuples, without names."""
    if isinstance(tree, Mapping):
        tree = [*tree.values()]
    if isinstance(tree, (list, tuple)):
        for one in tree:
            yield from values_in(one)
    else:
        yield tree


def _items(container: Any) -> Iterable[tuple[Any, Any]]:
    return container.items() if isinstance(container, Mapping) else enumerate(container)


def to_array(value: Any) -> Any:
    """A tensor as a NumPy array that shares its memory where it can; anything else as it is."""
    if not has(value, "detach"):
        return value
    import torch

    if value.layout != torch.strided and str(value.layout).startswith("torch.sparse"):
        return _sparse_to_arrays(value.detach())
    tensor = value.detach().cpu()
    if not _is_dense(tensor):
        tensor = tensor.contiguous()
    tensor = tensor.resolve_conj().resolve_neg()
    name = _named(tensor.dtype).removeprefix("torch.")
    if not name.startswith(("bfloat", "float8", "complex32")):
        return _seen(tensor)
    if name == "complex32":  # which no format knows: its real numbers in pairs, under its name
        return {_SPARSE: name, "values": _seen(torch.view_as_real(tensor))}
    bits = {1: torch.uint8, 2: torch.uint16}[tensor.element_size()]
    return Bits(name, _seen(tensor.view(bits)))


@lru_cache(maxsize=64)
def _named(kind: Any) -> str:
    """The name of a type or a layout, which PyTorch makes anew at each look."""
    return str(kind)


def _is_dense(tensor: Any) -> bool:
    """Whether it neither skips nor repeats numbers in memory, whatever the order of its axes there."""
    if tensor.is_contiguous():
        return True
    step = 1
    for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if length > 1:
            if stride != step:
                return False
            step *= length
    return True


def _with_gaps(tensor: Any, strides: Sequence[int]) -> Any:
    import torch

    made = torch.empty_strided(tensor.shape, tuple(strides), dtype=tensor.dtype)
    return made.copy_(tensor)


def _seen(tensor: Any) -> Any:
    """The array of a tensor, in its memory.

    ``Tensor.numpy()`` would have PyTorch refuse ever after to resize that memory, as observers of
    quantisation do with their buffers. So the array must be gone before the tensor is resized.
    """
    import numpy as np

    try:
        array = np.from_dlpack(tensor)
    except _NOT_PASSED_ON:
        return tensor.numpy()
    return array if array.flags.writeable else tensor.numpy()


def _owned(array: Any) -> Any:
    """A tensor of an array's numbers, in memory of PyTorch's, which a module that keeps it may resize."""
    import numpy as np
    import torch

    axes = axes_of(array) or range(array.ndim)
    shape = [array.shape[axis] for axis in axes]
    tensor = torch.empty(shape, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype)
    np.copyto(_seen(tensor), array.transpose(axes))
    return tensor.permute([*np.argsort(axes)])


def to_tensor(value: Any) -> Any:
    """The inverse of :func:`to_array`, in memory of its own."""
    import numpy as np

    if isinstance(value, Mapping) and _SPARSE in value:
        return _sparse_from_arrays(value)
    if isinstance(value, Bits):
        import torch

        return _owned(value.array).view(_of_torch(value.dtype, torch.dtype))
    return _owned(value) if isinstance(value, np.ndarray) else value


def _of_torch(name: Any, kind: type) -> Any:
    """The type or layout that a file names, and nothing else."""
    import torch

    found = vars(torch).get(name)
    if not isinstance(found, kind):
        raise ValueError(f"PyTorch has no {kind.__name__} {name!r:.40}")
    return found


def described(stored: Any) -> str:
    """Type and shape of a tensor, as :func:`to_array` gave it."""
    if isinstance(stored, Mapping) and _SPARSE in stored:
        return f"{stored[_SPARSE]} {stored.get('size', stored['values'].shape)}"
    shape = stored.array.shape if isinstance(stored, Bits) else getattr(stored, "shape", None)
    return type(stored).__name__ if shape is None else f"{stored.dtype} {tuple(shape)}"


def _sparse_to_arrays(tensor: Any) -> dict[str, Any]:
    """A sparse tensor's indices and values, by its layout."""
    layout, size = str(tensor.layout), tuple(tensor.shape)
    if layout == "torch.sparse_coo":
        tensor = tensor.coalesce()
        indices = [tensor.indices()]
    else:
        indices = [getattr(tensor, name)() for name in _COMPRESSED[layout]]
    values = to_array(tensor.values())
    return {_SPARSE: layout, "size": size, "indices": [to_array(one) for one in indices], "values": values}


def _sparse_from_arrays(stored: Mapping[str, Any]) -> Any:
    import torch

    kind, values = stored[_SPARSE], to_tensor(stored["values"])
    if kind == "complex32":
        return torch.view_as_complex(values)
    indices, size = [to_tensor(one) for one in stored["indices"]], stored["size"]
    if kind == "torch.sparse_coo":
        return torch.sparse_coo_tensor(*indices, values, size, is_coalesced=True, check_invariants=False)
    layout = _of_torch(kind.removeprefix("torch."), torch.layout)
    return torch.sparse_compressed_tensor(*indices, values, size, layout=layout, check_invariants=False)
