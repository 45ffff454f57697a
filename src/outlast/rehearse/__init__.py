"""``outlast rehearse``: a crash test for one's own script.

The script is run unchanged for a few epochs: once through, once again, then killed at several places and
started again. What its runs hold in the end is compared with what the first one held.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from outlast.exceptions import UsageError
from outlast.rehearse.outcome import Outcome, difference, run_name, unused_generators
from outlast.rehearse.places import places
from outlast.rehearse.script import Script, ScriptFailed
from outlast.rehearse.tries import Tries

Say = Callable[[str], object]


@dataclass(frozen=True)
class Row:
    """What came of one try.

    Args:
        place: where the script was killed, in words.
        resumed: where it went on, in words; "" if nobody stopped it.
        difference: what differs first from the first time; "" if all is identical.
        cause: the likely cause of that; "" if none is known.
        folder: where its runs, its output and what the script wrote are kept; "" if they are deleted.
    """

    place: str
    resumed: str
    difference: str
    cause: str = ""
    folder: str = ""

    @property
    def identical(self) -> bool:
        """Whether all is as it was the first time."""
        return not self.difference


@dataclass(frozen=True)
class Rehearsed:
    """What came of it all.

    Args:
        folder: where the tries that differ are kept, and the first; "" if nothing is.
        rows: one for each try; the first of them is that of no kill, a second time.
        notes: what the script's runs said that they cannot resume exactly. A few epochs may not show it.
    """

    folder: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether every try ended as the first did."""
        return all(row.identical for row in self.rows)

    @property
    def repeatable(self) -> bool:
        """Whether the script gave the same results when nobody stopped it."""
        return self.rows[0].identical


def rehearse(
    script: str,
    arguments: Sequence[str] = (),
    *,
    kills: int = 5,
    epochs: int = 3,
    seed: int = 0,
    keep: bool = False,
    say: Say = lambda text: None,
) -> Rehearsed:
    """Run a script through, again, and with kills, and compare.

    Args:
        script: a ``.py`` or ``.ipynb`` file that trains in a ``Run``.
        arguments: the script's.
        kills: how often it is killed, at different places.
        epochs: how many epochs a training has at most, 2 or more.
        seed: of the choice of places.
        keep: whether to keep the files of every try, not only of those that differ.
        say: told what is done.

    Raises:
        FileError: there is no such script, or no room for a copy of its folder.
        ScriptFailed: the script ends with an error.
        UsageError: the script makes no Run, or one that never resumes.
    """
    tries = Tries.of(Script(script, tuple(arguments)), epochs)
    kept: list[str] = []
    try:
        say(tries.where)
        rows, notes = _all(tries, kills, random.Random(seed), keep, say)
        kept = [row.folder for row in rows if row.folder]
        kept += [tries.place("first")] if kept else []
        return Rehearsed(tries.folder if kept else "", rows, notes)
    except ScriptFailed as error:
        kept = [error.folder]
        raise
    finally:
        tries.tidy(kept)


def _all(
    tries: Tries, kills: int, rng: random.Random, keep: bool, say: Say
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Every try, one after the other; those that are identical are deleted, if they shall not be kept."""
    first = tries.run("first")
    _check_resumes(tries.program, first)
    say("once through: done")
    again = tries.run("again")
    _check_names(tries.program, first, again)
    ignored = unused_generators(first, again)

    def row(name: str, words: str, resumed: str, found: Outcome) -> Row:
        differs, cause = difference(first, found, ignored)
        is_kept = keep or differs
        if not is_kept:
            tries.drop(name)
        return Row(words, resumed, differs, cause, tries.place(name) if is_kept else "")

    rows = [row("again", "not killed, a second time", "", again)]
    say("once again: done")
    for number, place in enumerate(places(first.report.counts, first.report.saves, kills, rng), 1):
        found = tries.run(name := f"killed-{number}", place)
        rows.append(row(name, place.words, found.resumed, found))
        say(f"killed {place.words}: done")
    return tuple(rows), tuple(first.report.notes)


def _check_resumes(program: Script, first: Outcome) -> None:
    if set(first.runs) <= set(first.report.never):
        raise UsageError(
            f"{program.path} has a Run with resume='never', which begins anew at each start: after a kill "
            "nothing is resumed, so there is nothing to compare. Leave resume out, or set resume='auto'."
        )


def _check_names(program: Script, first: Outcome, again: Outcome) -> None:
    if missing := set(first.runs) - set(again.runs):
        raise UsageError(
            f"{program.path} made the run {run_name(min(missing))} the first time, and not the second time. "
            "To be resumed, a Run needs the same folder at each start: a name without a date, a process "
            "number or a random number."
        )
