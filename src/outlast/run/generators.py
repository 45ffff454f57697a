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
from outlast.frameworks.orders import Order
from outlast.run import left_loaders

Saved = Mapping[str, Any]


@dataclass(frozen=True)
class Firsts:
    """How the loaders were when a run was first started, if that start saved nothing.

    Args:
        known: checksums of them, by their turn.
        record: called with the turn and the checksum of another.
    """

    known: Mapping[int, int]
    record: Callable[[int, int], object]


@dataclass
class _Known:
    """The generators of one loader, or of several that came one after the other.

    Args:
        loader: a weak reference; gives None once the loader is gone.
        generators: by place, as ``loaders.generators`` and ``loaders.orders`` find them.
        born: a checksum of their states when they were first seen.
        kind: "lasting" if they were used again; "fresh" if they replaced others that are gone: then the
            script makes them in every epoch, and a resume must put nothing back.
        set_here: orders that the script has set in this start, unless it makes the loader in every epoch.
        renewed: places of what the script makes in every epoch, though it does not all: a loader of a
            dataset that it made once. A resume puts nothing back there.
    """

    loader: Callable[[], Any]
    generators: dict[str, Any]
    born: int
    kind: Literal["new", "lasting", "fresh"] = "new"
    set_here: Sequence[str] = ()
    renewed: frozenset[str] = frozenset()

    def saved(self, *, inside: bool) -> dict[str, Any]:
        """For a resume point; inside an epoch that is where the script has made them already."""
        states = {} if self.kind == "fresh" and not inside else loaders.states(self.generators)
        states = {place: one for place, one in states.items() if inside or place not in self.renewed}
        return {"born": self.born, "kind": self.kind, "states": states}


