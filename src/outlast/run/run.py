"""Run: callbacks with a folder, where nothing is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

from outlast.callbacks.base import Callback
from outlast.callbacks.early_stopping import EarlyStopping
from outlast.callbacks.list import CallbackList
from outlast.core.decision import Action, Decision, Reason
from outlast.core.logs import Logs
from outlast.core.metrics import Metrics
from outlast.exceptions import ArgumentError, RunChanged, UnknownArgument, UsageError, nearest
from outlast.frameworks import random_state
from outlast.frameworks.base import Adapter
from outlast.run import parts, settings
from outlast.run.loop import Loop
from outlast.run.session import Session
from outlast.run.staged import StagedOutput
from outlast.storage import layout
from outlast.storage.record import ROWS, Best, best_of, decisions_of, rows_of

_LATER = {
    "state": "JAX loops",
    "weights": "JAX loops",
    "learning_rate": "JAX loops",
    "on_save_error": "going on after a failed save",
}


class Run(CallbackList):
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
        clock: seconds, from any origin.
        **parts: anything with ``state_dict()`` and ``load_state_dict()``, such as ``scheduler=``,
            saved with the rest.

    Attributes:
        extra: a dict of JSON values of your own, saved with the rest.
        decisions: every :class:`Decision` that acted, from the run's first start on.

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
        clock: Callable[[], float] = time.monotonic,
        **parts_by_name: Any,
    ) -> None:
        self.folder = None if folder is None else _checked_folder(folder)
        if resume not in ("auto", "never", "must"):
            raise ArgumentError(
                f"resume must be 'auto', 'never' or 'must', but is {resume!r}."
                + nearest(str(resume), ("auto", "never", "must"))
            )
        if save_every != "epoch":
            raise ArgumentError(
                f"save_every must be 'epoch', but is {save_every!r}: resume points inside an epoch are "
                "not made yet."
            )
        _check_parts(parts_by_name)
        self.extra: dict[str, Any] = {}
        self.decisions: list[Decision] = []
        self._seed, self._resume, self._accepted = seed, resume, frozenset(accept_changes)
        self._parts = parts_by_name
        self._session: Session | None = None
        self._staged = StagedOutput(self.folder, self._committed_log)
        self._rows: list[dict[str, Any]] = []
        self._next_epoch = 0
        self._stops: list[Decision] = []
        self._begun_epochs = 0  # in this training
        self._pending_random: Any = None
        self._loop = Loop()
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

    def __deepcopy__(self, memo: Any) -> Run:
        """A run is one: who copies its list gets the same."""
        return self

    # What users read.

    @property
    def history(self) -> Metrics:
        """Every epoch's metrics since the run's first start."""
        return Metrics.from_rows(self._rows)

    @property
    def best(self) -> Best | None:
        """The best epoch so far, as ``ModelCheckpoint`` or ``EarlyStopping`` judged it."""
        found = best_of(self.decisions, self.folder)
        if found is not None:
            return found
        for callback in self._ours():
            if isinstance(callback, EarlyStopping) and callback.best is not None:
                return Best(callback.best_epoch, callback.monitor, callback.best, None)
        return None

    def load_best(self) -> Any:
        """The best model, in the framework's own kind: a Keras model, a PyTorch state dict.

        Raises:
            UsageError: no best model is saved.
        """
        self.flush()
        best = self.best
        if best is None or best.path is None:
            raise UsageError(
                "There is no best model: put outlast.ModelCheckpoint(save_best_only=True) into the run."
            )
        return self.adapter.load_file(best.path)

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
        decision = Decision("Run", Action.STOP, Reason.ASKED, self._next_epoch, values={"text": str(reason)})
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
        if self.folder is None:
            self._forget()
            return
        if self._session is not None:
            self._session.close()
        self.adapter.require("state", "A Run")
        self._session = Session(self.folder, self._resume, say=self._say)
        self._resume = "auto" if self._resume == "never" else self._resume  # once, not at every fit
        self._forget()
        self._staged.begin(self._session.files)
        if self._session.state is None:
            self._begin_anew()
        else:
            self._go_on(self._session.state)

    def _forget(self) -> None:
        for callback in self._ours():
            callback.forget()
        self._rows, self.decisions, self._stops, self._next_epoch = [], [], [], 0
        self._pending_random = None
        self._staged.begin(())

    def _begin_anew(self) -> None:
        assert self._session is not None
        self._asked = self._settings()
        self._session.record("start", {"settings": self._asked})

    def _settings(self) -> dict[str, Any]:
        ours = self._ours()
        return {
            "callbacks": {
                key: callback.configuration() for key, callback in zip(settings.keys(ours), ours, strict=True)
            },
            "learning_rate": self.adapter.learning_rates(),
            "seed": self._seed,
        }

    def _go_on(self, state: Mapping[str, Any]) -> None:
        assert self._session is not None
        now = self._settings()
        if parts.was_trained(self.adapter.model):  # its rate is not the initial one any more
            now["learning_rate"] = None
        changed = settings.changes(state["settings"], now)
        self._refuse(changed)
        self._asked = {**now, "learning_rate": state["settings"]["learning_rate"]}
        try:
            self.adapter.load_state(state["training"])
        except RunChanged as error:
            raise self._changed([str(error)]) from error
        parts.load_parts(self._parts, state["parts"])
        parts.load_callbacks(self._ours(), state["callbacks"], self.adapter)
        self._loop.load(state["loop"])
        self.extra = state["extra"]
        self._pending_random = state["random"]
        self._rows = rows_of(self._session.log(ROWS))
        self.decisions = decisions_of(self._session.log(layout.JOURNAL))
        self._next_epoch = state["epoch"]
        self._stops = [Decision.from_json(one) for one in state["stops"]]
        self._session.record("resume", {"epoch": self._next_epoch, "changes": [str(c) for c in changed]})
        self._announce(changed)

    def _refuse(self, changed: list[settings.Change]) -> None:
        refused = [
            change
            for change in changed
            if change.fixed and not {change.name, change.name.rpartition(".")[2]} & self._accepted
        ]
        if refused:
            names = ", ".join(repr(change.name) for change in refused)
            raise self._changed([str(change) for change in refused], f"accept_changes=[{names}]")

    def _changed(self, differences: list[str], accept: str = "") -> RunChanged:
        self._close()
        ways = ["resume='never' (sets the old folder aside)", "another folder", *([accept] if accept else [])]
        return RunChanged(
            f"{self.folder} holds another training: {'; '.join(differences)}. "
            f"To go on: the old setting, {', '.join(ways[:-1])} or {ways[-1]}."
        )

    def _announce(self, changed: list[settings.Change]) -> None:
        assert self._session is not None
        self._say(
            f"outlast: resumed {self.folder} at epoch {self._next_epoch + 1}, "
            f"resume point {self._session.number}"
            + "".join(f"; {finding}" for finding in self._session.findings)
            + "".join(f"; {change}" for change in changed)
        )

    def _finished(self) -> str | None:
        """Why there is nothing left to train with these settings; None if there is."""
        for decision in self._stops:
            askers = [c for c in self._ours() if _is_a(c, decision.callback)]
            if not askers or any(callback.still_stops(decision) for callback in askers):
                return decision.sentence
        epochs = (self.params or {}).get("epochs")
        if epochs is not None and self._next_epoch >= epochs:
            return f"all {epochs} epochs are done"
        return None

    def _ours(self) -> list[Callback]:
        return [callback for callback in self.callbacks if isinstance(callback, Callback)]

    # Hooks.

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the folder, put back what it holds, and tell the loop where to begin."""
        if self._session is None or not self._session.fresh:
            self._open()
        if self._session is not None:
            self._session.fresh = False
        self._begun_epochs = 0
        super().on_train_begin(logs)
        parts.mark_trained(self.adapter.model)
        finished = self._finished()
        if finished is None:
            self._stops = []
            self.adapter.resume_at(self._next_epoch)
        else:
            self._say(f"outlast: {self.folder} is finished: {finished}")
            self.adapter.resume_at(max(self._next_epoch, (self.params or {}).get("epochs") or 0))
        self._show_history()
        if self._pending_random is not None:
            random_state.restore(self._pending_random)
            self._pending_random = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Begin an epoch, which must be the next."""
        if epoch != self._next_epoch:
            raise UsageError(
                f"The next epoch of {self.folder} is {self._next_epoch} (counted from 0), but the loop "
                f"begins {epoch}: leave out initial_epoch, the run knows where to go on."
            )
        self.adapter.resume_at(0)
        if not self._begun_epochs:
            self._show_history()
        self._begun_epochs += 1
        super().on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Let every callback see the epoch, then commit."""
        complete = self._completed(logs)
        if isinstance(logs, dict):
            logs.update(complete)
        row = {"epoch": epoch, **complete}
        self._rows.append(row)
        self._call("on_epoch_end", epoch, complete)
        self._next_epoch = epoch + 1
        if self.adapter.stopping and not self._stops:
            text = {"text": "the loop was told to stop, by none of the run's callbacks"}
            self._stops = [Decision("Run", Action.STOP, Reason.ASKED, epoch, values=text)]
        self._staged.add_lines(ROWS, parts.row_line(row), view=False)
        self._commit()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Let every callback end, and wait until everything is on the disk."""
        super().on_train_end(logs)
        self.adapter.resume_at(0)
        if not self._begun_epochs:
            self._show_history()
        if self._session is not None:
            self._session.flush()
            if self._begun_epochs:
                self._session.record("end", {"epoch": self._next_epoch})
        self._close()

    def _note(self, decision: Decision) -> None:
        """Keep a decision, and stage its line of the journal."""
        if decision.action is Action.RESTORE:  # follows from the others; at every end anew
            return
        self.decisions.append(decision)
        if decision.stop:
            self._stops.append(decision)
        self._staged.add_lines(layout.JOURNAL, parts.journal_line(decision))

    def _show_history(self) -> None:
        columns = self.history
        self.adapter.fill_history(
            {name: list(columns[name]) for name in columns if name != "epoch"},
            [row["epoch"] for row in self._rows],
        )

    def _commit(self) -> None:
        if self._session is None:
            self._staged.take()
            return
        state = {
            "epoch": self._next_epoch,
            "stops": [decision.to_json() for decision in self._stops],
            "settings": self._asked,
            "training": self.adapter.state(),
            "callbacks": parts.callbacks_state(self._ours(), self.adapter),
            "parts": parts.parts_state(self._parts),
            "loop": self._loop.state(),
            "random": random_state.collect(),
            "extra": self.extra,
        }
        self._session.commit(self._staged.take(), state, (self._next_epoch - 1, None))

    def _committed_log(self, name: str) -> bytes | None:
        return None if self._session is None else self._session.log_or_none(name)

    def _say(self, text: str) -> None:
        self.context.report.message(text)

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()

    # A loop of one's own.

    def epochs(self, total: int) -> Iterator[int]:
        """The epochs that remain of ``total``, each committed when the next one is asked for.

        Leaving the loop by ``break`` or an error means "interrupted": the epoch does not count, and a
        rerun goes on from the last commit. An early stop needs no ``break``.
        """
        self.set_params({**(self.params or {}), "epochs": total})
        self.on_train_begin()
        ended = False
        try:
            if self._finished() is None:
                for epoch in range(self._next_epoch, total):
                    self._loop.begin_epoch()
                    self.on_epoch_begin(epoch)
                    yield epoch
                    self.on_epoch_end(epoch, self._loop.metrics())
                    if self.stop_training:
                        break
            ended = True
            self.on_train_end()
        finally:
            if not ended:
                self._close()

    def batches(self, loader: Iterable[Any]) -> Iterator[Any]:
        """The loader's batches, counted; ``run.log`` inside is a mean over them."""
        begin, end = self._heard["on_train_batch_begin"], self._heard["on_train_batch_end"]
        for batch, data in self._loop.batches(loader):
            for hook in begin:
                hook(batch, logs={})
            yield data
            for hook in end:
                hook(batch, logs=self._loop.last)
            if self.stop_training:
                break

    def log(self, metrics: Mapping[str, Any] | None = None, *, weight: float = 1, **named: Any) -> None:
        """Take metrics of a batch (inside ``run.batches``) or of the epoch.

        Args:
            metrics: by name, for names that are no Python identifiers.
            weight: of the batch in the epoch's mean, such as its size.
            **named: by name. A tensor stays on its device until the epoch's end.
        """
        self._loop.log({**(metrics or {}), **named}, weight)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()


def _is_a(callback: Callback, name: str) -> bool:
    return any(cls.__name__ == name for cls in type(callback).__mro__)


def _checked_folder(folder: str | os.PathLike[str]) -> str:
    path = os.fspath(folder)
    if not path or "\0" in path:
        raise ArgumentError(f"folder must be the path of a folder, such as 'runs/digits', but is {path!r}.")
    return path


def _check_parts(parts_by_name: Mapping[str, Any]) -> None:
    for name, part in parts_by_name.items():
        if name in _LATER:
            raise ArgumentError(f"Run does not take {name}= yet ({_LATER[name]}).")
        if not (hasattr(part, "state_dict") and hasattr(part, "load_state_dict")):
            known = ("model", "optimizer", "seed", "resume", "save_every", "accept_changes", "adapter")
            raise UnknownArgument(
                f"Run has no argument {name!r}.{nearest(name, known)} Any other keyword must be an object "
                f"with state_dict() and load_state_dict(), to be saved with the rest; this is {part!r}."
            )
