"""Generators: what data loaders hold that the order of their batches depends on.

A resumed script makes its loaders again, so nothing tells which of them is which but what they look
like. A loader is recognised by the state that its generators have when it is first used, since a seed
makes that the same in every start; else by its turn among the loaders, if it lasted over epochs. A
loader that the script makes again in every epoch gets nothing back: it is as it would have been.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from outlast.core.asking import has
from outlast.frameworks import loaders
from outlast.frameworks.base import weakly

Saved = Mapping[str, Any]


@dataclass
class _Known:
    """The generators of one loader, or of several that came one after the other.

    Args:
        loader: a weak reference; gives None once the loader is gone.
        generators: by place, as ``loaders.generators`` and ``loaders.plain`` find them.
        born: a checksum of their states when they were first seen.
        kind: "lasting" if they were used again; "fresh" if they replaced others that are gone: then the
            script makes them in every epoch, and a resume must put nothing back.
    """

    loader: Callable[[], Any]
    generators: dict[str, Any]
    born: int
    kind: Literal["new", "lasting", "fresh"] = "new"

    def saved(self) -> dict[str, Any]:
        """For a resume point."""
        states = {} if self.kind == "fresh" else loaders.states(self.generators)
        return {"born": self.born, "kind": self.kind, "states": states}


class Generators:
    """Knows the loaders' generators, and puts those of a resumed training back.

    Args:
        saved: of an earlier start; None if there was none.

    Attributes:
        kept: attributes of loaders that the script has set since, so that nothing was put back.
    """

    def __init__(self, saved: Sequence[Saved] | None = None) -> None:
        self._saved: list[Saved | None] = list(saved or ())  # None: recognised
        self._known: list[_Known] = []
        self.kept: list[str] = []
        self._resumes = 0 if saved is None else 2  # until so many epochs have begun

    def begin_epoch(self) -> None:
        """From the second epoch after a resume on, a loader was seen before, or is new."""
        self._resumes = max(0, self._resumes - 1)

    def meet(self, iterable: Any) -> None:
        """Before it is iterated: a loader, or what wraps one or several."""
        for found in loaders.within(iterable):
            self._meet(found)

    def _meet(self, found: loaders.Found) -> None:
        sources = _sources(found.holder)
        if not sources:
            if self._resumes:
                loaders.begin_workers(found.holder)
            return
        for known in self._known:
            if _share(sources, known.generators):
                born = {place: one for place, one in known.generators.items() if place in sources}
                known.loader, known.generators, known.kind = (
                    weakly(found.holder),
                    {
                        **sources,
                        **{place: one for place, one in born.items() if _are_same(one, sources[place])},
                    },
                    "lasting",
                )
                return
        self._add(_Known(weakly(found.holder), sources, _checksum(sources)), found)

    def _add(self, new: _Known, found: loaders.Found) -> None:
        for turn, known in enumerate(self._known):
            if known.loader() is None:
                new.kind = "fresh"
                self._known[turn] = new
                return
        saved = self._recognised(new)
        if saved is not None:
            new.kind = saved["kind"]
            loaders.begin_workers(found.holder)
            self.kept += loaders.restore(new.generators, saved["states"])
            if found.begun and saved["states"]:
                loaders.begin_again(found)
        self._known.append(new)

    def _recognised(self, new: _Known) -> Saved | None:
        turn = len(self._known)
        for place, saved in enumerate(self._saved):
            if saved and (saved["born"] == new.born or (place == turn and saved["kind"] == "lasting")):
                self._saved[place] = None
                return saved
        return None

    def hand_on(self, shown: str) -> None:
        """The run is finished and trains nothing here: bring its loaders to where it left them.

        Another run of the script may go on with them. A loader is recognised by its first state, if only
        one has it.

        Args:
            shown: the run's folder, for :func:`unclear`.
        """
        left = [one for one in self._saved if one and one["states"]]
        all_sources = [_sources(loader) for loader in loaders.alive()] if left else []
        for saved in left:
            alike: list[dict[str, Any]] = []
            for sources in all_sources:
                if _may_be(sources, saved) and not any(_share(sources, one) for one in alike):
                    alike.append(sources)
            if len(alike) == 1 and saved["kind"] == "lasting":
                loaders.restore(alike[0], saved["states"])
            else:
                _unclear.extend((sources, shown) for sources in alike)

    def restore(self, saved: Sequence[Saved]) -> None:
        """Give the known generators the states that they had."""
        for known, one in zip(self._known, saved, strict=False):
            loaders.restore(known.generators, one["states"], anyway=True)

    def state(self) -> list[Saved]:
        """What the next epoch's order of batches depends on, beside the global generators."""
        return [*(known.saved() for known in self._known), *filter(None, self._saved)]


# What may have been used by a run that was found finished: how far, nobody can tell.
_unclear: list[tuple[dict[str, Any], str]] = []


def unclear(iterable: Any) -> list[str]:
    """What nobody knows of a loader: where a finished run of this script has left it."""
    found = [_sources(one.holder) for one in loaders.within(iterable)] if _unclear else []
    return [
        f"the loader may be one that {shown} used, and it is not known where that left it: pass its "
        "generator or its sampler to both as a part, Run(..., rng=generator), or make a loader for each Run"
        for sources, shown in _unclear
        if any(_share(sources, one) for one in found)
    ]


def _sources(loader: Any) -> dict[str, Any]:
    return {**loaders.generators(loader), **loaders.plain(loader)}


def _may_be(sources: dict[str, Any], saved: Saved) -> bool:
    """Whether a loader is as one was before the run used it."""
    return (
        sources.keys() == saved["states"].keys()
        and _checksum(sources) == saved["born"]
        and loaders.are_as_before(sources, saved["states"])
    )


def _share(some: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Whether they have a generator in common, or attributes of one object."""
    return any(_are_same(one, other) for one in some.values() for other in others.values())


def _are_same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, loaders.Plain) and one.is_of(other))


def _checksum(found: Mapping[str, Any]) -> int:
    """Of the generators; the script may set plain attributes before a loader is first seen."""
    held = {place: one for place, one in found.items() if not isinstance(one, loaders.Plain)}
    states = [*map(_plain, loaders.states(held).values()), *[{}] * (len(found) - len(held))]
    return zlib.crc32(repr(states).encode())


def _plain(state: Any) -> Any:
    """Without NumPy's way to leave out the middle of what it shows."""
    if isinstance(state, Mapping):
        return {key: _plain(value) for key, value in state.items()}
    if isinstance(state, tuple | list):
        return [_plain(value) for value in state]
    return state.tobytes() if has(state, "tobytes") else state
