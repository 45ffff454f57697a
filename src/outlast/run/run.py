"""Run: callbacks with a folder, where nothing is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any, Never

from outlast.callbacks.early_stopping import EarlyStopping
from outlast.core.decision import Action, Decision, Reason
from outlast.core.run_state import START
from outlast.exceptions import UsageError
from outlast.frameworks import sources
from outlast.frameworks.base import Adapter, data_for_fit
from outlast.inspect.saved_run import Best
from outlast.run import arguments, batches, beforehand, rehearsal
from outlast.run.attributes import AttributesPart
from outlast.run.contents import Contents
from outlast.run.data import Data
from outlast.run.fetching import AUGMENTATIONS, Fetching
from outlast.run.folder_store import FolderStore
from outlast.run.foreign import Beside
from outlast.run.hosting import Host
from outlast.run.in_fit import InFit
from outlast.run.inside import Every
from outlast.run.loop import Loop
from outlast.run.notebook import Shown
from outlast.run.opening import Opening
from outlast.run.parts import CallbacksPart, RandomPart, TrainingPart, UserParts
from outlast.run.progress import Progress
from outlast.run.script import Script
from outlast.run.signals import Signals
from outlast.run.staged import StagedOutput
from outlast.run.stores import Store
from outlast.run.structure import Structure


class Run(Host, Shown):
    """Train with callbacks in a folder from which a killed training goes on, bit for bit.

    In Keras: ``model.fit(..., callbacks=[run])``. In a PyTorch loop: ``for epoch in
    run.epochs(100)``, in it ``for batch in run.batches(loader)`` and ``run.log(loss=loss)``. Run the
    same script or cell again after a crash, and it goes on where it was.

    Args:
        folder: where everything is kept; made if it is not there. None writes nothing, for trying out.
        callbacks: outlast's, in any order. Keras's own may be among them, but their state is
            not saved. File names in them are relative to the folder and have defaults.
        model: PyTorch's module or scikit-learn's estimator, for a loop of one's own; Keras's fit brings its
            model itself.
        optimizer: PyTorch's optimizer; several in a list or a dict by name; ``[]`` if there is none.
        adapter: how the training is stopped and saved, for a framework of your own.
        state: what a JAX loop trains: a pytree with the weights, the optimizer's state, random keys. It is
            ``run.state`` from then on, to be read and set; what was saved is put back into it.
        weights: gives the piece of the state that is the model, such as ``lambda s: s.params``; without it
            ``params`` or ``model`` in the state, or else all of it.
        learning_rate: that a JAX loop passes to its step as ``run.learning_rate``; without it, one that
            ``optax.inject_hyperparams`` keeps in the state.
        seed: the seed that the script uses; compared at a resume.
        resume: ``"auto"``: go on if there is something; ``"must"``: else it is an error; ``"never"``:
            set the old folder aside as ``NAME.1`` and start from nothing.
        save_every: how often a resume point is made: ``"epoch"``; or after so many batches of an epoch, or
            after this time, a ``datetime.timedelta``, and at each epoch's end.
        augmentation: how the batches of PyTorch's loaders draw random numbers. ``"batch"``: each from a seed
            of its own, so that the number of workers makes no difference; ``"leave"``: as PyTorch does;
            ``"auto"``: the former for loaders with workers, where ``save_every`` or ``run.steps`` makes
            resume points within a pass.
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
        **parts: anything with ``state_dict()`` and ``load_state_dict()``, such as ``scheduler=``, a random
            generator, an estimator of scikit-learn's, or Keras's metric or layer, saved with the rest.

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
        *("batch", "batches", "callbacks", "data", "epochs", "flush", "learning_rate", "log", "model"),
        *("state", "step", "steps", "stop", "stop_training", "validation"),
    )

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        callbacks: Iterable[Any] | Any = None,
        *others: Never,
        model: Any = None,
        optimizer: Any = None,
        adapter: Adapter | None = None,
        state: Any = None,
        weights: Callable[[Any], Any] | None = None,
        learning_rate: float | Mapping[str, float] | None = None,
        seed: int | None = None,
        resume: str = "auto",
        save_every: str | int | timedelta = "epoch",
        augmentation: str = "auto",
        accept_changes: Iterable[str] = (),
        check_resume: str = "auto",
        on_save_error: str = "raise",
        listen: Callable[[Decision], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        **parts: Any,
    ) -> None:
        arguments.refuse_positional(others)
        arguments.check_word("resume", resume, "auto", "never", "must")
        save_every = arguments.checked_save_every(save_every)
        arguments.check_word("augmentation", augmentation, *AUGMENTATIONS)
        arguments.check_word("check_resume", check_resume, "auto", "always", "never")
        arguments.check_word("on_save_error", on_save_error, "raise", "warn")
        arguments.check_parts(parts)
        self._made_for = model
        self.folder = None if folder is None else arguments.folder_path(folder)
        self._shown = "" if folder is None else os.fspath(folder)
        self._rehearsal = rehearsal.current()
        if self._rehearsal and self.folder is not None:
            self.folder = self._rehearsal.folder(self.folder, resume)
        self._listener = listen
        self._store = (
            Store()
            if self.folder is None
            else FolderStore(self.folder, say=self._say, on_save_error=on_save_error)
        )
        self._staged = StagedOutput(self.folder, lambda name: self._store.log(name))
        self._progress = Progress()
        self._every = None if isinstance(save_every, str) or folder is None else Every(save_every, clock)
        fetching = Fetching(
            augmentation, arguments.checked_seed(seed), self._say_of_run, self._tell_of_loader
        )
        self._loop, self._data = Loop(self._tell_of_loader, fetching), Data()
        self._in_fit = InFit()
        self._beside, self._structure = Beside(), Structure("the model")
        self._structure_of_parts = Structure("a part")
        self._parts = parts
        if self._every is not None:
            self._loop.save_inside()
        self._attributes = AttributesPart(self._ours, lambda thing: beforehand.is_known(thing, self, parts))
        self._contents = Contents(
            [
                UserParts(parts, lambda: self.training),
                CallbacksPart(self._ours, lambda: self.training),
                self._attributes,
                self._loop,
                self._data,
                self._in_fit,
                TrainingPart(lambda: self.training),
                RandomPart(lambda: self.control.random_moment),
            ]
        )
        self._opening = Opening(
            self._shown,
            self._store,
            self._contents,
            seed=arguments.checked_seed(seed),
            accepted=frozenset([accept_changes] if isinstance(accept_changes, str) else accept_changes),
            resume=resume,
            check=check_resume,
            say=self._say,
        )
        self._signals = Signals(self._interrupt, self._saves_soon, self._tell_of_handler)
        self._script = Script(self._is_saved)
        self._results, self._extra_left, self._told = {}, {}, set()
        super().__init__(
            callbacks,
            model=model,
            optimizer=optimizer,
            adapter=adapter,
            state=state,
            weights=weights,
            learning_rate=learning_rate,
            output=self._staged,
            listen=self._note,
            clock=clock,
        )
        self.calls_users_code = listen is not None  # the list was given _note
        if "state" in self.training.capabilities:
            self._or_close(self._open)

    def __repr__(self) -> str:
        return f"Run({self._shown!r})" if self.folder is not None else "Run(None)"

    def __dir__(self) -> list[str]:
        """What users need; a state only where there is one."""
        return [name for name in super().__dir__() if name != "state" or self.training.is_value]

    def __copy__(self) -> Run:
        """The same run: some frameworks copy the callbacks that they are given."""
        return self

    def __deepcopy__(self, memo: Any) -> Run:
        """The same run, too."""
        return self

    # What users read.

    @property
    def results(self) -> dict[str, Any]:
        """What was logged after the loop, or after Keras's ``fit``, such as the accuracy on test data."""
        return dict(self._results)

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
        """The best model, in the framework's own form.

        That is a Keras model, a PyTorch state dict, an estimator of scikit-learn's, or JAX's pytree.

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
    def step(self) -> int | None:
        """The step at hand, from 0 over all epochs and all starts; behind the last how many were done.

        A step is a batch of ``run.batches`` or of ``run.steps``. None where there was none.
        """
        return self._loop.step

    @property
    def batch(self) -> int | None:
        """The batch of the epoch at hand, from 0, also where the epoch was gone on with; else None."""
        return self._loop.done - 1 if self._loop.in_batch else None

    def _rates_were_set(self) -> None:
        if not self._signals.under_way():
            self._opening.set_through_run("learning_rate")

    def stop(self, reason: str) -> None:
        """End the batches here and the training with this epoch, which counts, for good, with your reason.

        Raises:
            UsageError: there is no training to end.
        """
        if not self._trains:
            raise UsageError("There is no training to stop: call run.stop(...) inside of it.")
        decision = Decision(
            "Run", Action.STOP, Reason.ASKED, self._progress.next_epoch, values={"text": str(reason)}
        )
        self.control.stop(decision.sentence)
        self._note(decision)

    @arguments.naming_the_nearest("run.data((x, y))", "pass arrays in a tuple, run.data((x, y))")
    def data(
        self, source: Any, *, steps: int | None = None, batch_size: int = 32, shuffle: bool = True
    ) -> Any:
        """Data for Keras's ``fit`` whose order and position a resume brings back.

        ``fit`` hides its data from callbacks. Give it this instead, in the same order in every start of the
        script: ``model.fit(run.data(dataset), callbacks=[run])``. In a loop of your own it is for a
        ``tf.data.Dataset``: make it once, before the loop, and go through ``run.batches(data)``.

        Args:
            source: a ``tf.data.Dataset`` (as many iterators are begun as before; of one that goes on over
                epochs, what was trained is skipped); a ``keras.utils.PyDataset`` (its ``state_dict`` is
                saved if it has one, else ``on_epoch_end`` is called as often as before); a PyTorch
                ``DataLoader`` or another iterable of batches; arrays in a tuple, ``(x, y)``; or a function
                that makes a generator, of no argument or of the number of generators before.
            steps: batches of an epoch, where the source does not say and ``steps_per_epoch`` is not given.
            batch_size: of arrays.
            shuffle: arrays, in an order that depends on the epoch alone.

        Raises:
            ArgumentError, UnknownArgument: it is none of these, or an iterator that cannot be begun again; or
                another argument cannot work.
            MissingExtra: Keras, or its backend, is not installed.

        Example:
            .. code-block:: python

                run = outlast.Run("runs/digits")
                data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(1000, seed=3).batch(32)
                model.fit(run.data(data), epochs=10, callbacks=[run])
        """
        options = sources.checked(steps, batch_size, shuffle)
        return self._data.add(data_for_fit().source(source, batches.checksum, *options))

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
