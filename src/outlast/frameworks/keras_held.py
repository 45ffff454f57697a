"""What a Keras model holds in its attributes, beside the state that Keras itself counts as the model's.

``model.variables`` has no optimizers, no metrics, and nothing of a list in an object of the user's own. So
the attributes are walked, nearest first: a model's, its layers', those of the user's objects, and whatever
lists and dicts are among them. A thing is known by where it was found, such as ``d_optimizer`` or
``trackers.0``: that is the same in every start of a script, as Keras's own names are not.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from outlast.core.asking import asked
from outlast.exceptions import RunChanged
from outlast.frameworks.tensors import to_tensor

_AT_MOST = 1000  # items of a list or a dict; a longer one holds data
_NOT_THE_USERS = {
    *sys.stdlib_module_names,
    "numpy",
    "tensorflow",
    "torch",
    "jax",
    "jaxlib",
    "outlast",
    "keras",
}


@dataclass(frozen=True)
class Held:
    """What was found, by its place.

    Args:
        optimizers: whole ones; what they are made of is not found again.
        variables: Keras's, those of metrics and seed generators, TensorFlow's, and PyTorch's buffers.
    """

    optimizers: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)


def held(model: Any) -> Held:
    """What the model holds beside ``model.variables`` and ``model.optimizer``."""
    found = Held()
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(model, keras.Model):  # an object that looks like a model
        return found
    seen = {id(one) for one in (*model.variables, *_inner(getattr(model, "optimizer", None)))}
    reset = {id(one) for one in model.metrics if _is_reset(one)}
    for place, thing, kind in _walk(model):
        if id(thing) in seen or id(thing) in reset:
            continue
        if kind == "optimizer":
            found.optimizers[place] = thing
        for name, variable in _variables(thing, kind, place):
            if id(variable) not in seen:
                seen.add(id(variable))
                found.variables[name] = variable
    inner = {id(one) for optimizer in found.optimizers.values() for one in _inner(optimizer)[1:]}
    for place in [place for place, one in found.optimizers.items() if id(one) in inner]:
        del found.optimizers[place]
    if hasattr(model, "named_buffers"):  # a torch module, on that backend
        found.variables.update({f"buffers.{name}": one for name, one in model.named_buffers()})
    return found


def _walk(model: Any) -> Iterator[tuple[str, Any, str]]:
    """Place, thing and kind of all that is found and is no container."""
    waiting, seen = deque([("", model, "attributes")]), {id(model)}
    while waiting:
        place, thing, kind = waiting.popleft()
        for name, inner in _items(thing, kind):
            found = _kind(inner.__class__)
            if found is None or id(inner) in seen:
                continue
            seen.add(id(inner))
            at = f"{place}.{name}" if place else str(name)
            if found in ("dict", "list", "attributes"):
                waiting.append((at, inner, found))
            else:
                yield at, inner, found


@lru_cache(4096)  # a model has thousands of attributes, of few classes
def _kind(cls: type) -> str | None:
    """What to make of the things of a class; None if they cannot hold anything."""
    import keras

    kinds: dict[str, Any] = {
        "variable": keras.Variable,
        "generator": keras.random.SeedGenerator,
        "metric": keras.metrics.Metric,
        "optimizer": keras.optimizers.Optimizer,
        "attributes": keras.layers.Layer,
        "dict": Mapping,
        "list": (list, tuple),
    }
    for kind, of in kinds.items():
        if issubclass(cls, of):
            return kind
    if cls.__module__.partition(".")[0] == "tensorflow" and hasattr(cls, "assign"):
        return "variable"
    is_callback = hasattr(cls, "on_epoch_end")
    return "attributes" if is_the_users(cls) and not is_callback else None


def is_the_users(cls: type) -> bool:
    """Whether a class is neither a framework's nor of the standard library."""
    return cls.__module__.partition(".")[0] not in _NOT_THE_USERS


def _items(thing: Any, kind: str) -> Iterable[tuple[Any, Any]]:
    """What is in a container, or in the attributes of what a user may have made or written to."""
    if kind == "attributes":
        attributes = asked(thing, "__dict__", {})
        items = [
            (name, one)
            for name, one in attributes.items()
            if _kind(one.__class__) is not None and not name.startswith("_self_")
        ]  # few of many
        return sorted(items, key=lambda item: item[0].startswith("_"))  # names that people know come first
    if len(thing) > _AT_MOST:
        return ()
    return list(thing.items()) if kind == "dict" else enumerate(thing)


def _variables(thing: Any, kind: str, place: str) -> Iterator[tuple[str, Any]]:
    if kind == "variable":
        yield place, thing
    elif kind == "generator":
        yield f"{place}.state", thing.state
    elif kind == "metric" and not _is_compiled(thing):
        yield from ((f"{place}.{index}", one) for index, one in enumerate(thing.variables))


def _inner(optimizer: Any) -> list[Any]:
    """An optimizer, and those that it is made of."""
    if optimizer is None:
        return []
    several = [*getattr(optimizer, "optimizers", ()), getattr(optimizer, "inner_optimizer", None)]
    return [optimizer, *(one for inner in several for one in _inner(inner))]


def _is_reset(metric: Any) -> bool:
    """Whether it begins each epoch at nothing: ``fit`` calls ``reset_state`` of ``model.metrics``."""
    module: str = type(metric).reset_state.__module__
    return module.partition(".")[0] == "keras"


def _is_compiled(metric: Any) -> bool:
    """Whether it is the one that ``compile`` makes of several; it is built late, and reset by ``fit``."""
    return type(metric).__name__ in ("CompileMetrics", "MetricsList")


def built_on(optimizer: Any, known: Sequence[Any]) -> list[int] | None:
    """Where in ``known`` the variables are that it was built on, -1 if nowhere; None if it is not built.

    Keras has no public name for them, and a step fails on any other.
    """
    if not optimizer.built:
        return None
    places = {id(variable): place for place, variable in enumerate(known)}
    return [places.get(id(one), -1) for one in getattr(optimizer, "_trainable_variables", ())]


def build(name: str, optimizer: Any, known: Sequence[Any], places: Sequence[int]) -> None:
    """Build it as it was, the inverse of :func:`built_on`.

    Raises:
        RunChanged: it was built on what cannot be found now.
    """
    if not all(0 <= place < len(known) for place in places):
        raise RunChanged(
            f"the {name} was built on variables that the model does not hold: make what it trains an "
            f"attribute of the model, or call optimizer.build(...) before fit"
        )
    optimizer.build([known[place] for place in places])


def assign(variable: Any, value: Any) -> None:
    """Set a variable of Keras's or TensorFlow's, or a buffer of PyTorch's."""
    if hasattr(variable, "assign"):
        variable.assign(value)
    else:
        variable.copy_(to_tensor(value))
