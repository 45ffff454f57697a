"""What this program has finished: so that one folder is not taken for two trainings.

In a loop over folds, each with a model of its own, the second fold would find the first one's finished run,
train nothing, and get weights that have seen its validation data. A cell that is run again looks the same,
and is right: it wants the weights and the history back.

The two differ in the code that is running. Python executes a script, and each run of a notebook's cell, in a
frame of its own, whose code is called ``<module>``. If the frame in which a run was finished is still being
executed, then the same program goes on: it is the next fold. If it has ended, a cell is run again. Frames of
installed packages say nothing of this (pytest's runs as long as all tests do), nor has another thread such a
frame. There the lines of the program decide: a loop comes to the same lines again, with other weights.

A frame that has ended keeps alive what its callers have in their variables, so such frames are dropped
whenever a run is opened or ends.
"""

from __future__ import annotations

import os
import site
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from outlast.exceptions import UsageError
from outlast.frameworks.base import weakly
from outlast.run.comparison import Leaves

Place = tuple[tuple["weakref.ref[CodeType]", int], ...]

_INSTALLED = tuple(
    os.path.join(form(prefix), "")
    for prefix in (sys.prefix, sys.base_prefix, site.getuserbase())
    for form in (os.path.abspath, os.path.realpath)
)


@dataclass(frozen=True)
class _Finished:
    """A run that was finished in this process.

    Args:
        program: the frame of the script or the cell that finished it; None if there is none.
        place: the lines of the program that opened it.
        initial: the weights with which its model began.
        model: a weak reference to it.
        epochs: how many were asked for; a script that takes its data in pieces asks for more each time.
    """

    program: FrameType | None
    place: Place
    initial: Leaves
    model: Callable[[], Any]
    epochs: int | None


_finished: dict[str, _Finished] = {}  # by the real path of the folder


def note(folder: str, place: Place, initial: Leaves, model: Any, epochs: int | None) -> None:
    """The run was opened at these lines, and finished by a model that began with these weights."""
    _finished[os.path.realpath(folder)] = _Finished(_program_now(), place, initial, weakly(model), epochs)


def check(folder: str, shown: str, place: Place, initial: Leaves, model: Any, epochs: int | None) -> None:
    """Refuse a training that would find nothing left to train, in the program that has finished the run.

    Args:
        folder: the run's, which is finished.
        shown: the same as the user wrote it.
        place: the lines at which it is opened.
        initial: the weights with which the model begins.
        model: the model, or what stands for it.
        epochs: how many are asked for.

    Raises:
        UsageError: the program that has finished it goes on, and comes to it again.
    """
    _drop_ended()
    one = _finished.get(os.path.realpath(folder))
    if one is None:
        return
    is_same = one.model() is model
    if is_same and (epochs or 0) > (one.epochs or 0):
        return
    if one.program is None and (is_same or one.place != place or one.initial == initial):
        return
    look = f"outlast.open_run({shown!r}) shows a finished run."
    if is_same:
        raise UsageError(
            f"{shown} was finished by this program already, with this model, and nothing is left to train: "
            "ask for more epochs (epochs counts those of all calls together), or train everything in one fit "
            f"or loop. {look}"
        )
    raise UsageError(
        f"{shown} was finished by this program already, with another model: nothing would be trained, and "
        "this model would get that one's weights. Give each training a folder of its own, for folds such as "
        f"f'runs/cv/{{fold}}', or begin again with resume='never'. {look}"
    )


def place_now() -> Place:
    """The lines that are being executed, the innermost of the user's first."""
    _drop_ended()
    return tuple(
        (weakref.ref(frame.f_code), frame.f_lineno)
        for frame in _stack(sys._getframe())
        if not frame.f_globals.get("__name__", "").startswith("outlast.")
    )


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _program_now() -> FrameType | None:
    """The frame of the script or the cell that is being executed: the innermost of a module's code."""
    frames = _stack(sys._getframe())
    return next((one for one in frames if _is_modules(one.f_code) and not _is_installed(one.f_code)), None)


def _is_modules(code: CodeType) -> bool:
    return code.co_name == "<module>" or code.co_name.startswith("<cell line")  # of IPython 8.0 to 8.6


def _is_installed(code: CodeType) -> bool:
    """Whether it is code of a package, not of a program; a cell's file need not be one."""
    forms = (os.path.abspath(code.co_filename), os.path.realpath(code.co_filename))
    return not code.co_filename.startswith("<") and any(form.startswith(_INSTALLED) for form in forms)


def _drop_ended() -> None:
    """Forget what was finished by a script or a cell that has ended, in whichever thread."""
    executed = [frame for top in sys._current_frames().values() for frame in _stack(top)]
    for folder, one in [*_finished.items()]:
        if one.program is not None and not any(one.program is frame for frame in executed):
            _finished.pop(folder, None)
