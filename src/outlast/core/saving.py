"""When to save a model, and under what name."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from outlast.core.decision import Action, Decision, Reason
from outlast.core.monitor import Direction, Monitor
from outlast.core.numbers import real
from outlast.exceptions import ArgumentError, TemplateError, nearest

LONGEST_NAME = 255  # bytes; what every common file system takes for one part of a path


@dataclass(frozen=True)
class SavingState:
    """What the saving rule remembers; Keras never resets it between fits."""

    best: float | None = None  # best value saved so far, in the metric's unit
    batches: int = 0  # batches since the last save
    last_batch: int | None = None  # index of the batch seen last
    direction: Direction | None = None  # what mode="auto" came to


@dataclass(frozen=True)
class SavingRule:
    """Save every epoch or every so many batches; always, or only the best.

    The arguments are those of :class:`outlast.ModelCheckpoint`.

    Source: Keras's ``ModelCheckpoint``; a missing metric never overwrites what is saved, NaN
    is never best, and whole numbers of batches work with ``save_best_only``.
    """

    monitor: Monitor = field(default_factory=Monitor)
    save_best_only: bool = False
    save_freq: str | int = "epoch"
    initial_value_threshold: float | None = None

    def __post_init__(self) -> None:
        freq = self.save_freq
        if freq != "epoch" and (isinstance(freq, (bool, str)) or not hasattr(freq, "__index__") or freq < 1):
            hint = nearest(freq, ["epoch"]) if isinstance(freq, str) else ""
            raise ArgumentError(
                f"Unrecognized save_freq: {freq!r}. "
                f"Expected save_freq are 'epoch' or integer values (batches, at least 1).{hint}"
            )
        if self.initial_value_threshold is not None:
            real(self.initial_value_threshold, "initial_value_threshold")

    def start(self) -> SavingState:
        """The state before the first epoch."""
        return SavingState(best=self.initial_value_threshold)

    def count(self, state: SavingState, batch: int) -> tuple[SavingState, bool]:
        """Count a batch (or, where several run in one step, those up to it): is a save due?"""
        new_epoch = state.last_batch is None or batch <= state.last_batch
        passed = batch + 1 if new_epoch else batch - (state.last_batch or 0)
        batches = state.batches + passed
        due = not isinstance(self.save_freq, str) and batches >= self.save_freq
        return replace(state, batches=0 if due else batches, last_batch=batch), due

    def update(
        self,
        state: SavingState,
        value: float | None,
        *,
        epoch: int,
        batch: int | None = None,
        saved: bool = True,
    ) -> tuple[SavingState, Decision]:
        """Judge the metric at a moment when a save is due.

        Args:
            state: what is remembered.
            value: the metric, None where it is missing; not looked at unless ``save_best_only``.
            epoch: from 0.
            batch: from 0; None at an epoch's end.
            saved: whether anything is saved under the name by now.
        """
        if not self.save_best_only:
            return state, self.unconditional(epoch, batch)
        direction = state.direction or self.monitor.direction(who="ModelCheckpoint")
        state = replace(state, direction=direction)
        values = {"monitor": self.monitor.name, "value": value, "best": state.best}
        if value is None:
            action, reason = (Action.SKIP, Reason.MISSING) if saved else (Action.SAVE, Reason.NOTHING_SAVED)
        elif self.monitor.better(value, state.best, direction):
            reason = Reason.FIRST_VALUE if state.best is None else Reason.IMPROVED
            values |= {"previous": state.best, "best": value}
            action, state = Action.SAVE, replace(state, best=value)
        else:
            action = Action.SKIP
            reason = Reason.NOT_A_NUMBER if math.isnan(value) else Reason.NOT_BETTER
        return state, Decision("ModelCheckpoint", action, reason, epoch, batch, values)

    def unconditional(self, epoch: int, batch: int | None = None, *, scalar: bool = True) -> Decision:
        """Save whatever the metric is."""
        values: dict[str, Any] = {"monitor": self.monitor.name}
        if batch is not None:
            values["batches"] = self.save_freq
        reason = Reason.EVERY_EPOCH if batch is None else Reason.EVERY_BATCHES
        if not scalar:
            reason = Reason.NOT_SCALAR
        return Decision("ModelCheckpoint", Action.SAVE, reason, epoch, batch, values)


class Template:
    """A file name with fields such as ``{epoch:03d}`` and ``{val_loss:.2f}``.

    Only ``{name}`` and ``{name:spec}`` are fields: no attributes, no indexing, no
    conversions, so that a template can read nothing but the metrics it is given.

    Raises:
        ArgumentError: the template cannot name a file, whatever the metrics are.

    Example:
        >>> Template("model-{epoch:02d}.keras").fill({"epoch": 7})
        'model-07.keras'
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ArgumentError(f"The file name {text!r} is no template: {error}.") from error
        self.fields = tuple(name for _, name, _, _ in parts if name is not None)
        for _, name, spec, conversion in parts:
            if name is not None:
                self._check_field(name, spec or "", conversion)
        self._check_name(re.sub(r"\{[^{}]*\}", "", text), ArgumentError)

    def _check_field(self, name: str, spec: str, conversion: str | None) -> None:
        wide = any(int(digits) > LONGEST_NAME for digits in re.findall(r"\d+", spec))
        plain = re.fullmatch(r"[^.\[\]!]+", name) and not name.isdigit() and not conversion
        if not plain or wide or re.search(r"[{}/\\\0]", spec):
            raise ArgumentError(
                f"The file name {self.text!r} has a field {{{name}}} that is not allowed: a field is the "
                "name of a metric, with a plain format, such as {epoch:03d} or {val_loss:.2f}."
            )

    def _check_name(self, path: str, error: type[ArgumentError] | type[TemplateError]) -> None:
        if "\0" in path:
            raise error(f"The file name {path!r} has a NUL character, which no file name can have.")
        longest = max(path.replace("\\", "/").split("/"), key=lambda part: len(part.encode()))
        if len(longest.encode(errors="surrogateescape")) > LONGEST_NAME:
            raise error(
                f"The file name {longest[:40]!r}... is {len(longest.encode())} bytes long; a name has "
                f"{LONGEST_NAME} at most."
            )

    def fill(self, values: Mapping[str, Any]) -> str:
        """The name, with the fields filled.

        Raises:
            TemplateError: a field is missing, does not take its format, or would lead into
                another folder.
        """
        chosen = {name: self._value(name, values) for name in self.fields}
        try:
            name = self.text.format(**chosen)
        except (KeyError, ValueError, TypeError) as error:
            raise self._failure(str(error)) from error
        self._check_name(name, TemplateError)
        return name

    def _value(self, name: str, values: Mapping[str, Any]) -> Any:
        if name not in values:
            names = ", ".join(values)
            raise self._failure(f"{name!r} is not among {names}.{nearest(name, values)}")
        value = values[name]
        if isinstance(value, str) and re.search(r"[/\\\0]|^\.\.?$", value):
            raise self._failure(f"{name!r} is {value!r}, which would lead into another folder")
        return value

    def _failure(self, reason: str) -> TemplateError:
        return TemplateError(f'Failed to format this callback filepath: "{self.text}". Reason: {reason}')
