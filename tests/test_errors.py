"""Errors come whole through a process pool: pickled, and copied."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import Any

import pytest

import outlast
from outlast import exceptions
from outlast.exceptions import (
    DamagedFile,
    FileError,
    MissingExtra,
    OutlastWarning,
    RunLocked,
    UnknownFormat,
    warn,
)


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


def called_from(filename: str, module: str, inner: Any) -> Any:
    """A function in such a file, which calls another in its second line."""
    names: dict[str, Any] = {"inner": inner, "__name__": module}
    exec(compile("def call():\n    inner()", filename, "exec"), names)
    return names["call"]


def test_a_warning_points_at_the_users_line_and_not_into_a_package() -> None:
    """A progress bar fetches batches in its own code, where the user can change nothing."""
    ours = called_from("/env/lib/site-packages/outlast/run.py", "outlast.run", partial(warn, "look"))
    bar = called_from("/env/lib/site-packages/tqdm/std.py", "tqdm.std", ours)
    with pytest.warns(OutlastWarning) as caught:
        called_from("/home/me/train.py", "train", called_from("/usr/lib/dist-packages/a.py", "a", bar))()
    assert (caught[0].filename, caught[0].lineno) == ("/home/me/train.py", 2)


def test_where_all_code_is_installed_a_warning_points_at_the_call_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = called_from("/env/lib/site-packages/outlast/run.py", "outlast.run", partial(warn, "look"))
    mine = called_from("/env/lib/site-packages/mine.py", "mine", ours)
    monkeypatch.setattr(exceptions, "_INSTALLED", {*__file__.split("/"), "site-packages", "lib", "bin"})
    with pytest.warns(OutlastWarning) as caught:
        mine()
    assert (caught[0].filename, caught[0].lineno) == ("/env/lib/site-packages/mine.py", 2)
