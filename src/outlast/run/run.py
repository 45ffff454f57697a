"""Run: callbacks with a folder, where nothing is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from outlast.callbacks.base import Callback, claim, disclaim
from outlast.callbacks.early_stopping import EarlyStopping
from outlast.core.decision import Action, Decision, Reason
from outlast.core.logs import Logs
from outlast.exceptions import ArgumentError, RunChanged, UsageError, nearest
from outlast.frameworks import random_state
from outlast.frameworks.base import Adapter
from outlast.inspect.record import ROWS, Best, Readable
from outlast.run import arguments, parts, settings
from outlast.run.loop import Loop
from outlast.run.own_loop import OwnLoop
from outlast.run.progress import Progress
from outlast.run.session import Session
from outlast.run.signals import Signals
from outlast.run.staged import StagedOutput
from outlast.storage.format import layout


class Run(OwnLoop, Readable):
    """Train with callbacks in a folder from which a killed training goes on, bit for bit.

    In Keras: ``model.fit(..., callbacks=[run])``. In a PyTorch loop: ``for epoch in
    run.epochs(100)``, in it ``for batch in run.batches(loader)`` and ``run.log(loss=loss)``. Run the
    same script or cell again after a crash, and it goes on where it was.

    Args:
        folder: where everything is kept; made if it is not there. None writes nothing, for trying out.
        callbacks: callbacks of ours, in any order; Keras's may stand among them, but their state is
            not saved. File names in them are relative to the folder and have defaults.
        model: PyTorch's module, for a loop of one's own; Keras's fit brings its model itself.
        optimizer: PyTorch's optimizer; several in a list or a dict by name.
        adapter: how the training is stopped and saved, for a framework of your own.
        seed: the seed that the script uses; compared at a resume.
        resume: ``"auto"``: go on if there is something; ``"must"``: else it is an error; ``"never"``:
            set the old folder aside as ``NAME.1`` and begin anew.
        save_every: ``"epoch"``, how often a resume point is made.
        accept_changes: names of settings that may differ from those in the folder, such as
            ``["learning_rate"]``.
        on_save_error: ``"raise"``: a save that fails ends the training, the last good state stays;
            ``"warn"``: training goes on, the save is tried again at the next epoch, and each failure
            is said.
        listen: called with every :class:`Decision`, after its effect.
        clock: seconds, from any origin.
        **parts: anything with ``state_dict()`` and ``load_state_dict()``, such as ``scheduler=``,
            saved with the rest.

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
        on_save_error: str = "raise",
        listen: Callable[[Decision], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        **parts_by_name: Any,
    ) -> None:
        arguments.check_resume(resume)
        arguments.check_save_every(save_every)
        arguments.check_on_save_error(on_save_error)
        arguments.check_parts(parts_by_name)
        self.folder = None if folder is None else arguments.folder_path(folder)
        self._seed, self._resume, self._accepted = seed, resume, frozenset(accept_changes)
        self._on_save_error, self._listener = on_save_error, listen
        self._parts = parts_by_name
        self._session: Session | None = None
        self._staged = StagedOutput(self.folder, self._committed_log)
        self._progress = Progress()
        self._loop = Loop()
        self._signals = Signals(self._hurry)
        self._asked: settings.Record = {}
        self._notes: list[str] = []  # what the line at the start has to say
        self._begun_epochs = 0  # in this training
        self._met = False  # whether its first loader is known
        self._random: Any = None  # state to be restored when the training begins
        super().__init__(
            callbacks,
            model=model,
            optimizer=optimizer,
            adapter=adapter,
            output=self._staged,
            listen=self._note,
            clock=clock,
        )
        if "state" in self.adapter.capabilities:
            self._open()

    def __repr__(self) -> str:
        return f"Run({self.folder!r})"

    def __copy__(self) -> Run:
        """A run is one: who copies its list gets the same."""
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
    def _rows(self) -> list[dict[str, Any]]:
        return self._progress.rows

    @property
    def _views(self) -> Collection[str]:
        return self._staged.views

    @property
    def best(self) -> Best | None:
        """The best epoch so far, as ``ModelCheckpoint`` or else ``EarlyStopping`` judged it."""
        found = super().best
        for callback in self._ours() if found is None else ():
            if isinstance(callback, EarlyStopping) and callback.best is not None:
                return Best(callback.best_epoch, callback.monitor, callback.best, None)
        return found

    def load_best(self) -> Any:
        """The best model, in the framework's own kind: a Keras model, a PyTorch state dict.

        Raises:
            UsageError: no best model is saved.
            DamagedFile: its bytes are lost, or it is none that a run saved.
        """
        self.flush()
        best = self.best
        if best is None or best.path is None or self._session is None:
            raise UsageError(
                "There is no best model: put outlast.ModelCheckpoint(save_best_only=True) into the run."
            )
        return self.adapter.load_file(self._session.model(best.path))

    @property
    def committed(self) -> tuple[int, int | None] | None:
        """(epoch, batch) that is known to be on the disk; batch None at an epoch's end."""
        return None if self._session is None else self._session.committed

    @property
    def learning_rate(self) -> float | dict[str, float]:
        """The rate in force, or one by name where there are several; it can be set."""
        rates = self.adapter.learning_rates()
        return next(iter(rates.values())) if len(rates) == 1 else rates

    @learning_rate.setter
    def learning_rate(self, value: float | Mapping[str, float]) -> None:
        names = list(self.adapter.learning_rates())
        rates = value if isinstance(value, Mapping) else dict.fromkeys(names, value)
        for name, rate in rates.items():
            if name not in names:
                raise ArgumentError(
                    f"There is no learning rate {name!r}, but {', '.join(names) or 'none at all'}."
                    + nearest(name, names)
                )
            self.adapter.set_learning_rate(name, float(rate))

    def stop(self, reason: str) -> None:
        """End the training after this epoch, for good, with your reason."""
        decision = Decision(
            "Run", Action.STOP, Reason.ASKED, self._progress.next_epoch, values={"text": str(reason)}
        )
        self.adapter.stop(decision.sentence)
        self._note(decision)

    def plot(self, path: str | None = None) -> Any:
        """Draw the history, as :func:`outlast.plot_history` does."""
        from outlast.views.plots import plot_history

        return plot_history(self.history, path)

    def flush(self) -> None:
        """Wait until what is committed is on the disk.

        Raises:
            FileError: it could not be written.
        """
        if self._session is not None:
            self._session.flush()

    # Opening: what the folder holds is put back.

    def _open(self) -> None:
        """Take the folder, and put back what it holds."""
        self._forget()
        if self.folder is None:
            return
        if self._session is not None:
            self._session.close()
        self.adapter.require("state", "A Run")
        self._session = Session(self.folder, self._resume, say=self._say, on_save_error=self._on_save_error)
        self._resume = "auto" if self._resume == "never" else self._resume  # once, not at every fit
        self._staged.begin(self._session.files)
        try:
            if self._session.state is None:
                self._begin_anew(self._session)
            else:
                self._go_on(self._session, self._session.state)
        except BaseException:
            self._close()
            raise

    def _forget(self) -> None:
        for callback in self._ours():
            callback.forget()
        self._progress = Progress()
        self._random = None
        self._staged.begin(())

    def _begin_anew(self, session: Session) -> None:
        self._asked = settings.asked(self._ours(), self.adapter.learning_rates(), self._seed, self._steps())
        session.describe(self._asked)
        session.record("start", {"resume": False})

    def _go_on(self, session: Session, state: Mapping[str, Any]) -> None:
        before = state["settings"]
        # A model that was trained here already does not have its initial rate any more.
        trained = parts.was_trained(self.adapter.model)
        rates = before["learning_rate"] if trained else self.adapter.learning_rates()
        asked = settings.asked(self._ours(), rates, self._seed, self._steps())
        self._asked = settings.known(before, asked)
        changed = settings.changes(before, self._asked)
        settings.check(session.folder, changed, self._accepted)
        self._put_back(session, state, anew={c.name.partition(".")[0] for c in changed if c.fixed})
        if any(change.name == "learning_rate" for change in changed):
            for name, rate in rates.items():
                self.adapter.set_learning_rate(name, rate)
        if changed:
            session.describe(self._asked)
        at = {"epoch": self._progress.next_epoch, "resume_point": session.number}
        session.record("resume", {**at, "changes": list(map(str, changed)), "findings": session.findings})
        self._notes = [*session.findings, *map(str, changed)]

    def _put_back(self, session: Session, state: Mapping[str, Any], anew: Collection[str]) -> None:
        """Put back everything, but for callbacks (``anew``) that watch another metric now."""
        try:
            self.adapter.load_state(state["training"])
            parts.load_parts(self._parts, state["parts"])
        except RunChanged as error:
            raise settings.refusal(session.folder, [str(error)]) from error
        kept = {key: one for key, one in state["callbacks"].items() if key not in anew}
        parts.load_callbacks(self._ours(), kept, self.adapter)
        self._loop.load(state["loop"])
        self._random = state["random"]
        self._progress = Progress.from_state(
            state["progress"], session.log(ROWS), session.log(layout.JOURNAL)
        )

    def _ours(self) -> list[Callback]:
        return [callback for callback in self.callbacks if isinstance(callback, Callback)]

    # Hooks.

    def set_model(self, model: Any) -> None:
        """Take the model to be trained."""
        super().set_model(model)
        claim(model, self)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the folder, put back what it holds, and tell the loop where to begin."""
        if self._session is None or not self._session.fresh:
            self._open()
        if self._session is not None:
            self._session.fresh = False
        self._begun_epochs, self._met = 0, False
        super().on_train_begin(logs)
        parts.mark_trained(self.adapter.model)
        finished = self._finished()
        self._announce(finished)
        if finished is None:
            self._progress.stops = []
        next_epoch, epochs = self._progress.next_epoch, self._epochs() or 0
        self.adapter.resume_at(next_epoch if finished is None else max(next_epoch, epochs))
        self._show_history()
        if self._random is not None:
            random_state.restore(self._random)
        if self._session is not None:
            self._signals.install()

    def _announce(self, finished: str | None) -> None:
        """One line: what was found, and where it goes on; one for each thing that is not exact."""
        if self._session is None:
            return
        for problem in self._inexact() if finished is None else ():
            self._say(f"outlast: a resume of {self.folder} would not be exact in {problem}")
        if self._session.state is None:
            return
        what = (
            f"resumed {self.folder} at epoch {self._progress.next_epoch + 1}"
            if finished is None
            else f"{self.folder} is finished ({finished}); its weights and history are back"
        )
        before, now = self._progress.epochs, self._epochs()
        epochs = [] if before == now else [f"epochs was {before} and is {now}"]
        parts_of_line = [f"outlast: {what}, resume point {self._session.number}", *self._notes, *epochs]
        self._say("; ".join(parts_of_line))

    def _inexact(self) -> list[str]:
        foreign = [type(c).__name__ for c in self.callbacks if not isinstance(c, Callback)]
        theirs = [f"the state of {name}, which is not saved" for name in foreign]
        return [*self.adapter.inexact(self.params or {}), *theirs]

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Begin an epoch, which must be the next."""
        self._safe_point()
        if epoch != self._progress.next_epoch:
            raise UsageError(
                f"The next epoch of {self.folder} is {self._progress.next_epoch} (counted from 0), but the "
                f"loop begins {epoch}: leave out initial_epoch, the run knows where to go on."
            )
        self.adapter.resume_at(0)
        if not self._begun_epochs:
            self._show_history()
        self._begun_epochs += 1
        super().on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Let every callback see the epoch, then commit; an epoch cut short by a signal is discarded."""
        self._safe_point()
        self._check_hosts()
        complete = self._completed(logs)
        if isinstance(logs, dict):
            logs.update(complete)
        row = {"epoch": epoch, **complete}
        self._progress.rows.append(row)
        self._call("on_epoch_end", epoch, complete)
        if self.adapter.stopping and not self._progress.stops and self._signals.pending is None:
            self._progress.stopped_from_outside()
        self._progress.close_epoch(row, self._epochs(), self._staged)
        self._commit()
        self._safe_point()

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
        super().on_train_end(logs)
        self.adapter.resume_at(0)
        if not self._begun_epochs:
            self._show_history()
        if self._session is not None:
            self._session.finish()
            if self._begun_epochs:
                self._session.record("end", {"epoch": self._progress.next_epoch})
        self._close()
        self._signals.raise_pending()

    def _hurry(self) -> None:
        self.adapter.hurry()

    def _safe_point(self) -> None:
        """If a signal came: finish what is being written, give the folder back, and end."""
        if self._signals.pending is None:
            return
        try:
            if self._session is not None:
                self._session.close()
        finally:
            self._signals.raise_pending()

    def _note(self, decision: Decision) -> None:
        self._progress.note(decision, self._staged)
        if self._listener is not None:
            self._listener(decision)

    def _finished(self) -> str | None:
        return self._progress.why_finished(self._ours(), self._epochs())

    def _remaining(self, total: int) -> range:
        return range(self._progress.next_epoch if self._finished() is None else total, total)

    def _epochs(self) -> int | None:
        return (self.params or {}).get("epochs")

    def _steps(self) -> int | None:
        return (self.params or {}).get("steps")

    def _meet(self, loader: Any) -> None:
        """Refuse a start whose first loader has other batches than the run so far.

        Raises:
            RunChanged: it has, and they are not accepted.
        """
        if self._session is None or self._met:
            return
        self._met = True
        now = settings.known(self._asked, {**self._asked, **settings.of_loader(loader)})
        changed = settings.changes(self._asked, now)
        settings.check(self._session.folder, changed, self._accepted)
        self._asked = now
        for change in changed:
            self._say(f"outlast: {change}")

    def _show_history(self) -> None:
        epochs = [row["epoch"] for row in self._progress.rows]
        self.adapter.fill_history(self._progress.columns(), epochs)

    def _commit(self) -> None:
        step = self._staged.take()
        if self._session is None:
            return
        state = {
            "progress": self._progress.to_state(),
            "settings": self._asked,
            "training": self.adapter.state(),
            "callbacks": parts.callbacks_state(self._ours(), self.adapter),
            "parts": parts.parts_state(self._parts),
            "loop": self._loop.state(),
            "random": random_state.collect(),
        }
        self._session.commit(step, state, (self._progress.next_epoch - 1, None))

    def _committed_log(self, name: str) -> bytes | None:
        return None if self._session is None else self._session.log_or_none(name)

    def _say(self, text: str) -> None:
        self.context.report.message(text)

    def _close(self) -> None:
        self._signals.restore()
        disclaim(self.adapter.model)
        if self._session is not None:
            self._session.close()
