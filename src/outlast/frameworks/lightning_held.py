"""What the objects of a training with Lightning hold in plain attributes.

These are the module, the user's own callbacks and the data module. Modules and optimizers among their
attributes, such as averaged weights or a probe that a callback trains, are saved like a state of their own.
All else is watched, and named when training changes it: numbers, texts, what lists and dicts hold, and the
attributes of plain objects.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from itertools import count
from types import FunctionType
from typing import Any

import numpy as np

from outlast.core.asking import asked, has
from outlast.frameworks import lightning_beside as beside
from outlast.frameworks import modules, optimizers, random_state
from outlast.frameworks.attributes import Attribute, checksum, is_tensor
from outlast.frameworks.bystanders import is_bystander
from outlast.frameworks.closures import closure

_DEPTH = 5  # of dicts in lists in objects
_ENDS = 32  # members at either end of a list
_MOST = 5000  # values of one attribute
_ATOMS = (bool, int, float, complex, str, bytes, type(None))
_CONTAINERS = (list, tuple, deque, set, frozenset, Mapping)


def saved(trainer: Any) -> dict[str, Any]:
    """Modules and optimizers that nothing else saves, by where they are held."""
    module = trainer.lightning_module
    known = {id(one) for one in (*module.modules(), *trainer.optimizers)}
    known |= {id(one) for one in trainer.strategy._lightning_optimizers}
    weights = {id(one) for one in (*module.parameters(), *module.buffers())}
    found = {}
    for place, _, value in _attributes(trainer):
        for name, one in _members(place, value):
            if id(one) in known or not _has_weights(one, weights):
                continue
            known |= {id(one), *map(id, one.modules() if modules.is_module(one) else ())}
            found[name] = one
    return found


def watched(trainer: Any, parts: Collection[int]) -> Iterator[Attribute]:
    """What is looked at: tensors as they are, all else by a checksum; but no parts of the Run."""
    of_module = {place for place, _, _ in _of_modules(trainer.lightning_module)}
    for place, kind, value in _attributes(trainer):
        if id(value) in parts:
            continue
        if is_tensor(value):
            yield place, kind, value
        elif (found := _Look(generators=place not in of_module).seen(value, _DEPTH)) is not None:
            yield place, kind, zlib.crc32(repr(found).encode())
    for path, inner in trainer.lightning_module.named_modules():  # one that grows is a smaller one at first
        yield f"the modules in {path or 'the module'}", type(inner), len([*inner.children()])


def way_to_save(trainer: Any, place: str) -> str:
    """What to do so that something is saved."""
    if place.partition(".")[0] in beside.unsaved(trainer):
        return "give a callback or a data module a state_dict() and a load_state_dict()"
    if place.startswith("the modules in "):
        return "make all modules before the training"
    values = {name: value for name, _, value in _of_modules(trainer.lightning_module)}
    if isinstance(values.get(place), (list, deque)):
        return (
            "have self.log(..., on_epoch=True) or a metric of torchmetrics gather what comes of batches, and "
            "keep other lists in a callback with a state_dict() and a load_state_dict()"
        )
    return (
        "make a number or tensor a buffer, self.register_buffer(name, torch.tensor(value)), and keep other "
        "things in a callback with a state_dict() and a load_state_dict()"
    )


def _attributes(trainer: Any) -> Iterator[Attribute]:
    """All plain attributes, with the names that a user knows them by."""
    yield from _of_modules(trainer.lightning_module)
    for name, owner in beside.unsaved(trainer).items():
        usual = beside.usual(owner)
        for attribute, value in vars(owner).items():
            if attribute not in usual:
                yield f"{name}.{attribute}", type(owner), value


def _of_modules(module: Any) -> Iterator[Attribute]:
    usual = beside.usual(module)
    for place, kind, value in modules.attributes(module):
        if place.rpartition(".")[2] not in usual:
            yield "hparams" if place == "_hparams" else place, kind, value


def _members(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A value, or what a list or dict holds."""
    if isinstance(value, Mapping):
        yield from ((f"{place}.{key}", one) for key, one in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"{place}.{index}", one) for index, one in enumerate(value))
    else:
        yield place, value


def _has_weights(thing: Any, known: set[int]) -> bool:
    """Whether it is an optimizer, or a module that has more than what the trained one has."""
    if isinstance(thing, (type, *_ATOMS)):
        return False
    if optimizers.is_optimizer(thing):
        return True
    if not modules.is_module(thing):
        return False
    tensors = (*thing.parameters(), *thing.buffers())
    return bool(modules.metrics(thing)) or any(id(one) not in known for one in tensors)


class _Look:
    """One look at a value: what is seen is the same as long as nothing in it is seen to change.

    Args:
        generators: random generators are looked at, too, for nobody saves them.
    """

    def __init__(self, *, generators: bool) -> None:
        self._generators, self._left = generators, _MOST

    def seen(self, value: Any, depth: int) -> Any:
        """What is seen of a value; None of what is not looked into."""
        self._left -= 1
        if isinstance(value, (*_ATOMS, np.generic)):
            return repr(value)
        if depth < 1 or self._left < 1 or isinstance(value, type):
            return None
        if is_tensor(value) or isinstance(value, np.ndarray):
            return _numbers(value)
        if isinstance(value, _CONTAINERS):
            return self._of_container(value, depth)
        if isinstance(value, FunctionType):
            kept = closure(value)
            return None if kept is None else self._of_container(vars(kept), depth)
        if random_state.is_generator(value):
            return repr(random_state.of_generator(value)) if self._generators else None
        if has(type(value), "__next__") and not has(value, "write"):
            return next(_looks)  # where it stands, nobody can see
        return self._of_object(value, depth)

    def _of_container(self, value: Any, depth: int) -> Any:
        if isinstance(value, (set, frozenset)):
            return len(value), sorted(map(repr, value))[:_ENDS]
        members = [*value.items()] if isinstance(value, Mapping) else [*value]
        ends = members if len(members) <= 2 * _ENDS else members[:_ENDS] + members[-_ENDS:]
        return len(members), [self.seen(one, depth - 1) for one in ends]

    def _of_object(self, value: Any, depth: int) -> Any:
        """Of the attributes of a plain object; others look after modules, optimizers and the like."""
        own = asked(value, "__dict__")
        if callable(value) or is_bystander(value) or not isinstance(own, dict):
            return None
        return self._of_container(own, depth)


def _numbers(array: Any) -> Any:
    try:
        return tuple(array.shape), checksum(array)
    except Exception:  # no numbers at hand
        return None


_looks = count()  # no two are the same
