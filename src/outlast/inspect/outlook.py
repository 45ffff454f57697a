"""Outlook: what a resume would do with a run's folder, worked out from a survey. Nothing is done."""

from __future__ import annotations

from dataclasses import dataclass

from outlast.core.run_state import RunState
from outlast.exceptions import DamagedFile
from outlast.inspect.record import Record
from outlast.storage import resume_points
from outlast.storage.survey import Survey


@dataclass(frozen=True)
class Outlook:
    """What a resume would do.

    Args:
        point: the resume point that it would take; None: it would start from nothing.
        epoch: the epoch that it would train next, from 0.
        finished: there is nothing to train with the settings of then.
        loses: what is in no file any more, as phrases.
        mends: what it would make again, from what, by the files' names.
    """

    point: int | None
    epoch: int
    finished: bool
    loses: tuple[str, ...]
    mends: dict[str, str]


def outlook(folder: str, found: Survey, record: Record | None) -> Outlook:
    """What a resume would take, lose and mend.

    Args:
        folder: the run's.
        found: a survey of it.
        record: of the resume point that the survey chose.
    """
    epoch = record.committed[0] + 1 if record else 0
    return Outlook(
        record.number if record else None,
        epoch,
        record.finished if record else False,
        (
            *(_training(folder, n, epoch) for n in sorted(found.unusable) if not record or n > record.number),
            *found.lost.values(),
        ),
        {blob.name: twin.file for blob, twin in found.replaceable.items()},
    )


def _training(folder: str, number: int, epoch: int) -> str:
    """The epochs that are trained again because resume point ``number`` cannot be used."""
    try:
        last = RunState.from_state(resume_points.peek(folder, number).state).position.next_epoch
    except (DamagedFile, LookupError, TypeError, ValueError):
        return f"what resume point {number} had beyond epoch {epoch}"
    if last == epoch + 1:
        return f"epoch {last}, to be trained again"
    return f"epochs {epoch + 1} to {last}, to be trained again"
