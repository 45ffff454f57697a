"""ModelCheckpoint: save the model, every time or when it is the best so far."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from outlast.callbacks.base import forwarded
from outlast.callbacks.hooks import HookFromTable
from outlast.callbacks.monitored import MonitoredCallback
from outlast.core.decision import Action, Decision, Reason
from outlast.core.keeping import FORM, KeepingRule, Kept, from_json, to_json
from outlast.core.logs import Logs
from outlast.core.numbers import is_scalar
from outlast.core.saving import SavingRule, SavingState, Template
from outlast.core.text import few
from outlast.exceptions import ArgumentError, UsageError, warn
from outlast.storage.output import Save


class ModelCheckpoint(MonitoredCallback):
    """Save the model at the end of every epoch, or every so many batches; always, or the best.

    The file is the old one or the new one at every instant, never a part of one.

    Args:
        filepath: where to save; fields such as ``{epoch:02d}`` (from 1) and ``{val_loss:.2f}`` are
            filled. It ends as the framework's files do: ``.keras`` (or ``.weights.h5`` with
            ``save_weights_only``) for Keras, ``.pt`` for PyTorch. May be left out in a ``Run``.
        monitor: name of the metric that tells the best.
        verbose: 1 prints when it acts.
        save_best_only: save only when the metric is better than at every save before.
        save_weights_only: the weights alone; with PyTorch it is the state dict in either case.
        mode: ``"min"``, ``"max"`` or ``"auto"`` (the model knows, else the metric's name tells).
        save_freq: ``"epoch"``, or a number of batches; counted across epochs.
        initial_value_threshold: value that the first save must beat.
        keep_best: keep the best so many, in files of their own, and the best of all in ``best.*``; of
            equal ones the earlier. A model that is replaced is deleted once the next is safe.
        keep_last: keep the last so many.
        save_last: keep a copy of the newest in ``last.*``, also where the rest is not saved.

    Attributes:
        best: as in Keras; it outlives a fit.

    Raises:
        UnknownArgument, ArgumentError: at once, for an argument that cannot work.
        FileError: before the first batch, if the place cannot be written; or a save failed, and the
            file before it is whole.
        TemplateError: a field of ``filepath`` is not among the metrics.
        UnknownDirection: at the first save, if ``save_best_only`` and nobody knows what is better.

    Source: decisions, texts and defaults are those of ``keras.callbacks.ModelCheckpoint``, but
    that NaN is never best and a missing metric overwrites nothing.

    Example:
        >>> checkpoint = ModelCheckpoint("best.keras", save_best_only=True)
        >>> [checkpoint.update(loss).save for loss in (1.0, 1.2, 0.8)]
        [True, False, True]
    """

    requires = ("saving",)
    save_best_only = forwarded("_rule", "save_best_only", "Whether only improvements are saved.")
    save_freq = forwarded("_rule", "save_freq", '``"epoch"``, or a number of batches.')
    _rule: SavingRule
    _state: SavingState

    def __init__(
        self,
        filepath: str | os.PathLike[str] | None = None,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
        *,
        keep_best: int | None = None,
        keep_last: int | None = None,
        save_last: bool = False,
    ) -> None:
        self.verbose = verbose
        self.save_weights_only = save_weights_only
        self.filepath = filepath
        self._rule = SavingRule(
            self._monitor(monitor, mode),
            save_best_only=save_best_only,
            save_freq=save_freq,
            initial_value_threshold=initial_value_threshold,
        )
        self._state = self._rule.start()
        self._keeping = KeepingRule(keep_best, keep_last)
        self._kept: tuple[Kept, ...] = ()
        self.save_last = save_last
        self._epoch = 0
        if self._keeping.active and self._template is not None and not self._template.has_fields:
            raise ArgumentError(
                f"With keep_best or keep_last each model needs a name of its own, but filepath={filepath!r} "
                "has no field: use one, such as 'model-{epoch:04d}.keras'."
            )

    @property
    def filepath(self) -> str | None:
        """Where to save, as it was given."""
        return self._filepath

    @filepath.setter
    def filepath(self, filepath: str | os.PathLike[str] | None) -> None:
        self._filepath = None if filepath is None else os.fspath(filepath)
        self._template = None if self._filepath is None else Template(self._filepath)

    @property
    def needs_metric(self) -> bool:  # type: ignore[override]
        """Whether it compares models."""
        return self.save_best_only or self._keeping.keep_best is not None

    on_train_batch_end = HookFromTable("on_train_batch_end")

    def _hook(self, name: str) -> Any:
        """The batch hook, only if batches are counted: Keras waits for every batch if a callback has it."""
        return None if self.save_freq == "epoch" else self._save_on_batch

    def configuration(self) -> dict[str, Any]:
        """What it was asked to do."""
        return {
            "filepath": self.filepath,
            **super().configuration(),
            "save_weights_only": self.save_weights_only,
            "keep_best": self._keeping.keep_best,
            "keep_last": self._keeping.keep_last,
            "save_last": self.save_last,
        }

    def forget(self) -> None:
        """Forget everything, kept files included."""
        super().forget()
        self._kept = ()

    def state_dict(self) -> dict[str, Any]:
        """What it remembers, and which models it keeps."""
        return {**super().state_dict(), "kept": to_json(self._kept)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what another ModelCheckpoint remembered."""
        super().load_state_dict({name: value for name, value in state.items() if name != "kept"})
        self._checked(state, {"kept": [FORM]})
        self._kept = from_json(state.get("kept", ()))

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Check that the place can be written. As in Keras, ``best`` goes on from the last fit."""
        self._begin()
        suffixes = self.training.suffixes(self.save_weights_only)
        if self.filepath is None:
            usual = "model-{epoch:04d}" if self._keeping.active else "best"
            default = self.context.output.named(usual + suffixes[0])
            self._template = None if default is None else Template(default)
        if self._template is None:
            raise UsageError(
                "ModelCheckpoint needs a filepath outside a Run, such as "
                f"ModelCheckpoint('best{suffixes[0]}')."
            )
        self._check_suffix(self._template.text, suffixes)
        beside = {"best": self._keeping.active, "last": self.save_last}
        name = self._template.text
        self._files = [name, *(self._beside(name, word) for word, wanted in beside.items() if wanted)]
        if self.context.output.prepare(self._template.text):
            self.training.check_saving(self.save_weights_only)

    def _check_suffix(self, name: str, suffixes: tuple[str, ...]) -> None:
        if not name.endswith(suffixes):
            option = "save_weights_only=True and " if self.save_weights_only else ""
            raise ArgumentError(
                f"With {option}{self.training.framework}, the filepath provided must end in "
                f"{' or '.join(f'`{suffix}`' for suffix in suffixes)}. Received: filepath={name}"
            )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Remember the epoch, for the batches in it."""
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save, if the epoch's end is the moment and the rule says so."""
        if self.save_best_only or self._keeping.active:
            self._settle_direction(logs or {})
        if self.save_freq == "epoch":
            self._judge(epoch, None, logs or {})

    def _save_on_batch(self, batch: int, logs: Logs | None = None) -> None:
        """Save, if enough batches have passed and the rule says so."""
        self._check_thread()
        self._state, due = self._rule.count(self._state, batch)
        if due:
            self._judge(self._epoch, batch, logs or {})

    def _judge(self, epoch: int, batch: int | None, logs: Logs) -> None:
        name = self._name(epoch, batch, logs)
        before = self.best
        decision = self._decide(epoch, batch, logs, name)
        kept = self._kept
        if self._keeping.active:
            decision, kept = self._among_kept(decision, name)
        self._announce(decision, before, name)
        if decision.save:
            decision = self._publish(decision, name)
            self._say_if_verbose(f"\nEpoch {epoch + 1}: finished saving model to {name}")
        elif self.save_last:
            self.context.output.publish(self._beside(name, "last"), self._saving())
        self.context.report(decision)
        names = {name, *(model.name for model in kept)}
        gone = [model for model in self._kept if model.name not in names]
        self._kept = kept  # now that the model is saved
        self._delete(gone, decision)

    def _publish(self, decision: Decision, name: str) -> Decision:
        """Save the model; returns the decision with the names of its files."""
        output = self.context.output
        values = {**decision.values, "path": output.publish(name, self._saving())}
        best = self._keeping.active and decision.reason in (Reason.FIRST_VALUE, Reason.IMPROVED)
        copies = [
            self._beside(name, word) for word, wanted in (("best", best), ("last", self.save_last)) if wanted
        ]
        for copy in copies:
            output.copy(name, copy)
        return replace(decision, values={**values, "copies": copies} if copies else values)

    def _saving(self) -> Save:
        return self.training.saving(self.save_weights_only)

    def _beside(self, name: str, word: str) -> str:
        """``best.keras`` or ``last.keras``, in the folder of ``name``."""
        suffix = next(s for s in self.training.suffixes(self.save_weights_only) if name.endswith(s))
        return os.path.join(os.path.dirname(name), word + suffix)

    def _among_kept(self, judged: Decision, name: str) -> tuple[Decision, tuple[Kept, ...]]:
        """Whether the model is one of the best, or of the last: then it is saved, and others may go."""
        new = Kept(name, judged.epoch, judged.batch, judged.values.get("value"))
        kept = self._keeping.update(self._kept, new, self._state.direction or "min")
        if new not in kept:
            return replace(judged, action=Action.SKIP, reason=Reason.NOT_KEPT), self._kept
        reason = judged.reason if judged.save else Reason.KEPT
        return replace(judged, action=Action.SAVE, reason=reason), kept

    def _delete(self, gone: Sequence[Kept], decision: Decision) -> None:
        """Delete the models that gave way to the one of this decision."""
        for model in gone:
            self.context.output.remove(model.name)
            values = {"path": model.name, "monitor": self.monitor, "value": model.value}
            self.context.report(
                replace(decision, action=Action.DELETE, reason=Reason.GAVE_WAY, values=values)
            )

    def _name(self, epoch: int, batch: int | None, logs: Logs) -> str:
        assert self._template is not None
        values: Logs = {"epoch": epoch + 1}
        if batch is not None and "batch" not in logs:
            values["batch"] = batch + 1
        return self._template.fill({**logs, **values})

    def _decide(self, epoch: int, batch: int | None, logs: Logs, name: str) -> Decision:
        if not (self.save_best_only or self._keeping.active):
            return self._rule.unconditional(epoch, batch)
        self._settle_direction(logs)
        value = logs.get(self.monitor)
        if value is not None and not is_scalar(value):
            warn(
                "Can save best model only when `monitor` is a scalar value. "
                f"Received: {value}. Falling back to `save_best_only=False`."
            )
            return self._rule.unconditional(epoch, batch, scalar=False)
        current = self._current(
            logs,
            f"Can save best model only with {self.monitor} available. "
            f"Available metrics are: {few(logs, between=',')}. What is saved already is kept.",
        )
        saved = self.context.output.exists(name)
        rule = replace(self._rule, save_best_only=True)
        self._state, decision = rule.update(self._state, current, epoch=epoch, batch=batch, saved=saved)
        return decision

    def _announce(self, decision: Decision, before: float | None, name: str) -> None:
        """Print Keras's lines: whether it improved, and what is saved."""
        if self.save_best_only and decision.values.get("value") is None:
            return
        best = "None" if before is None else f"{before:.5f}"
        compares = self.save_best_only and not self._keeping.active
        text = f"saving model to {name}"
        if compares and decision.save:
            text = f"{self.monitor} improved from {best} to {decision.values['value']:.5f}, {text}"
        elif compares:
            text = f"{self.monitor} did not improve from {best}"
        if compares or decision.save:
            self._say_if_verbose(f"\nEpoch {decision.epoch + 1}: {text}")

    def update(self, value: Any, *, epoch: int | None = None, learning_rate: float | None = None) -> Decision:
        """Judge one value without any loop: the same decision, and nothing else happens.

        Args:
            value: the metric; None if it is missing.
            epoch: from 0; without it calls are counted.
            learning_rate: taken for the sake of one signature; not used.
        """
        if self.save_best_only:
            self._settle_direction({})
        return self._judge_value(value, epoch)
