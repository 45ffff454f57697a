"""Errors come whole through a process pool: pickled, and copied."""

from __future__ import annotations

import copy
import pickle

import pytest

import outlast
from outlast.exceptions import DamagedFile, FileError, MissingExtra, RunLocked, UnknownFormat


def pickled(error: Exception) -> object:
    return pickle.loads(pickle.dumps(error))


ERRORS = [
    FileError("Cannot write x: full", path="x", errno=28),
    DamagedFile("x is damaged", path="x"),
    RunLocked("x is in use", path="x", errno=11),
    UnknownFormat("x is old", path="x", newer=False),
    MissingExtra("matplotlib", extra="plot", purpose="A picture"),
    outlast.RunChanged("another training"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]
)
def test_an_error_is_the_same_in_another_process(error: Exception, copied: object) -> None:
    other = copied(error)  # type: ignore[operator]
    assert (type(other), str(other)) == (type(error), str(error))
    for name in ("filename", "errno", "newer", "name"):
        assert getattr(other, name, None) == getattr(error, name, None)
