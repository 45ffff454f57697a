"""Run: callbacks with a folder, where nothing is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from outlast.callbacks.base import Callback
from outlast.callbacks.early_stopping import EarlyStopping
from outlast.callbacks.list import Listener
from outlast.core.decision import Action, Decision, Reason
from outlast.core.logs import Logs
from outlast.core.run_state import START, Moment, Position, RunState
from outlast.exceptions import ArgumentError, FileError, UsageError, nearest, warn
from outlast.frameworks.base import Adapter
from outlast.inspect.record import Best
from outlast.run import arguments
from outlast.run.attributes import AttributesPart
from outlast.run.check import Check
from outlast.run.contents import Contents
from outlast.run.foreign import unsaved
from outlast.run.loop import Loop
from outlast.run.notebook import Shown
from outlast.run.opening import Opening
from outlast.run.own_loop import OwnLoop
from outlast.run.parts import CallbacksPart, RandomPart, TrainingPart, UserParts
from outlast.run.progress import Progress
from outlast.run.session import FolderStore
from outlast.run.signals import Signals
from outlast.run.staged import StagedOutput
from outlast.run.stores import Store
from outlast.storage.format import layout


class Run(OwnLoop, Shown):
    """Train with callbacks in a folder from which a killed training goes on, bit for bit.

    In Keras: ``model.fit(..., callbacks=[run])``. In a PyTorch loop: ``for epoch in
    run.epochs(100)``, in it ``for batch in run.batches(loader)`` and ``run.log(loss=loss)``. Run the
    same script or cell again after a crash, and it goes on where it was.

    Args:
        folder: where everything is kept; made if it is not there. None writes nothing, for trying out.
        callbacks: outlast's, in any order. Keras's own may be among them, but their state is
            not saved. File names in them are relative to the folder and have defaults.
        model: PyTorch's module, for a loop of one's own; Keras's fit brings its model itself.
        optimizer: PyTorch's optimizer; several in a list or a dict by name.
        adapter: how the training is stopped and saved, for a framework of your own.
        seed: the seed that the script uses; compared at a resume.
        resume: ``"auto"``: go on if there is something; ``"must"``: else it is an error; ``"never"``:
            set the old folder aside as ``NAME.1`` and start from nothing.
        save_every: ``"epoch"``, how often a resume point is made.
        accept_changes: names of settings that may differ from those in the folder, such as
            ``["learning_rate"]``.
        check_resume: whether a resume trains the last saved epoch again, from the resume point before it, and
            compares everything with what was saved: ``"auto"``: if that takes less than a minute, or less
            than a fiftieth of the training so far; ``"always"``; ``"never"``.
        on_save_error: ``"raise"``: a save that fails ends the training, the last good state stays;
            ``"warn"``: training goes on, the save is tried again at the next epoch, and each failure
            is said.
        listen: called with every :class:`Decision`, after its effect.
        clock: seconds, from any origin.
        **parts: anything with ``state_dict()`` and ``load_state_dict()``, such as ``scheduler=``, or a
            random generator, saved with the rest.

    Raises:
        ArgumentError, UnknownArgument: at once, for an argument that cannot work.
        RunChanged: the code asks for another training than the one in the folder.
        RunLocked: another process has the folder.
        FileError: the folder cannot be written; before the first batch.

    Example:
        >>> import tempfile, outlast
        >>> folder = tempfile.mkdtemp() + "/run"
        >>> with outlast.Run(folder, [outlast.CSVLogger()], adapter=outlast.testing.FakeAdapter()) as run:
        ...     for epoch in run.epochs(2):
        ...         run.log(loss=1.0 / (epoch + 1))
        >>> run.history["loss"]
        [1.0, 0.5]
    """

    _names = (
        *Shown._names,
        *("batches", "callbacks", "flush", "learning_rate", "log", "model", "stop_training"),
    )

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        callbacks: Iterable[Any] | Any = None,
        *,
        model: Any = None,
        optimizer: Any = None,
        adapter: Adapter | None = None,
        seed: int | None = None,
        resume: str = "auto",
        save_every: Any = "epoch",
        accept_changes: Iterable[str] = (),
        check_resume: str = "auto",
        on_save_error: str = "raise",
        listen: Callable[[Decision], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        **parts: Any,
    ) -> None:
        arguments.check_word("resume", resume, "auto", "never", "must")
        arguments.check_save_every(save_every)
        arguments.check_word("check_resume", check_resume, "auto", "always", "never")
        arguments.check_word("on_save_error", on_save_error, "raise", "warn")
        arguments.check_parts(parts)
        self.folder = None if folder is None else arguments.folder_path(folder)
        self._shown = "" if folder is None else os.fspath(folder)
        self._listener = listen
        self._store: Store = (
            Store()
            if self.folder is None
            else FolderStore(self.folder, say=self._say, on_save_error=on_save_error)
        )
        self._staged = StagedOutput(self.folder, lambda name: self._store.log(name))
        self._progress = Progress()
        self._loop = Loop()
        self._parts = parts
        self._attributes = AttributesPart(self._ours, self._is_known)
        self._contents = Contents(
            [
                UserParts(parts),
                CallbacksPart(self._ours, lambda: self.training),
                self._attributes,
                self._loop,
                TrainingPart(lambda: self.training),
                RandomPart(lambda: self.control.random_moment),
            ]
        )
        self._opening = Opening(
            self._shown,
            self._store,
            self._contents,
            seed=seed,
            accepted=frozenset([accept_changes] if isinstance(accept_changes, str) else accept_changes),
            resume=resume,
            check=check_resume,
            say=self._say,
        )
        self._signals = Signals(lambda: self.control.interrupt_epoch())
        self._fresh = False  # opened, and not trained since
        self._under_way: int | None = None  # the epoch that has begun and is not committed
        self._begun_epochs = 0  # in this training
        self._trains = False
        self._check: Check | None = None  # while the last saved epoch is trained again
        self._saved: RunState | None = None  # what was found, until it is announced
        super().__init__(
            callbacks,
            model=model,
            optimizer=optimizer,
            adapter=adapter,
            output=self._staged,
            listen=self._note,
            clock=clock,
        )
        self.calls_users_code = listen is not None  # the list was given _note
        if "state" in self.training.capabilities:
            self._or_close(self._open)

    def __repr__(self) -> str:
        return f"Run({self._shown!r})" if self.folder is not None else "Run(None)"

    def __copy__(self) -> Run:
        """The same run: some frameworks copy the callbacks that they are given."""
        return self

    def __deepcopy__(self, memo: Any) -> Run:
        """The same run, too."""
        return self

    # What users read.

    @property
    def extra(self) -> dict[str, Any]:
        """A dict of JSON values of your own, saved with the rest."""
        return self._progress.extra

    @property
    def decisions(self) -> list[Decision]:
        """Every :class:`Decision` that acted, from the run's first start on."""
        return self._progress.decisions

    @property
    def status(self) -> str:
        """``"new"``, ``"running"``, ``"finished"`` or ``"interrupted"``."""
        if self.is_running:
            return "running"
        if self.finished:
            return "finished"
        return "new" if self._progress.position == START else "interrupted"

    @property
    def is_running(self) -> bool:
        """Whether a training is under way; not so if an error ended Keras's ``fit``, which tells nobody."""
        return self._trains and not self.was_left

    @property
    def was_left(self) -> bool:
        """Whether an error ended the training, and no hook said so."""
        return self._signals.left_behind

    @property
    def finished(self) -> bool:
        """Whether the training stopped, or did all its epochs."""
        return self._progress.finished

    @property
    def stopped(self) -> str | None:
        """Why the training stopped early, if it did."""
        return self._progress.stops[0].sentence if self._progress.stops else None

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was asked to do."""
        return dict(self._opening.settings)

    @property
    def findings(self) -> tuple[str, ...]:
        """What was wrong with the folder when it was opened, and was mended."""
        return tuple(self._store.findings)

    @property
    def _rows(self) -> list[dict[str, Any]]:
        return self._progress.rows

    @property
    def _published(self) -> Collection[str]:
        return self._staged.published

    @property
    def best(self) -> Best | None:
        """The best epoch so far, as ``ModelCheckpoint`` or else ``EarlyStopping`` judged it."""
        found = super().best
        for callback in self._ours() if found is None else ():
            if isinstance(callback, EarlyStopping) and callback.best is not None:
                return Best(callback.best_epoch, callback.monitor, callback.best, None)
        return found

    def load_best(self) -> Any:
        """The best model, in the framework's own form: a Keras model, a PyTorch state dict.

        Raises:
            UsageError: no best model is saved.
            DamagedFile: its bytes are lost, or it is not what a run saved.
        """
        self.flush()
        best = self.best
        if best is None or best.path is None or self.folder is None:
            raise UsageError(
                "There is no best model: put outlast.ModelCheckpoint(save_best_only=True) into the run."
            )
        return self.training.load_file(self._store.model(os.path.relpath(best.path, self.folder)))

    @property
    def committed(self) -> tuple[int, int | None] | None:
        """(epoch, batch) that is known to be on the disk; batch None at an epoch's end."""
        return None if self._store.committed is None else self._store.committed.as_tuple()

    @property
    def learning_rate(self) -> float | dict[str, float]:
        """The rate in force, or one by name where there are several; it can be set.

        What is set between two trainings counts in the next.
        """
        rates = self.training.learning_rates()
        return next(iter(rates.values())) if len(rates) == 1 else rates

    @learning_rate.setter
    def learning_rate(self, value: float | Mapping[str, float]) -> None:
        names = list(self.training.learning_rates())
        rates = value if isinstance(value, Mapping) else dict.fromkeys(names, value)
        for name, rate in rates.items():
            if name not in names:
                raise ArgumentError(
                    f"There is no learning rate {name!r}, but {', '.join(names) or 'none at all'}."
                    + nearest(name, names)
                )
            self.training.set_learning_rate(name, float(rate))
        if not names:
            raise UsageError("There is no learning rate to set yet: the run has no model with an optimizer.")
        if not self._signals.under_way():
            self._opening.set_through_run("learning_rate")

    def stop(self, reason: str) -> None:
        """End the training after this epoch, for good, with your reason."""
        decision = Decision(
            "Run", Action.STOP, Reason.ASKED, self._progress.next_epoch, values={"text": str(reason)}
        )
        self.control.stop(decision.sentence)
        self._note(decision)

    def flush(self) -> None:
        """Wait until what is committed is on the disk.

        Raises:
            FileError: it could not be written.
        """
        self._store.flush()

    def append(self, callback: Any) -> None:
        """Add a callback, before the run is opened: what the folder holds goes back to those in the list.

        Raises:
            UsageError: the run is open.
        """
        if self._store.is_open or self._trains:
            raise UsageError(
                f"{self!r} is open, and what it holds has been put back: pass all callbacks when you make it."
            )
        super().append(callback)

    # Hooks.

    def set_model(self, model: Any) -> None:
        """Take the model to be trained."""
        super().set_model(model)
        self._signals.restore()  # of a training that an error ended
        self.training.run, self._trains = self, False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the folder, put back what it holds, and tell the loop where to begin."""
        self._or_close(lambda: self._begin(logs))

    def _begin(self, logs: Logs | None) -> None:
        if not (self._store.is_open and self._fresh):
            self._open()
        self._fresh, self._begun_epochs, self._under_way = False, 0, None
        if self._saved is not None and self._finished() is None:
            self._check = self._opening.rewind(self._ours(), self.extra)
            if self._check is not None:
                self._be_at(self._check, self._check.before)
        self._refuse_undone_rates()
        super().on_train_begin(logs)
        attributes = self._attributes.begin()
        self.training.leave(known=False)
        finished = self._finished()
        if self.folder is not None:
            if self._saved is None:  # what was resumed has been loaded just now
                self._opening.dry_run()
                self._loop.forget()
            for problem in [*self._inexact(), *attributes] if finished is None else ():
                self._say(f"outlast: resuming {self._shown} would not be exact: {problem}")
            if self._check is None:
                self._opening.announce(self._saved, finished, self._epochs())
                self._saved = None
        self._progress.finished = finished is not None
        if finished is None:
            self._progress.stops = []
        position = self._progress.position
        if finished is not None:
            position = max(position, Position((self._epochs() or 0) - 1))
        self.control.resume_at(position)
        self._show_history()
        self._opening.put_back(Moment.TRAIN_BEGIN)
        self._trains = True
        if self.folder is not None:
            self._signals.install(self.control.dispatchers)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Begin an epoch, which must be the next."""
        self._safe_point()
        if epoch != self._progress.next_epoch:
            raise UsageError(
                f"The next epoch of {self._shown} is {self._progress.next_epoch} (counted from 0), but the "
                f"loop begins {epoch}: leave out initial_epoch, the run knows where to go on."
            )
        self.control.resume_at(START)
        if not self._begun_epochs:
            self._show_history()
        self._begun_epochs += 1
        self._under_way = epoch
        self._opening.hook_came()
        super().on_epoch_begin(epoch, logs)
        self._opening.put_back(Moment.EPOCH_BEGIN)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Let every callback see the epoch, then commit; an epoch cut short by a signal is discarded."""
        self._or_close(lambda: self._end_epoch(epoch, logs))

    def _end_epoch(self, epoch: int, logs: Logs | None) -> None:
        self._safe_point()
        self._opening.hook_came()
        super().on_epoch_end(epoch, logs)
        if self.control.stopping and not self._progress.stops and self._signals.pending is None:
            self._progress.stopped_from_outside()
        self._progress.close_epoch(self._progress.rows[-1], self._epochs(), self._staged)
        self._commit()
        if self._check is not None:
            self._go_on_from(self._check, logs)
        self._under_way = None
        self._safe_point()

    def _commit(self) -> None:
        self._store.commit(self._staged.take(), self._state)

    def _go_on_from(self, check: Check, logs: Logs | None) -> None:
        """Once the last saved epoch was trained again: say what came of it, and go on from what was saved."""
        if check.differences is None:  # of several epochs, not the last
            self.control.begin()  # the run had not stopped here
            return
        again = f"epoch {self._progress.next_epoch} trained again as a check"
        self._check = None
        self._be_at(check.store, replace(check.newest, finished=False))  # more epochs are asked for now
        self._opening.end(check)
        if check.differences:
            self.control.begin()  # a stop that was asked for now
            if isinstance(logs, dict):  # what Keras's own History will show
                logs.update(
                    {name: value for name, value in self._progress.rows[-1].items() if name != "epoch"}
                )
        self._store.record("check", check.to_json())
        told = f" ({again}: {'not ' if check.differences else ''}identical)"
        self._opening.announce(self._saved, None, self._epochs(), told)
        self._saved = None
        if check.differences:
            warn(check.warning(self._shown, self.training.is_on_accelerator))

    def _be_at(self, store: Store, state: RunState) -> None:
        """Go on from what a store holds; the user may have kept ``extra``."""
        extra, self._store = self._progress.extra, store
        self._staged.begin(store.files, capture=store is not self._check)
        rows, journal = (store.log(name) or b"" for name in (layout.ROWS, layout.JOURNAL))
        self._progress = Progress.from_state(state, rows, journal)
        extra.clear()
        extra.update(self._progress.extra)
        self._progress.extra = extra

    def _hear(self) -> None:
        super()._hear()
        heard = self._batch_hooks.get("on_train_batch_end")
        if heard is not None:
            self._batch_hooks["on_train_batch_end"] = partial(self._hear_batch, heard)

    def _hear_batch(self, heard: Listener, batch: int, logs: Logs | None = None) -> None:
        """After a batch: what a callback saved in it goes to the disk at once, not with the epoch."""
        heard(batch, logs)
        step = self._staged.take_files()
        if step.files:
            self._store.show(step)

    def _state(self) -> RunState:
        return self._progress.to_state(self._opening.settings, self._contents.collect())

    def _see_epoch(self, epoch: int, complete: Logs) -> None:
        self._progress.rows.append({"epoch": epoch, **complete})
        super()._see_epoch(epoch, complete)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before a validation, which a signal skips."""
        self._safe_point()
        super().on_test_begin(logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """After a validation, which a signal cuts short."""
        self._safe_point()
        super().on_test_end(logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Let every callback end, and wait until everything is on the disk."""
        self._or_close(lambda: self._end(logs))

    def _end(self, logs: Logs | None) -> None:
        super().on_train_end(logs)
        self.control.resume_at(START)
        if not self._begun_epochs:
            self._show_history()
        self._store.finish()
        if self._begun_epochs:
            self._store.record("end", {"epoch": self._progress.next_epoch})
        self._opening.ended(self.training)
        self._trains = False
        self._close()
        if self._signals.pending is not None:
            self._say(f"outlast: {self._signals.name}: the training had ended; all of it is saved")
            self._signals.raise_pending()

    # Opening and closing.

    def _open(self) -> None:
        """Take the store, and put back what it holds."""
        if self.folder is not None:
            self.training.require("state", "A Run")
        for callback in self._ours():
            callback.forget()
        self._staged.begin(())
        self._progress = Progress()
        saved = self._opening.open(self._ours(), self.training, (self.params or {}).get("steps"))
        self._saved = saved and replace(saved, contents={})  # what is put back is not kept
        self._staged.begin(self._store.files)
        if self._saved is not None:
            self._be_at(self._store, self._saved)
        self._fresh = True

    def _or_close(self, act: Callable[[], None]) -> None:
        """Leave a run that can be used again, whatever fails."""
        try:
            act()
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        if self._trains and self.is_running:  # left in the middle: the rates are known, the weights are not
            self.training.leave()
        self._trains = False
        self._signals.restore()
        self.training.run = None
        self._store.close()

    def _safe_point(self) -> None:
        """If a signal came: finish what is being written, give the folder back, and end."""
        if self._signals.pending is None:
            return
        with suppress(FileError):  # closing says what is wrong with the disk
            self._store.record("signal", {"signal": self._signals.name, "epoch": self._progress.next_epoch})
        try:
            self._store.close()
            told = self._told_of_end()
        except FileError as error:
            told = f"{self._told_of_end()}. The last save failed: {error}"
        self._say(f"outlast: {self._signals.name}: {told}")
        self._trains, self.training.run = False, None
        self._signals.raise_pending()

    def _told_of_end(self) -> str:
        saved = 0 if self._store.committed is None else self._store.committed.epoch + 1
        told = f"ended after epoch {saved}, which is saved" if saved else "ended before the first epoch"
        if self._under_way is not None:
            lost = f"ended in epoch {self._under_way + 1}, which is not saved"
            told = f"{lost}; epoch {saved} is" if saved else lost
        return f"{told}. The same command " + (
            f"goes on with epoch {saved + 1}" if saved else "starts from the beginning"
        )

    def _note(self, decision: Decision) -> None:
        self._progress.note(decision, self._staged)
        if self._listener is not None and self._check is None:  # it has heard of the stretch
            self._listener(decision)

    def _inexact(self) -> list[str]:
        theirs = [unsaved(one) for one in self.callbacks if not isinstance(one, Callback)]
        return [*self.training.inexact(self.params or {}), *self._lacking_optimizer(), *filter(None, theirs)]

    def _lacking_optimizer(self) -> list[str]:
        """What is said of a model that is trained without an optimizer that we know."""
        known = self.training.optimizers or any(
            hasattr(part, "param_groups") for part in self._parts.values()
        )
        if known or self._given is not None:
            return []
        return ["the optimizer is not saved, and begins anew: pass it, Run(..., optimizer=optimizer)"]

    def _refuse_undone_rates(self) -> None:
        """Refuse a callback that sets the rate beside a scheduler that sets it anew in each step."""
        setting = [type(one).__name__ for one in self._ours() if one.sets_rates]
        for name, part in self._parts.items() if setting else ():
            if self.training.sets_rates_anew(part):
                raise UsageError(
                    f"{setting[0]} sets the learning rate, but the scheduler {name}={type(part).__name__} "
                    "sets it again in each of its steps, whatever it is then: leave out one of the two."
                )

    def _is_known(self, thing: Any) -> bool:
        """Whether an object is what is trained, or a piece of it, or saved with it."""
        model = self.model
        pieces = [*getattr(model, "layers", ()), *(model.modules() if hasattr(model, "modules") else ())]
        optimizers = self.training.optimizers.values()
        return any(
            thing is one
            for one in (self, model, *pieces, *optimizers, *self._parts.values(), *self.callbacks)
        )

    def _ours(self) -> list[Callback]:
        return [callback for callback in self.callbacks if isinstance(callback, Callback)]

    def _finished(self) -> str | None:
        return self._progress.why_finished(self._ours(), self._epochs())

    def _remaining(self, total: int) -> range:
        return range(self._progress.next_epoch if self._finished() is None else total, total)

    def _epochs(self) -> int | None:
        return (self.params or {}).get("epochs")

    def _meet(self, loader: Any) -> None:
        if self.folder is not None:
            self._opening.meet(loader)
        self._opening.put_back(Moment.FIRST_BATCH)

    def _show_history(self) -> None:
        epochs = [row["epoch"] for row in self._progress.rows]
        self.control.fill_history(self._progress.columns(), epochs)

    def _say(self, text: str) -> None:
        self.context.say(text)
