"""The random generators that a data loader holds beside the global ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlast.frameworks import random_state

_PLACES = ("", "sampler", "batch_sampler", "batch_sampler.sampler")


def generators(loader: Any) -> dict[str, Any]:
    """Every different generator by place: PyTorch's, or NumPy's (``Generator``, ``RandomState``)."""
    found: dict[str, Any] = {}
    for place in _PLACES:
        holder = loader
        for name in filter(None, place.split(".")):
            holder = getattr(holder, name, None)
        generator = getattr(holder, "generator", None)
        if generator is not None and not any(generator is known for known in found.values()):
            found[place] = generator
    return found


def states(found: Mapping[str, Any]) -> dict[str, Any]:
    """Their states, by place."""
    return {place: random_state.of_generator(generator) for place, generator in found.items()}


def restore(found: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Set them to their states."""
    for place, generator in found.items():
        if place in saved:
            random_state.set_generator(generator, saved[place])


def begin_workers(loader: Any) -> None:
    """Start persistent workers without consuming global randomness.

    They draw their seed once, when they start, and the run that is resumed had started them already.
    """
    if getattr(loader, "persistent_workers", False) and getattr(loader, "_iterator", None) is None:
        before = random_state.collect()
        iter(loader)
        random_state.restore(before)
