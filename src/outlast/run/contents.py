"""Contents: everything that a resume point holds of a training, and when each part goes back.

A new thing to save is one more part in the list that a Run makes. A part says when it goes back, since
frameworks differ in nothing so much as in that: what a framework draws or builds between two moments
would undo what was put back too early.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from outlast.core.run_state import Moment
from outlast.exceptions import CapabilityError, OutlastError
from outlast.run.buffers import Buffers
from outlast.run.comparison import ROOT, Tree, unlike
from outlast.storage.format.encoding import decode, encode

_DETAILS = re.compile(r"state/(training|parts/[^/]+)/details/")


class Part(Protocol):
    """One thing that a later step depends on."""

    @property
    def name(self) -> str:
        """What it is called, in a resume point and in errors."""

    @property
    def moment(self) -> Moment:
        """When it goes back."""

    def collect(self) -> Tree:
        """What a later step depends on; its arrays may be live ones."""

    def check(self, saved: Tree) -> None:
        """Before anything is put back: whether :meth:`put_back` will take it.

        Raises:
            RunChanged: this training is not the one that was saved.
        """

    def put_back(self, saved: Tree) -> None:
        """Go on from what :meth:`collect` gave, perhaps in another process."""

    def restore(self, saved: Tree) -> None:
        """The same in the middle of a training, between two epochs."""


class Contents:
    """The parts of a training, collected and put back together."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = {part.name: part for part in parts}
        self._waiting: dict[str, Tree] = {}  # saved, to be put back at a later moment

    def collect(self) -> dict[str, Tree]:
        """What each part saves, by its name."""
        return {name: part.collect() for name, part in self._parts.items()}

    def begin(self, saved: Mapping[str, Tree]) -> None:
        """Go on from ``saved``: each part gets its own at its moment, by :meth:`put_back`.

        Raises:
            RunChanged: a part does not take it. Nothing is changed then.
        """
        self._waiting = {name: saved[name] for name in self._parts if name in saved}
        for name, tree in self._waiting.items():
            self._load(name, self._parts[name].check, tree)

    def set_since(self, saved: Mapping[str, Tree]) -> list[str]:
        """The names of values that are not as they were saved, as far as they have been put back."""
        names = [name for name in self._parts if name in saved and name not in self._waiting]
        return differences(
            {name: saved[name] for name in names}, {name: self._parts[name].collect() for name in names}
        )

    def put_back(self, moment: Moment) -> list[str]:
        """Put back the parts whose moment has come; what was saved of them is not kept any longer.

        Returns the names of values that are not what was saved.
        """
        wrong: list[str] = []
        for name in [name for name in self._waiting if self._parts[name].moment is moment]:
            saved = self._waiting.pop(name)
            self._load(name, self._parts[name].put_back, saved)
            wrong += differences({name: saved}, {name: self._parts[name].collect()})
        return wrong

    def restore(self, saved: Mapping[str, Tree]) -> None:
        """In the middle of a training, between two epochs: have all parts in ``saved`` be as it says."""
        for name, tree in saved.items():
            if name in self._parts:
                self._load(name, self._parts[name].restore, tree)

    def dry_run(self) -> list[str]:
        """Store and load every part once, in memory, before the first batch.

        What is live is collected, encoded, decoded, and loaded back into itself.

        Returns the names of values that are not what was saved.

        Raises:
            CapabilityError: something cannot be stored or loaded; the text names it.
        """
        saved = frozen(self.collect())
        for name in self._parts:
            self._load(name, self._parts[name].put_back, saved[name])
        return differences(saved, self.collect())

    def _load(self, name: str, load: Callable[[Tree], None], saved: Tree) -> None:
        try:
            load(saved)
        except OutlastError:
            raise
        except Exception as error:
            raise CapabilityError(
                f"{name} was saved, but cannot be loaded again: {type(error).__name__}: {error}"
            ) from error


def differences(saved: Tree, now: Tree) -> list[str]:
    """The names of values that are not what was saved, in the order in which they are stored.

    What is there beside them does not matter.

    Example:
        >>> differences({"a": {"b": 1.0, "c": 2}}, {"a": {"b": 1.0, "c": 2.0, "d": 3}})
        ['state/a/c']
    """
    return [*dict.fromkeys(map(_shown, unlike(saved, now)))]


def _shown(name: str) -> str:
    """A name as it is told: what is noted of types and kinds has no place that a user knows.

    Example:
        >>> _shown("state/parts/seen/details/types/state/counts")
        'the type of state/parts/seen/state/counts'
    """
    whose, _, noted = name.partition("/details/") if _DETAILS.match(name) else (name, "", "")
    kind, _, place = noted.partition("/")
    if kind == "types" and not place.startswith("$"):  # as older runs have it
        return f"the type of {whose}/{place}"
    return f"a type in {whose}" if noted else name


def frozen(tree: Tree) -> Tree:
    """A copy of a tree, arrays included."""
    encoded = encode(tree, ROOT)
    return decode(encoded.json_value, Buffers().copy(encoded.arrays).arrays, encoded.immutables)
