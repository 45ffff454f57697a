"""Where a script is killed: in a batch, in a validation, in a save, and in the recovery from that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from random import Random

from outlast.run.rehearsal import BATCH, CALL, VALIDATION

_RECOVERY = 12  # calls at the least, with those for the lock


@dataclass(frozen=True)
class Place:
    """Where to kill.

    Args:
        words: the place, for people.
        kills: one for each process that is killed: what, and how many of these have begun.
    """

    words: str
    kills: tuple[tuple[str, int], ...]


def places(counts: Mapping[str, int], number: int, rng: Random) -> list[Place]:
    """So many places, of each kind in turn.

    Args:
        counts: what happens in a process that nobody kills.
        number: how many.
        rng: chooses.

    Example:
        >>> [place.words for place in places({"batch": 30, "call": 90}, 3, Random(1))]
        ['in batch 18', 'in a save (call 82)', 'in a save (call 50), and in the recovery (call 5)']
    """
    return list(islice(_in_turn(counts, rng), number))


def _in_turn(counts: Mapping[str, int], rng: Random) -> Iterator[Place]:
    def one_of(what: str) -> int:
        return rng.randint(counts[what] // 2 + 1, counts[what])  # where something is saved

    def in_batch() -> Place:
        number = one_of(BATCH)
        return Place(f"in batch {number}", ((BATCH, number),))

    def in_validation() -> Place:
        number = one_of(VALIDATION)
        return Place(f"in validation {number}", ((VALIDATION, number),))

    def in_save() -> Place:
        number = one_of(CALL)
        return Place(f"in a save (call {number})", ((CALL, number),))

    def in_recovery() -> Place:
        saved, again = one_of(CALL), rng.randint(1, _RECOVERY)
        words = f"in a save (call {saved}), and in the recovery (call {again})"
        return Place(words, ((CALL, saved), (CALL, again)))

    kinds = [(BATCH, in_batch), (VALIDATION, in_validation), (CALL, in_save), (CALL, in_recovery)]
    return (make() for make in cycle([make for what, make in kinds if counts.get(what)]))
