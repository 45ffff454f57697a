"""Beforehand: what a training is refused before its first batch, and what is said there not to be exact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.asking import has
from outlast.exceptions import UsageError
from outlast.frameworks.base import Control, Training
from outlast.run.foreign import unsaved, unsaved_beside
from outlast.run.own_loop import OwnLoop


def refuse_beside(run: OwnLoop) -> None:
    """Refuse what does a run's work a second time, in the same training.

    Raises:
        UsageError: there is such a callback.
    """
    control: Control = run.control
    beside = [*control.beside()]
    if sum(one is run for one in beside) > 1:
        raise UsageError(f"{run!r} is in the same training twice: pass it once.")
    for one in (*run.callbacks, *beside):
        reason = control.refused(one)
        if isinstance(one, OwnLoop) and one is not run:
            reason = "leave one out: a training is kept in one folder, pass all callbacks to one Run"
        if reason is not None:
            name = repr(one) if isinstance(one, OwnLoop) else type(one).__name__
            raise UsageError(f"{name} is in the same training as {run!r}: {reason}.")


def refuse_undone_rates(training: Training, callbacks: Iterable[Callback], parts: Mapping[str, Any]) -> None:
    """Refuse a callback that sets the rate beside a scheduler that sets it anew in each step.

    Raises:
        UsageError: there are both.
    """
    setting = next((type(one).__name__ for one in callbacks if one.sets_rates), None)
    for name, part in parts.items() if setting else ():
        if training.sets_rates_anew(part):
            raise UsageError(
                f"{setting} sets the learning rate, but the scheduler {name}={type(part).__name__} "
                "sets it again in each of its steps, whatever it is then: leave out one of the two."
            )


def inexact(run: OwnLoop, parts: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    """What a resume could not make identical, in phrases, each with its way out.

    Args:
        run: of the training that begins.
        parts: of the user's, by name.
        params: of the loop, as Keras has them, and its ``data``.
    """
    training = run.training
    theirs = [unsaved(one) for one in run.callbacks if not isinstance(one, Callback)]
    beside = unsaved_beside(run, run.control.beside())
    return [*training.inexact(params), *training.unsaved([*parts.values()]), *filter(None, theirs), *beside]


def lacking_optimizer(training: Training, parts: Mapping[str, Any]) -> list[str]:
    """What is said of a model that is trained without an optimizer that we know."""
    if not training.needs_optimizer or training.optimizers:
        return []
    if any(has(part, "param_groups") for part in parts.values()):
        return []
    return [
        "the optimizer is not saved, and begins anew: pass it, Run(..., optimizer=optimizer), or "
        "optimizer=[] if there is none"
    ]


def is_known(thing: Any, run: OwnLoop, parts: Mapping[str, Any]) -> bool:
    """Whether an object is what a run trains, or a piece of it, or saved with it."""
    model = run.model
    pieces = [*getattr(model, "layers", ()), *(model.modules() if hasattr(model, "modules") else ())]
    optimizers = run.training.optimizers.values()
    return any(thing is one for one in (run, model, *pieces, *optimizers, *parts.values(), *run.callbacks))