class Generators:
    """Knows the loaders' generators, and puts those of a resumed training back.

    Args:
        saved: of an earlier start; None if there was none.
        firsts: of a run that has saved nothing yet.
        tell: called with what is not known for certain, as a phrase.
        inside: they were saved inside the epoch that goes on, in which the script makes them as before.
    """

    def __init__(
        self,
        saved: Sequence[Saved] | None = None,
        firsts: Firsts | None = None,
        tell: Callable[[str], object] = lambda text: None,
        *,
        inside: bool = False,
    ) -> None:
        self._saved: list[Saved | None] = list(saved or ())  # None: recognised
        self._known: list[_Known] = []
        self._resumes = 0 if saved is None else 2  # until so many epochs have begun
        self._firsts, self._tell, self._inside = firsts, tell, inside
        self._begun = 0  # epochs

    def begin_epoch(self) -> None:
        """From the second epoch after a resume on, a loader was seen before, or is new."""
        self._resumes = max(0, self._resumes - 1)
        self._begun += 1

    def meet(self, iterable: Any) -> None:
        """Before it is iterated: a loader, or what wraps one or several."""
        for found in loaders.within(iterable):
            self._meet(found)
        for order in self._orders():
            order.begin()

    def leave(self) -> None:
        """No loader is iterated any more."""
        for order in self._orders():
            order.leave()

    def _orders(self) -> list[Order]:
        return [one for known in self._known for one in known.generators.values() if isinstance(one, Order)]

    def holds(self, value: Any) -> bool:
        """Whether a value is one of a loader that was met."""
        return any(value is one for known in self._known for one in known.generators.values())

    def _meet(self, found: loaders.Found) -> None:
        sources = {**loaders.generators(found.holder), **loaders.orders(found.holder)}
        if not sources:
            if self._resumes:
                loaders.begin_workers(found.holder)
            return
        for known in self._known:
            if any(_are_same(new, old) for new in sources.values() for old in known.generators.values()):
                born = {place: one for place, one in known.generators.items() if place in sources}
                same = {place: one for place, one in born.items() if _are_same(one, sources[place])}
                known.loader, known.kind = weakly(found.holder), "lasting"
                known.generators, known.renewed = {**sources, **same}, frozenset(born.keys() - same.keys())
                self._tell_of_set(known)
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
            new.kind, new.born = saved["kind"], saved["born"]
            loaders.begin_workers(found.holder)
            new.set_here = loaders.restore(new.generators, saved["states"])
            if saved["kind"] == "lasting":
                new.renewed = frozenset(new.generators.keys() - saved["states"].keys())
            if self._inside or saved["kind"] != "new":
                self._tell_of_set(new)
            if found.begun and saved["states"]:
                loaders.begin_again(found)
        elif self._firsts is not None and self._begun <= 1:
            self._compare_with_first(new, self._firsts)
        self._known.append(new)

    def _tell_of_set(self, known: _Known) -> None:
        for name in known.set_here:
            self._tell(f"the script has set {name} in this start, and what was saved of it is not used")
        known.set_here = ()

    def end(self) -> None:
        """No other epoch comes to show which loaders the script makes again in it."""
        for known in self._known:
            if known.loader() is not None:
                self._tell_of_set(known)

    def _recognised(self, new: _Known) -> Saved | None:
        for place, saved in enumerate(self._saved):
            if saved and self._is(new, saved, place):
                self._saved[place] = None
                return saved
        return None

    def _is(self, new: _Known, saved: Saved, place: int) -> bool:
        """Whether a loader is one that was saved; if an earlier Run has used it, it is moved on first."""

        def is_born_so() -> bool:
            return bool(_checksum(new.generators) == saved["born"])

        def is_as_it_was() -> bool:
            return is_born_so() and loaders.are_as_before(new.generators, saved["states"])

        found = is_as_it_was() or left_loaders.bring(new.generators, new.born, is_as_it_was)
        return found or is_born_so() or (place == len(self._known) and saved["kind"] == "lasting")

    def _compare_with_first(self, new: _Known, firsts: Firsts) -> None:
        """Nothing is saved yet: a loader must be as it was in the first start, or nobody knows how."""
        turn, now = len(self._known), _checksum_of_all(new.generators)
        first = firsts.known.get(turn)
        if first is None:
            firsts.record(turn, now)
            for shown in left_loaders.whose(new.generators, new.born):
                self._tell(
                    f"the loader may be one that {shown} used, and it is not known where that left it: pass "
                    "its generator or its sampler to both as a part, Run(..., rng=generator), or make a "
                    "loader for each Run"
                )
        elif first != now and not left_loaders.bring(
            new.generators, new.born, lambda: _checksum_of_all(new.generators) == first
        ):
            self._tell(
                "the loader, or its sampler, is not as it was when the run was first started: it has another "
                "seed, or was used meanwhile; make it again, in a notebook by running its cell too"
            )

    def restore(self, saved: Sequence[Saved]) -> None:
        """Give the known generators the states that they had."""
        for known, one in zip(self._known, saved, strict=False):
            loaders.restore(known.generators, one["states"], anyway=True)

    def state(self, *, inside: bool = False) -> list[Saved]:
        """What the next epoch's order of batches depends on, beside the global generators.

        Args:
            inside: what the rest of this epoch depends on.
        """
        return [*(known.saved(inside=inside) for known in self._known), *filter(None, self._saved)]


def _are_same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, Order) and one.is_of(other))


def _checksum(found: Mapping[str, Any]) -> int:
    """Of the generators, in which orders count by their number alone: the script may set them before."""
    states = [(place, one) for place, one in loaders.now(found).items() if not loaders.is_held(place)]
    return _crc(["order" if isinstance(found[place], Order) else one for place, one in states])


def _checksum_of_all(found: Mapping[str, Any]) -> int:
    now = loaders.now({place: one for place, one in found.items() if not isinstance(one, Order)})
    return _crc([one.surely() if isinstance(one, Order) else now[place] for place, one in found.items()])


def _crc(states: Any) -> int:
    return zlib.crc32(repr(_plain(states)).encode())


def _plain(state: Any) -> Any:
    """Without NumPy's way to leave out the middle of what it shows."""
    if isinstance(state, Mapping):
        return {key: _plain(value) for key, value in state.items()}
    if isinstance(state, tuple | list):
        return [_plain(value) for value in state]
    return state.tobytes() if has(state, "tobytes") else state
