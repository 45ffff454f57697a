"""Campaigns: trainings are killed at random, started again until they end, and compared."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from tests.crash.children import AtCall, AtMoment, Failed, Finished, run

Kill = AtMoment | AtCall

_RECOVERY = 12  # calls at the least, with those for the lock


@dataclass(frozen=True)
class Campaign:
    """One training, killed and started again until it ended.

    Args:
        kills: those that came before the end.
        differences: what its report has otherwise than that of an uninterrupted training; empty if
            they are identical.
    """

    kills: list[Kill]
    differences: list[str]


class Killer:
    """Kills one kind of training again and again.

    Args:
        training: name of a function of ``trainings``.
        folder: where runs are kept.
        seed: of all that is random here.
    """

    def __init__(self, training: str, folder: str, seed: int) -> None:
        self.training, self.folder, self.seed = training, folder, seed
        uninterrupted = run(training, os.path.join(folder, "uninterrupted"), fresh=True)
        assert uninterrupted is not None
        self.uninterrupted: Finished = uninterrupted

    def campaign(self, name: str, kills: Iterable[Kill]) -> Campaign:
        """Train in a new folder; each process is killed, but for the last that comes to the end."""
        folder = os.path.join(self.folder, name)
        came: list[Kill] = []
        try:
            for kill in kills:
                ended = run(self.training, folder, kill)
                if ended is not None:
                    return Campaign(came, self._differences(ended))
                came.append(kill)
            return Campaign(came, self._differences(run(self.training, folder)))
        except Failed as error:
            return Campaign(came, [f"does not go on ({error})"])

    def four_kills(self) -> list[Kill]:
        """Of one training: at a moment, in a save and again in the recovery from it, the same once more."""
        rng = Random(self.seed)
        kills = [self._moment(rng, 1, 2.5), self._save(rng, 1, 2.5), self._recovery(rng)]
        return [*kills, self._moment(rng, 1, 2.5), self._save(rng, 1, 2.5)]

    def random_kills(self, number: int) -> list[Kill]:
        """Of the campaign of that number: at a moment, in a save, or in a save and again and again."""
        rng = Random(f"{self.seed} {number}")
        whole = (0, len(self.uninterrupted.epochs))
        match number % 3:
            case 0:
                return [self._moment(rng, *whole)]
            case 1:
                return [self._save(rng, *whole)]
            case _:
                return [self._save(rng, *whole), self._recovery(rng), self._moment(rng, 0, 2)]

    def random_moment(self, number: int) -> list[Kill]:
        """Of the campaign of that number: once, at a moment."""
        rng = Random(f"{self.seed} {number}")
        return [self._moment(rng, 0, len(self.uninterrupted.epochs))]

    def _moment(self, rng: Random, first: float, last: float) -> AtMoment:
        epoch, share = divmod(rng.uniform(first, last), 1)
        return AtMoment(int(epoch), share * self.uninterrupted.epochs[int(epoch)])

    def _save(self, rng: Random, first: float, last: float) -> AtCall:
        epoch, share = divmod(rng.uniform(first, last), 1)
        an_epochs = len(self.uninterrupted.calls) / len(self.uninterrupted.epochs)
        return AtCall(int(epoch), int(share * an_epochs))

    def _recovery(self, rng: Random) -> AtCall:
        return AtCall(0, rng.randrange(_RECOVERY))

    def _differences(self, ended: Finished | None) -> list[str]:
        assert ended is not None
        right = self.uninterrupted.report
        return [part for part in right if ended.report.get(part) != right[part]]
