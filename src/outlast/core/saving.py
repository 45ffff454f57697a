"""When to save a model, and under which file name."""

from __future__ import annotations

import math
import posixpath
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from outlast.core.decision import Action, Decision, Reason
from outlast.core.monitor import Direction, Monitor
from outlast.core.numbers import flag, real, settle, to_python
from outlast.exceptions import ArgumentError, TemplateError, nearest

_COUNTS = ("epoch", "batch")
LONGEST_NAME = 255  # bytes, for each part of a path, on every common file system


@dataclass(frozen=True)
class SavingState:
    """What the rule remembers. As in Keras, it is kept from one fit to the next."""

    best: float | None = None  # best value saved so far, in the metric's unit
    batches: int = 0  # batches since the last save
    last_batch: int | None = None  # index of the last batch seen
    direction: Direction | None = None  # found for mode="auto"


@dataclass(frozen=True)
class SavingRule:
    """Save after every epoch or every so many batches; always, or only if the metric improved.

    The arguments are those of :class:`outlast.ModelCheckpoint`.

    Source: Keras's ``ModelCheckpoint``, but a missing metric never overwrites a saved model, NaN is
    never best, and ``save_best_only`` works with a number of batches.
    """

    monitor: Monitor = field(default_factory=Monitor)
    save_best_only: bool = False
    save_freq: str | int = "epoch"
    initial_value_threshold: float | None = None

    def __post_init__(self) -> None:
        freq = to_python(self.save_freq)
        if freq != "epoch" and (type(freq) is not int or freq < 1):
            hint = nearest(freq, ["epoch"]) if isinstance(freq, str) else ""
            raise ArgumentError(
                f"Unrecognized save_freq: {self.save_freq!r}. "
                f"Expected save_freq are 'epoch' or integer values (batches, at least 1).{hint}"
            )
        object.__setattr__(self, "save_freq", freq)
        settle(self, flag, "save_best_only")
        settle(self, real, "initial_value_threshold", optional=True)

    def start(self) -> SavingState:
        """The state before the first epoch."""
        return SavingState(best=self.initial_value_threshold)

    def count(self, state: SavingState, batch: int) -> tuple[SavingState, bool]:
        """Count the batches up to this one (several can run in one step), and say whether a save is due."""
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
        """Judge the metric when a save is due.

        Args:
            state: what the rule remembers.
            value: the metric; None if it is missing. Ignored without ``save_best_only``.
            epoch: counted from 0.
            batch: counted from 0; None at the end of an epoch.
            saved: whether a file with this name exists already.
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
        """The decision to save, whatever the metric is."""
        values: dict[str, Any] = {"monitor": self.monitor.name}
        if batch is not None:
            values["batches"] = self.save_freq
        reason = Reason.EVERY_EPOCH if batch is None else Reason.EVERY_BATCHES
        if not scalar:
            reason = Reason.NOT_SCALAR
        return Decision("ModelCheckpoint", Action.SAVE, reason, epoch, batch, values)


class Template:
    """A file name with fields such as ``{epoch:03d}`` and ``{val_loss:.2f}``.

    A field is ``{name}`` or ``{name:format}``. Attributes, indexing and conversions are refused, because
    a template such as ``{epoch.__class__}`` could read much more than metrics.

    Raises:
        ArgumentError: no metrics could make a file name of it.

    Example:
        >>> Template("model-{epoch:02d}.keras").fill({"epoch": 7})
        'model-07.keras'
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ArgumentError(f"The file name {text!r} is not a valid template: {error}.") from error
        for _, name, spec, conversion in parts:
            if name is not None:
                self._check_field(name, spec or "", conversion)
        self._parts = [(literal, name, spec or "") for literal, name, spec, _ in parts]
        self._check_name(self._joined(lambda name, spec: ""), ArgumentError)

    @property
    def has_fields(self) -> bool:
        """Whether different epochs can get different names."""
        return any(name is not None for _, name, _ in self._parts)

    def _check_field(self, name: str, spec: str, conversion: str | None) -> None:
        wide = re.search(r"\d{4}", spec) or any(int(n) > LONGEST_NAME for n in re.findall(r"\d+", spec))
        simple = re.fullmatch(r"[^.\[\]]+", name) and not name.isdigit() and not conversion
        if not simple or wide or re.search(r"[{}/\\\0]", spec):
            raise ArgumentError(
                f"The file name {self.text!r} has a field {{{name}}} that is not allowed: a field is the "
                "name of a metric with a simple format, such as {epoch:03d} or {val_loss:.2f}."
            )

    def _joined(self, fill: Callable[[str, str], str]) -> str:
        return "".join(
            literal + ("" if name is None else fill(name, spec)) for literal, name, spec in self._parts
        )

    def _check_name(self, path: str, error: type[ArgumentError] | type[TemplateError]) -> None:
        if "\0" in path:
            raise error(f"The file name {path!r} has a NUL character, which file names cannot have.")
        longest = max(path.replace("\\", "/").split("/"), key=_bytes)
        if _bytes(longest) > LONGEST_NAME:
            raise error(
                f"The file name {longest[:40]!r}... is {_bytes(longest)} bytes long; a name can have "
                f"at most {LONGEST_NAME}."
            )

    @classmethod
    def could_meet(cls, one: str, other: str) -> bool:
        """Whether two names or templates can stand for one file, in the same epoch or in another.

        Example:
            >>> Template.could_meet("m{epoch}.pt", "m12.pt"), Template.could_meet("m{epoch}.pt", "best.pt")
            (True, False)
            >>> Template.could_meet("m{epoch}.pt", "m{epoch:02d}.pt")
            True
        """
        first, second = (cls(posixpath.normpath(text)) for text in (one, other))
        if first.has_fields and second.has_fields:
            return first._skeleton(lambda text: text) == second._skeleton(lambda text: text)
        pattern, name = (first, second) if first.has_fields else (second, first)
        return re.fullmatch(pattern._skeleton(re.escape), name.text) is not None

    def _skeleton(self, literal: Callable[[str], str]) -> str:
        """The name with what a field can be, as a pattern: a count, or any metric."""
        return "".join(
            literal(text)
            + ("" if name is None else r"\s*\d+" if name in _COUNTS else r"[-+\d.,eE%_ ]*(nan|inf)?")
            for text, name, _ in self._parts
        )

    def fill(self, values: Mapping[str, Any]) -> str:
        """The file name, with the fields filled in.

        Raises:
            TemplateError: a field is missing, does not fit its format, or would change the folder.
        """
        path = self._joined(lambda name, spec: self._filled(name, spec, values))
        self._check_name(path, TemplateError)
        self._check_folder(path)
        return path

    def _filled(self, name: str, spec: str, values: Mapping[str, Any]) -> str:
        if name not in values:
            names = ", ".join(values)
            raise self._failure(f"{name!r} is not among {names}.{nearest(name, values)}")
        try:
            text = format(values[name], spec)
        except (ValueError, TypeError, OverflowError) as error:
            raise self._failure(f"{name!r} is {values[name]!r}: {error}") from error
        if "/" in text or "\\" in text:
            raise self._failure(f"{name!r} is {text!r}, which would lead into another folder")
        return text

    def _check_folder(self, path: str) -> None:
        """Refuse values that make a part of the path empty, ``.`` or ``..``."""
        written = self._joined(lambda name, spec: "x").split("/")
        for index, part in enumerate(path.split("/")):
            if part in ("", ".", "..") and part != written[index]:
                raise self._failure(f"{path!r} would lead into another folder")

    def _failure(self, reason: str) -> TemplateError:
        return TemplateError(f'Failed to format this callback filepath: "{self.text}". Reason: {reason}')


def _bytes(name: str) -> int:
    """The length in bytes, as the file system counts it; a byte that is not UTF-8 is one surrogate."""
    return len(name.encode(errors="replace"))
