"""``outlast rehearse``: a crash test for one's own script.

The script is run unchanged for a few epochs: once through, once again, then killed at several places and
started again. What its runs hold in the end is compared with what the first one held.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from outlast.exceptions import UsageError
from outlast.rehearse.outcome import Outcome, difference, outcome, unused_generators
from outlast.rehearse.places import Place, places
from outlast.rehearse.script import Script
from outlast.run.rehearsal import Plan

Say = Callable[[str], object]


@dataclass(frozen=True)
class Row:
    """What came of one try.

    Args:
        place: where the script was killed, in words.
        resumed: where it went on, in words; "" if nobody stopped it.
        difference: what differs first from the first time; "" if all is identical.
        cause: the likely cause of that; "" if none is known.
    """

    place: str
    resumed: str
    difference: str
    cause: str = ""

    @property
    def identical(self) -> bool:
        """Whether all is as it was the first time."""
        return not self.difference


@dataclass(frozen=True)
class Rehearsed:
    """What came of it all.

    Args:
        folder: where the runs and the script's output are.
        rows: one for each try.
        notes: what the script's runs said that they cannot resume exactly. A few epochs may not show it.
    """

    folder: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether every try ended as the first did."""
        return all(row.identical for row in self.rows)


def rehearse(
    script: str,
    arguments: Sequence[str] = (),
    *,
    kills: int = 5,
    epochs: int = 3,
    seed: int = 0,
    say: Say = lambda text: None,
) -> Rehearsed:
    """Run a script through, again, and with kills, and compare.

    Args:
        script: a ``.py`` or ``.ipynb`` file that trains in a ``Run``.
        arguments: the script's.
        kills: how often it is killed, at different places.
        epochs: how many epochs a training has at most, 2 or more.
        seed: of the choice of places.
        say: told what is done.

    Raises:
        UsageError: the script fails, or makes no Run.
    """
    folder = tempfile.mkdtemp(prefix="outlast-rehearsal-")
    say(f"{script} is run in {folder}: its runs are kept there, and not where the script says.")
    program = Script(script, tuple(arguments))
    first = _through(program, Plan(os.path.join(folder, "first"), epochs))
    say("once through: done")
    again = _through(program, Plan(os.path.join(folder, "again"), epochs))
    ignored = unused_generators(first, again)
    rows = [Row("not killed, a second time", "", *difference(first, again, ignored))]
    say("once again: done")
    for number, place in enumerate(places(first.counts, kills, random.Random(seed)), 1):
        rows.append(_killed(program, os.path.join(folder, f"killed-{number}"), epochs, place, first, ignored))
        say(f"killed {place.words}: done")
    return Rehearsed(folder, tuple(rows), first.notes)


def _through(program: Script, plan: Plan) -> Outcome:
    """Run the script to its end."""
    program.run(plan)
    found = outcome(plan.folder)
    if not found.runs:
        raise UsageError(
            f"{program.path} ended, but kept nothing: it must train in an outlast.Run that has a folder."
        )
    return found


def _killed(
    program: Script, folder: str, epochs: int, place: Place, first: Outcome, ignored: frozenset[str]
) -> Row:
    """Run the script, kill it at its place, or at several in turn, and run it to its end."""
    for what, number in place.kills:
        if not program.run(Plan(folder, epochs, what, number)):
            return Row(place.words, "", "it ended before it could be killed there")
    found = _through(program, Plan(folder, epochs))
    return Row(place.words, found.resumed, *difference(first, found, ignored))
