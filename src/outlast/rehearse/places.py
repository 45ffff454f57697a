"""Where a script is killed: in a batch, in a validation, in a save, and in the recovery from that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


def places(counts: Mapping[str, int], saves: Sequence[int], number: int, rng: Random) -> list[Place]:
    """So many places, of each kind in turn.

    Args:
        counts: what happens in a process that nobody kills.
        saves: for each resume point, how many calls have begun when it gets its name.
        number: how many.
        rng: chooses.

    Example:
        >>> counts, saves = {"batch": 30, "call": 90}, [20, 48, 75]
        >>> for place in places(counts, saves, 3, Random(1)):
        ...     print(place.words)
        in batch 18
        in a save (file operation 57)
        in a save (file operation 75), and in the recovery (file operation 2)
    """
    return list(islice(_in_turn(counts, saves, rng), number))


def within_saves(saves: Sequence[int]) -> tuple[int, int]:
    """The first and the last call at which a kill leaves an epoch that is safe, and one to train.

    What comes before the first resume point gets its name leaves nothing to resume, and after the last one
    has it the training is finished. With one save alone there is nothing better.

    Example:
        >>> within_saves([20, 48, 75]), within_saves([20])
        ((21, 75), (1, 20))
    """
    return (saves[0] + 1 if len(saves) > 1 else 1), saves[-1]


def _in_turn(counts: Mapping[str, int], saves: Sequence[int], rng: Random) -> Iterator[Place]:
    def one_of(what: str) -> int:
        return rng.randint(counts[what] // 2 + 1, counts[what])  # where something is saved

    def in_batch() -> Place:
        number = one_of(BATCH)
        return Place(f"in batch {number}", ((BATCH, number),))

    def in_validation() -> Place:
        number = one_of(VALIDATION)
        return Place(f"in validation {number}", ((VALIDATION, number),))

    def in_save() -> Place:
        number = rng.randint(*within_saves(saves))
        return Place(f"in a save (file operation {number})", ((CALL, number),))

    def in_recovery() -> Place:
        saved, again = rng.randint(*within_saves(saves)), rng.randint(1, _RECOVERY)
        words = f"in a save (file operation {saved}), and in the recovery (file operation {again})"
        return Place(words, ((CALL, saved), (CALL, again)))

    begun = {**counts, CALL: len(saves)}
    kinds = [(BATCH, in_batch), (VALIDATION, in_validation), (CALL, in_save), (CALL, in_recovery)]
    return (make() for make in cycle([make for what, make in kinds if begun.get(what)]))
