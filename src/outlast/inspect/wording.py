"""What is wrong with a run, in the words of somebody who only looks and changes nothing."""

from __future__ import annotations

import os

from outlast.storage.survey import Survey

_FEW = 5  # names
_LONGEST = 300  # characters of a reason


def problems(folder: str, found: Survey) -> list[str]:
    """What a survey found wrong, as phrases."""
    return [
        *(f"resume point {number}: {reason(folder, why)}" for number, why in found.unusable.items()),
        *(
            f"{blob.name} is missing or damaged, but {twin.file} holds the same bytes"
            for blob, twin in found.replaceable.items()
        ),
        *(f"{blob.name} ({what}) is lost" for blob, what in found.lost.items()),
    ]


def prospects(folder: str, found: Survey) -> list[str]:
    """What a start would set aside, as phrases."""
    others = found.foreign
    more = f" and {len(others) - _FEW} more" if len(others) > _FEW else ""
    return [
        *(
            f"resume point {number} would be set aside: {reason(folder, why)}"
            for number, why in found.unusable.items()
        ),
        *([f"files of another run would be set aside: {', '.join(others[:_FEW])}{more}"] if others else ()),
    ]


def reason(folder: str, why: str) -> str:
    """Why a resume point cannot be used, without its path, which the reader sees already.

    Example:
        >>> reason("runs/a", "runs/a/resume-00000009 is damaged: it is too short for its header.")
        'it is too short for its header'
    """
    text = why.replace(os.path.join(folder, ""), "").rstrip(".")[:_LONGEST]
    return text.partition(": ")[2] if text.startswith(("resume-", "Cannot read")) else text
