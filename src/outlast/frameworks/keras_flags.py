"""Flags: which layers and variables of a Keras model are trained, where a training changes that itself.

What the script sets before ``fit`` is the script's, and is not touched. A step that is not traced follows the
flags at once: there they are saved and put back. Keras traces a step once in each fit, and what changes after
that does nothing until the next: that cannot be had again, and is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from outlast.frameworks.base import weakly
from outlast.frameworks.keras_layers import layers

_MOST_NAMED = 3


class Flags:
    """Knows the flags with which a training began."""

    def __init__(self) -> None:
        self._first: list[tuple[Callable[[], Any], bool]] = []
        self._told = False

    def begin(self, model: Any) -> None:
        """A training begins with the flags of now."""
        self._first = [(weakly(one), one.trainable) for one in _flagged(model).values()]
        self._told = False

    def changed(self, model: Any) -> dict[str, bool]:
        """The flags that are not what they were, by the places of layers and variables."""
        first = {id(thing): flag for one, flag in self._first if (thing := one()) is not None}
        return {
            place: one.trainable
            for place, one in _flagged(model).items()
            if one.trainable != first.get(id(one), one.trainable)
        }

    def told(self, model: Any) -> str:
        """The warning that some are not what they were; "" if all are, or once it was told."""
        changed = self.changed(model)
        if self._told or not changed:
            return ""
        self._told = True
        things = _flagged(model)
        found = [f"{things[place].name}.trainable is {flag}" for place, flag in changed.items()]
        named = ", ".join(found[:_MOST_NAMED]) + (" and more" if len(found) > _MOST_NAMED else "")
        return (
            f"Training has changed what is trained: {named}. Keras makes the step once, at the first batch: "
            "until the model is compiled again, the change does nothing, but a resumed training begins with "
            "it, or Keras refuses it. So a resume is not exact: set it between two fits, and call "
            "model.compile(...) after it."
        )


def put(model: Any, saved: Mapping[str, bool]) -> None:
    """Set the flags that :meth:`Flags.changed` gave, and no others."""
    wanted = {place: saved.get(place, one.trainable) for place, one in _flagged(model).items()}
    for _ in range(2):  # a layer sets the flags of what is in it; one may be in two
        for place, one in _flagged(model).items() if saved else ():
            if one.trainable != wanted[place]:
                one.trainable = wanted[place]


def _flagged(model: Any) -> dict[str, Any]:
    """What has a flag, by its place: a layer before what is in it."""
    inner = layers(model)
    found = {f"layers.{index}": one for index, one in enumerate(inner)}
    if inner:
        found |= {f"variables.{index}": one for index, one in enumerate(model.variables)}
    return found
