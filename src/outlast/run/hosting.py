"""Host: what a run does at each hook: it opens the folder, commits each epoch, and leaves it whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from outlast.callbacks.base import Callback
from outlast.callbacks.list import Listener
from outlast.core.decision import Decision
from outlast.core.logs import Logs, completed
from outlast.core.numbers import check_metric, check_name, to_python
from outlast.core.run_state import START, Moment, Position, RunState
from outlast.exceptions import FileError, OutlastError, OutlastWarning, RunChanged, UsageError, warn
from outlast.frameworks import loaders, random_state, under_way
from outlast.run import beforehand, parts, rehearsal, settings, source
from outlast.run.attributes import AttributesPart
from outlast.run.contents import Contents, frozen
from outlast.run.data import Data
from outlast.run.foreign import Beside
from outlast.run.generators import Firsts
from outlast.run.held import is_held
from outlast.run.in_fit import InFit
from outlast.run.inside import Every
from outlast.run.opening import Opening
from outlast.run.own_loop import OwnLoop
from outlast.run.progress import RUN, Progress, put_into
from outlast.run.resume_check import ResumeCheck
from outlast.run.script import Script, starts_over
from outlast.run.signals import Signals
from outlast.run.staged import StagedOutput
from outlast.run.stores import Store
from outlast.run.structure import Structure, weights_of
from outlast.storage.format import layout
from outlast.storage.format.reader import nonsense_as_damage

Result = TypeVar("Result")


class Host(OwnLoop):
    """The hooks of a run; ``Run`` makes what they use, and has what users read."""

    folder: str | None
    _shown: str  # the folder, as the user wrote it
    _made_for: Any  # the model that the user gave
    _listener: Callable[[Decision], None] | None
    _parts: Mapping[str, Any]
    _rehearsal: rehearsal.Rehearsal | None
    _store: Store
    _staged: StagedOutput
    _progress: Progress
    _data: Data
    _in_fit: InFit
    _attributes: AttributesPart
    _contents: Contents
    _opening: Opening
    _beside: Beside
    _structure: Structure
    _structure_of_parts: Structure
    _signals: Signals
    _script: Script
    _loader_at_hand: Any = None  # while its loop is looked at

    _every: Every | None  # when a resume point is made inside an epoch
    _has_said_slow = False  # that the disk is slower than save_every
    _within: Mapping[str, Any] | None = None  # all as it was saved inside an epoch, until the loop is there

    _fresh = False  # opened, and not trained since
    _under_way: int | None = None  # the epoch that has begun and is not committed
    _begun_epochs = 0  # in this training
    _has_looked_inside = False  # at what a save inside an epoch does not hold
    _may_have_results = False  # a training has been, and is not under way
    _trains = False
    _commits = False  # a commit is being made
    _stopped = False  # somebody has ended the training, and no signal
    _check: ResumeCheck | None = None  # while the last saved epoch is trained again
    _restructured: tuple[str, ...] = ()  # what to say of it
    _saved: RunState | None = None  # what was found, until it is announced
    _told: set[str]  # what of the loaders is not exact
    _results: dict[str, Any]
    _extra_left: dict[str, Any]  # what the user has set since differs from it

    @property
    def extra(self) -> dict[str, Any]:
        """A dict of JSON values of your own, saved with the rest."""
        return self._progress.extra

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

    # Hooks.

    def set_model(self, model: Any) -> None:
        """Take the model to be trained.

        Raises:
            UsageError: the run was made for another one.
        """
        if self.training.is_value:
            raise UsageError(
                f"{self!r} was made with state=, for a JAX loop: no fit trains it. Make one without."
            )
        if self._made_for is not None and model is not self._made_for:
            raise UsageError(
                f"{self!r} was made for another model than the one that is trained now: leave out model=, or "
                "pass this model."
            )
        super().set_model(model)
        self._signals.restore()  # of a training that an error ended
        self._in_fit.leave()
        self.training.run, self._trains = self, False
        self.training.watch(loaded=False)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open the folder, put back what it holds, and tell the loop where to begin."""
        self._or_close(lambda: self._unless_refused(self._begin, logs))

    def _unless_refused(self, act: Callable[..., Result], *args: Any) -> Result:
        """Have the check of a resume left to the next start, if this one is refused."""
        try:
            return act(*args)
        except OutlastError:
            if self._check is not None:
                self._check.refused()
            raise

    def _begin(self, logs: Logs | None) -> None:
        beforehand.refuse_beside(self)
        if not (self._store.is_open and self._fresh):
            self._open()
        self._count_rows()
        self._fresh, self._begun_epochs, self._under_way = False, 0, None
        self._may_have_results = False
        if self._saved is not None and self._finished() is None:
            self._check = self._opening.rewind(self._ours(), self._progress.extra, self._data)
            if self._check is not None:
                self._be_at(self._check, self._check.before)
                self._check.label = self.training.label
        beforehand.refuse_undone_rates(self.training, self._ours(), self._parts)
        super().on_train_begin(logs)
        attributes = self._attributes.begin()
        self.training.leave(known=False)
        finished, found_finished = self._finished(), False
        if self.folder is not None:
            if self._saved is None:  # what was resumed has been loaded just now
                self._opening.dry_run()
                self._loop.forget(self._firsts())
                self._data.forget()
            for problem in [*self._inexact(), *attributes] if finished is None else ():
                self._say_inexact(problem)
            found_finished = finished is not None and self._saved is not None
            if found_finished:
                self._opening.refuse_if_finished_here(self.training, self._epochs())
            if self._check is None:
                self._opening.announce(self._saved, finished, self._epochs(), self._steps_done())
                self._saved = None
        self._progress.finished = finished is not None
        if finished is None:
            self._progress.stops = []
        position = self._progress.position
        if finished is not None:
            position = max(position, Position(((self.params or {}).get("epochs") or 0) - 1))
        self.control.resume_at(position)
        self._show_history()
        self._opening.put_back(Moment.TRAIN_BEGIN)
        if finished is None:
            self._data.begin(self._steps())
        elif found_finished:
            self._data.hand_on()
            self._loop.hand_on(os.path.realpath(self._store.folder), self._shown)
        if self._every is not None:
            self._every.begin()
        if finished is None:
            self._follow()
            self._keep_within()
        self._trains = True
        self._beside.begin(self._others())
        for structure in (self._structure, self._structure_of_parts):
            structure.begin()
        if self.folder is not None:
            self._signals.install(self.control.dispatchers)
            if self.training.is_built:
                self._find_restructured(self.training.state())
            self.training.changed(self._parts), self.training.taken_over([*self._parts.values()])
        self.training.batches_done = lambda: self._loop.done

    def _count_rows(self) -> None:
        """A training without epochs has as many as it has rows."""
        left = self._loop.begin_steps(self._rows_wanted, anew=self._progress.position == START)
        if self._rows_wanted is not None:
            self.set_params({**(self.params or {}), "epochs": self._progress.next_epoch + left})

    def _follow(self) -> None:
        """Hear of each step, if a resume point may be made after it, or one goes on there."""
        is_checked = self._check is not None and self._check.newest.position.batch is not None
        if self._marks_batches or not (self._every is not None or self._in_fit.goes_on or is_checked):
            return
        if not self._in_fit.follow(self.control, self.training, self, self._end_step):
            raise UsageError(
                "save_every makes resume points inside an epoch in Keras's fit, and in a loop of your own "
                "with run.epochs(...) and run.batches(...). Here the run sees epochs alone: leave out "
                'save_every, or pass "epoch".'
            )

    def _keep_within(self) -> None:
        """Keep what was put back: the code of the epoch runs again before the loop has come there."""
        self._within = None
        if self._loop.goes_on or self._in_fit.goes_on:
            self._within = {**frozen(self._contents.collect()), "extra": deepcopy(self._progress.extra)}

    def _come_back(self) -> None:
        if self._within is not None:
            within, self._within = dict(self._within), None
            put_into(self._progress.extra, within.pop("extra"))
            self._in_fit.come_to_the_end(within["random"])
            within["random"] = self._in_fit.random_state_at_hand(within["random"])
            self._contents.restore(within)

    def _end_step(self, done: int, size: int) -> None:
        """After a step of a framework's fit."""
        self._end_batch(done - 1, size)
        self._let_script_hear()

    def _end_batch(self, batch: int, size: int = 1) -> None:
        if self._check is None and not self._is_due(self._counted(batch), size):
            return
        if self._within is not None or self._under_way is None:
            return
        here = Position(self._under_way, batch)
        if self._check is None:
            self._commit_inside(here)
        elif here == self._check.newest.position and not self._check.is_behind_batches:
            self._commit_inside(here)  # what is compared was saved there

    def _leave_batch(self, batch: int) -> None:
        every, signals = self._every, self._signals
        if self._check is not None or (
            every is not None and (signals.have_come or every.is_due(self._counted(batch)))
        ):
            self._end_batch(batch)
        if signals.have_come:  # before the save, or in it
            self._safe_point()

    def _counted(self, batch: int) -> int:
        """What ``save_every`` counts: batches of the epoch, or steps where there are no epochs."""
        return batch + 1 if self._rows_wanted is None else self._loop.step or 0

    def _end_batches(self) -> None:
        """A framework's fit has left the batches of the epoch."""
        self._in_fit.end_batches(self._steps())
        if self._check is None or self._under_way is None or not self._check.is_behind_batches:
            return
        here = Position(self._under_way, self._in_fit.done - 1)
        if here == self._check.newest.position and self._within is None:
            self._commit_inside(here)

    @property
    def _stops(self) -> bool:
        """Whether this epoch is the last, for another reason than a signal: its end is the next save."""
        if self._signals.pending is None:
            self._stopped = self.control.stopping
        return self._stopped or bool(self._progress.stops)

    def _interrupt(self) -> None:
        """A signal came: have the loop come to its next safe point."""
        self._stopped = self.control.stopping
        self.control.interrupt_epoch()

    def _is_due(self, done: int, size: int) -> bool:
        if self._every is None:
            return False
        is_asked = self._signals.have_come
        if not (is_asked or self._every.is_due(done, size)) or self._stops:
            return False
        if self.training.is_amid_step([*self._parts.values()]):
            self._every.put_off()
            return False
        if is_asked:
            return True
        if self._is_last(done):  # the epoch's end makes one
            self._every.put_off()
            return False
        if not (self._store.is_writing and self._every.slows):
            return True
        self._every.put_off()
        if not self._has_said_slow and self._every.is_long:
            self._has_said_slow = True
            self._say(
                f"outlast: {self._shown}: saves take more than a third of the time. Some are made a few "
                "batches later from now on; a larger save_every avoids that."
            )
        return False

    def _is_last(self, done: int) -> bool:
        """Whether the batch at hand is the epoch's last, as far as is known."""
        if self._in_fit.is_followed:
            return (steps := self._steps()) is not None and done >= steps
        return self._loop.is_at_end

    def _commit_inside(self, here: Position) -> None:
        if stale := self.training.stale():
            self._warn(stale)
        self._progress.position = here
        self._progress.epochs, self._progress.finished = self._epochs(), False
        began = self._every.clock() if self._every is not None else 0.0
        self._commit()
        if self._every is not None:
            self._every.made(self._every.clock() - began)
        if self._check is not None:
            self._go_on_from(self._check, None)
        else:
            self._name_what_changed_inside()

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
            self.training.watch(loaded=True)
        self._begun_epochs += 1
        self._in_fit.begin_epoch(self._come_back, self._others())
        if self.folder is not None:
            for problem in self._beside.begin_epoch():
                self._say_inexact(problem)
        self._results = {}  # they were those of fewer epochs
        self._under_way = epoch
        under_way.begin(self, epoch)
        self._opening.hook_came()
        self.training.was_trained = True
        super().on_epoch_begin(epoch, logs)
        self._opening.put_back(Moment.EPOCH_BEGIN)
        self._data.begin_epoch()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Let every callback see the epoch, then commit; an epoch cut short by a signal is discarded."""
        self._or_close(lambda: self._end_epoch(epoch, logs))

    def _end_epoch(self, epoch: int, logs: Logs | None) -> None:
        self._end_batches()
        self._safe_point()
        self._in_fit.end_epoch()
        if self._within is not None:
            raise UsageError(
                f"{self._shown} was saved inside epoch {epoch + 1}, and this start has not come there: the "
                "loop has no run.batches(...) in this epoch any more. Begin again with resume='never'."
            )
        self._opening.hook_came()
        super().on_epoch_end(epoch, logs)
        if self.control.stopping and not self._progress.stops and self._signals.pending is None:
            self._progress.stopped_from_outside()
        steps, size = self._steps(), self.control.step_size
        whole = None if steps is None else -(-steps // size) * size  # fit has whole steps
        seen = self._data.end_epoch(whole)
        if seen is not None:
            self._loop.saw(seen)
        self._progress.close_epoch(self._progress.rows[-1], self._epochs(), self._staged)
        if self._is_row_due():
            self._commit()
            if self._every is not None:
                self._every.made()
        else:
            self._store.show(self._staged.take())
        if self._every is not None and not (self._loop.has_batches or self._in_fit.is_followed):
            self._every = None
            self._warn(
                "save_every has no effect: this loop has no run.batches(...) in its epochs, such as "
                "for batch in run.batches(loader)."
            )
        changed = self._name_what_changed() if self.folder is not None else ""
        if self._check is not None:
            self._go_on_from(self._check, logs)
        if changed and not self._has_proved_exact():
            self._warn(changed)  # a resume would not bring it back
        self._under_way = None
        if self._rehearsal and self._progress.finished:
            self.control.stop("the rehearsal has trained its epochs")
        self._safe_point()

    def _is_row_due(self) -> bool:
        """Whether there is a save at the end of this epoch, or of this row of ``run.steps``."""
        if self._rows_wanted is None or self._every is None or self._check is not None:
            return True
        ends = self._progress.finished or self._stops or self._signals.have_come
        return ends or self._every.is_due(self._loop.step or 0)

    def _name_what_changed(self) -> str:
        """After an epoch: name what a resume would not bring back.

        Returns:
            A warning that is not given if a check shows that what changed makes no difference.
        """
        given = [*self._parts.values()]
        if self.training.is_amid_step(given):
            self._tell_once(
                "Accelerate sums gradients over the end of an epoch (a row of run.steps), and does not save "
                "of how many batches: prepare the loader too, accelerator.prepare(loader), which ends a step "
                "with it, or have gradient_accumulation_steps fit into the epoch, or into log_every"
            )
        taken_over = self.training.taken_over(given)
        for warning in (*self._restructured, taken_over, self.training.retrained()):
            if warning:
                self._warn(warning)
        return self.training.changed(self._parts)

    def _name_what_changed_inside(self) -> None:
        """After the first save inside an epoch: name what it does not hold, and the epoch's end may reset."""
        if self._has_looked_inside or self.folder is None:
            return
        self._has_looked_inside = True
        for problem in self._beside.changed_inside():
            self._say_inexact(problem)
        of_the_model = self.training.changed({}, inside=True)
        of_parts = self.training.changed(self._parts, inside=True)
        if of_the_model and not self._has_proved_exact():
            self._warn(of_the_model)
        if of_parts:  # no check sees what a part does not save before the epoch's end
            self._warn(of_parts)

    def _has_proved_exact(self) -> bool:
        """Whether a resume was identical already: what changes and is not saved made no difference."""
        return any(event.get("identical") for event in self._store.events("check"))

    def _commit(self) -> None:
        self._commits = True
        try:
            self._store.commit(self._staged.take(), self._state)
        finally:
            self._commits = False
        if self._check is None:
            self._opening.committed()
            self._extra_left = deepcopy(self._progress.extra)

    def _go_on_from(self, check: ResumeCheck, logs: Logs | None) -> None:
        """Once the last saved epoch was trained again: say what came of it, and go on from what was saved."""
        if check.differences is None:  # of several epochs, not the last
            self.control.begin()  # the run had not stopped here
            return
        at = check.newest.position
        if at.batch is not None and self._progress.position.batch is None:
            raise RunChanged(
                f"{self._shown} was saved in {at.done}, and trained again the epoch ended before that: the "
                "data has changed. Give it the same data, or begin again with resume='never'."
            )
        asked = [one for one in self._progress.stops if one.callback == RUN]  # by the user: it holds
        self._check = None
        self._be_at(check.store, replace(check.newest, finished=False))  # more epochs are asked for now
        self._opening.end(check)
        if check.differences or check.abandoned:
            self.control.begin()  # a stop of a callback that decided otherwise
            if isinstance(logs, dict):  # what Keras's own History will show
                logs.update(
                    {name: value for name, value in self._progress.rows[-1].items() if name != "epoch"}
                )
        self._opening.announce(
            self._saved,
            None,
            self._epochs(),
            self._steps_done(),
            "" if check.abandoned else f" ({check.told})",
        )
        self._saved = None
        if asked:
            self._stop_at_once(asked)
        if check.differences and not check.is_known:
            self._warn(check.warning(self._shown, self.training.is_on_accelerator))
        if not check.abandoned:
            self._store.write_event("check", check.to_json())

    def _steps_done(self) -> int | None:
        """The steps that a training without epochs has done; None if it has epochs."""
        return None if self._rows_wanted is None else self._loop.step

    def _stop_at_once(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            self.control.stop(decision.sentence)
            self._note(decision)
        self._progress.finished = True
        self._commit()

    def _warn(self, text: str) -> None:
        """Warn, but end no training where warnings are errors."""
        try:
            warn(text)
        except OutlastWarning:
            self._say(f"outlast: {text}")

    def _leave_check(self) -> None:
        """The epoch that was trained again has been left: the run is where it was saved."""
        if self._check is not None:
            check, self._check = self._check, None
            self._be_at(check.store, check.newest)

    def _be_at(self, store: Store, state: RunState) -> None:
        """Go on from what a store holds; the user may have kept ``extra``, or what is in it."""
        extra, self._store = self._progress.extra, store
        self._staged.begin(store.files, capture=store is not self._check)
        rows, journal = (store.log(name) or b"" for name in (layout.ROWS, layout.JOURNAL))
        with nonsense_as_damage(store.folder):
            self._progress = Progress.from_state(state, rows, journal)
        put_into(extra, self._progress.extra)
        self._progress.extra = extra

    def _hear(self) -> None:
        super()._hear()
        heard = self._batch_hooks.get("on_train_batch_end")
        if self._rehearsal:
            heard = partial(self._rehearse_batch, heard)
        if heard is not None:
            self._batch_hooks["on_train_batch_end"] = partial(self._hear_batch, heard)
        begin = self._batch_hooks.get("on_train_batch_begin")
        if begin is not None:
            self._batch_hooks["on_train_batch_begin"] = partial(self._hear_begin, begin)

    def _rehearse_batch(self, heard: Listener | None, batch: int, logs: Logs | None = None) -> None:
        assert self._rehearsal
        self._rehearsal.count(rehearsal.BATCH, self._store.flush)
        if heard is not None:
            heard(batch, logs)

    def _hear_batch(self, heard: Listener, batch: int, logs: Logs | None = None) -> None:
        """After a batch: what a callback saved in it goes to the disk at once, not with the epoch."""
        if batch <= self._in_fit.heard_until:
            return
        heard(batch, logs)
        step = self._staged.take_files()
        if step.files:
            self._store.show(step)
        if self._in_fit.run_is_last:
            self._end_batch(batch, self._in_fit.size)
            self._let_script_hear()

    def _hear_begin(self, heard: Listener, batch: int, logs: Logs | None = None) -> None:
        if batch > self._in_fit.heard_until:
            heard(batch, logs)

    def _state(self) -> RunState:
        contents = self._contents.collect()
        if self.folder is not None and self._progress.position.batch is None:  # told at the epoch's end
            self._find_restructured(contents["training"])
        state = self._progress.to_state(self._opening.settings, contents)
        return replace(state, description=self._opening.description, changes=self._opening.changes)

    def _find_restructured(self, state: Any) -> None:
        self._restructured = (
            self._structure.changed(weights_of(state), self.training.takes_any_shape),
            self._structure_of_parts.changed(parts.made_of(self._parts)),
        )

    def _see_epoch(self, epoch: int, complete: Logs) -> None:
        self._progress.rows.append(_row(epoch, complete))
        super()._see_epoch(epoch, complete)
        self._progress.rows[-1] = _row(epoch, completed(complete, {}))  # with what callbacks have added

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before a validation, which a signal skips."""
        if self._rehearsal:
            self._rehearsal.count(rehearsal.VALIDATION, self._store.flush)
        self._end_batches()
        self._safe_point()
        self._in_fit.begin_validation(stopped=self.control.stopping)
        super().on_test_begin(logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """After a validation, which a signal cuts short."""
        self._safe_point()
        super().on_test_end(logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Let every callback end, and wait until everything is on the disk."""
        self._or_close(lambda: self._end(logs))

    def _end(self, logs: Logs | None) -> None:
        self._may_have_results = True
        super().on_train_end(logs)
        self._keep_late_stop()
        self.control.resume_at(START)
        if not self._begun_epochs:
            self._show_history()
        self._store.finish()
        if self._begun_epochs:
            self._store.write_event("end", {"epoch": self._progress.next_epoch})
        else:
            self.training.take_back()
        self._opening.ended(self.training, is_finished=self.finished, epochs=self._epochs())
        self._trains = False
        self._close()
        if self._rehearsal:
            self._rehearsal.end()
        if self._signals.pending is not None:
            self._say(f"outlast: {self._signals.shown}: the training had ended; all of it is saved")
            self._signals.raise_pending()

    def _others(self) -> list[Any]:
        """Callbacks beside the run."""
        return [one for one in self.control.beside() if one not in (self, *self.callbacks)]

    def _keep_late_stop(self) -> None:
        """A callback that Keras calls after the run stopped the training: keep that, too."""
        if self._begun_epochs and self.control.stopping and not self._progress.finished:
            self._progress.stopped_from_outside()
            self._progress.finished = True
            self._commit()

    # Opening and closing.

    def _open(self) -> None:
        """Take the store, and put back what it holds."""
        if self.folder is not None:
            self.training.require("state", "A Run")
        for callback in self._ours():
            callback.forget()
        self._leave_check()
        self._staged.begin(())
        extra, left = self._progress.extra, self._extra_left
        users = deepcopy(extra) if extra != left else None
        self._progress = Progress(extra=extra)
        saved = self._opening.open(self._ours(), self.training, self._steps())
        self._saved = saved and replace(saved, contents={})  # what is put back is not kept
        self._staged.begin(self._store.files)
        if self._saved is not None:
            self._be_at(self._store, self._saved)
        self._extra_left = deepcopy(extra)
        if users is not None:  # what the user has set since the last training counts
            put_into(extra, users)
        self._results = self._store.results(self._progress.next_epoch)
        self._fresh = True
        extra.read.clear()

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
        self._may_have_results |= self._trains
        self._trains = False
        under_way.end(self)
        self._signals.restore()
        self.training.run = self.training.batches_done = None
        self._leave_check()
        self._in_fit.leave()
        try:
            self._store.close()
        finally:
            self._signals.call_waiting()

    def _saves_soon(self) -> bool:
        """Whether something will be safe at the next safe point that is not yet, and the point comes soon."""
        inside = self._every is not None and self._check is None and self._within is None
        if self._commits or (inside and self._under_way is not None):
            return True
        return self._loop.in_batch and self._store.is_writing

    def _let_script_hear(self) -> None:
        """Call the script's own handlers for the signals that came, where all that was trained is saved."""
        if self._signals.waiting and self._is_all_saved():
            try:
                self._store.settle()
            finally:
                self._signals.call_waiting()

    def _tell_of_handler(self, signal: str) -> None:
        at = self._store.committed
        saved = "nothing is saved yet" if at is None else f"{self._told_of(at)} is saved"
        self._say(f"outlast: {signal}: {saved}; the script's own handler is called")

    def _is_all_saved(self) -> bool:
        """Whether nothing was trained since the last save that resume points inside an epoch would keep."""
        if not self._may_end():
            return False
        done, is_inside = self._in_fit.done, self._every is not None and self._under_way is not None
        if not (done and is_inside) or self._check is not None or self._within is not None:
            return True
        return self._progress.position == Position(self._under_way or 0, done - 1)

    def _safe_point(self) -> None:
        """If a signal came: finish what is being written, give the folder back, and end."""
        self._let_script_hear()
        if self._signals.pending is None or not self._may_end():
            return
        self._save_last_step()
        with suppress(FileError):  # closing says what is wrong with the disk
            self._store.write_event(
                "signal", {"signal": self._signals.name, "epoch": self._progress.next_epoch}
            )
        try:
            self._store.close()
            told = self._told_of_end()
        except FileError as error:
            told = f"{self._told_of_end()}. The last save failed: {error}"
        self._leave_check()
        self._say(f"outlast: {self._signals.shown}: {told}")
        self._trains, self.training.run = False, None
        self._signals.raise_pending()

    def _may_end(self) -> bool:
        """Whether nothing of a loop of one's own is lost that resume points inside its epoch would keep.

        After a batch, that is saved. Behind the batches the epoch comes to its end, for what its code has
        done since is in no resume point.
        """
        if self._every is None or self._check is not None or self._within is not None:
            return True
        if self._under_way is None or not self._loop.has_batches:
            return True
        here = Position(self._under_way, self._loop.done - 1)
        return not self._loop.in_batch and self._progress.position == here

    def _save_last_step(self) -> None:
        """A signal came in a step of fit, or in the validation after it: nothing of the epoch is lost."""
        if self._every is None or self._within is not None or self._check is not None or self._stops:
            return
        if self._in_fit.done and self._under_way is not None and self._in_fit.undo_validation():
            here = Position(self._under_way, self._in_fit.done - 1)
            if self._progress.position != here:
                self._commit_inside(here)

    def _told_of_end(self) -> str:
        at = self._store.committed
        if at is not None and at.batch is not None:
            where = "after" if self._is_at_step(at) else "in"
            return f"ended {where} {self._told_of(at)}, which is saved. The same command goes on from there"
        saved = 0 if at is None else at.epoch + 1
        told = f"ended after epoch {saved}, which is saved" if saved else "ended before the first epoch"
        if self._under_way is not None and self._check is None:  # an epoch trained again is saved
            lost = f"ended in epoch {self._under_way + 1}, which is not saved"
            told = f"{lost}; epoch {saved} is" if saved else lost
        return f"{told}. The same command " + (
            f"goes on with epoch {saved + 1}" if saved else "starts from the beginning"
        )

    def _is_at_step(self, at: Position) -> bool:
        """Whether a position inside a row of ``run.steps`` is where the training is."""
        return self._rows_wanted is not None and at == Position(self._under_way or 0, self._loop.done - 1)

    def _told_of(self, at: Position) -> str:
        return f"step {self._loop.step}" if self._is_at_step(at) else at.done

    def _note(self, decision: Decision) -> None:
        self._progress.note(decision, self._staged)
        if self._listener is not None and self._check is None:  # it has heard of the stretch
            self._listener(decision)

    def _inexact(self) -> list[str]:
        data = {"data": self.control.data(), "through_run": self._data.is_used}
        problems = beforehand.inexact(self, self._parts, {**(self.params or {}), **data})
        problems += self._data.inexact()
        known = self._given is not None or self._optimizer is not None  # [] says that there is none
        return problems + ([] if known else beforehand.lacking_optimizer(self.training, self._parts))

    def _ours(self) -> list[Callback]:
        return [callback for callback in self.callbacks if isinstance(callback, Callback)]

    def _finished(self) -> str | None:
        unit = "epochs" if self._rows_wanted is None else "rows"
        return self._progress.why_finished(self._ours(), self._epochs(), unit)

    def _remaining(self, total: int) -> range:
        total = min(total, self._epochs() or 0)
        return range(self._progress.next_epoch if self._finished() is None else total, total)

    def _epochs(self) -> int | None:
        asked: int | None = (self.params or {}).get("epochs")
        return self._rehearsal.epochs(asked) if self._rehearsal else asked

    def _steps(self) -> int | None:
        """Batches of an epoch, as a framework's fit says."""
        steps: int | None = (self.params or {}).get("steps")
        return steps

    def _meet(self, loader: Any) -> None:
        if self.folder is not None and self._loop.begins_epoch:
            size = settings.of_loader(loader)
            if self._rows_wanted is not None:
                size["log_every"] = self._rows_wanted.log_every
            epoch, known = self._progress.next_epoch, self._loop.first_sizes
            changed = self._unless_refused(self._opening.meet, size, known, epoch)
            self._loop.note_first(size, anew=changed)
            if not changed and known not in ({}, self._loop.first_sizes):  # a start must know in this epoch
                self._store.write_event("other loader", {"epoch": epoch, **size})
            if changed and self._check is not None:  # other batches were asked for: nothing to compare
                self._check.abandoned = True
        problems = [*self._loop.fetching.inexact(loader), *self._data.hidden_in(loader)]
        for problem in problems if self.folder is not None else ():
            self._tell_once(problem)
        self._opening.put_back(Moment.FIRST_BATCH)

    def _be_ready(self) -> None:
        self._opening.put_back(Moment.FIRST_BATCH)

    def _log_result(self, metrics: Mapping[str, Any]) -> None:
        if not self._may_have_results:
            raise UsageError(
                "run.log was called outside an epoch. Call it in your loop, for epoch in run.epochs(...), or "
                "after it for results of the run. A callback adds its metric to the logs: "
                "logs['val_f1'] = ..."
            )
        for name, value in metrics.items():
            check_name(name)
            check_metric(value, name)
        results = self._results | completed(metrics, {})
        self._store.keep_results(results, self._progress.next_epoch)
        self._results = results

    def _show_history(self) -> None:
        epochs = [row["epoch"] for row in self._progress.rows]
        self.control.fill_history(self._progress.columns(), epochs)

    def _firsts(self) -> Firsts:
        """How the loaders were when the run was first started, as its events tell."""
        found = [(one.get("turn"), one.get("checksum")) for one in self._store.events("loader")]
        known = {
            turn: checksum
            for turn, checksum in reversed(found)  # the first start counts
            if isinstance(turn, int) and isinstance(checksum, int)  # anybody may have written the file
        }

        def record(turn: int, checksum: int) -> None:
            self._store.write_event("loader", {"turn": turn, "checksum": checksum})

        return Firsts(known, record)

    def _tell_of_loader(self, problem: str) -> None:
        if self.folder is not None and self._check is None and problem not in self._told:  # a check will tell
            self._told.add(problem)
            self._say(f"outlast: resuming {self._shown} may not be exact: {problem}")

    def _look_at_script(self, *, inside: bool, loader: Any = None) -> None:
        """Name what the script carries on by itself, for it starts over where a resume goes on."""
        if self.folder is None:
            return
        goes_on_inside = self._every is not None or self._within is not None
        goes_on_amid_batches = goes_on_inside if inside else self._rows_wanted is not None
        self._loader_at_hand = loader
        with source.remembered():
            found = self._script.look(inside=inside, is_jax=self.training.is_value)
            problems = self._script.look_around() if goes_on_amid_batches else []
        self._loader_at_hand = None
        for is_inside in (False, True) if goes_on_inside else (False,):
            if text := starts_over([one for one in found if one.inside == is_inside]):
                self._say_of_run(text)
        for problem in problems:
            self._tell_once(problem)

    def _is_saved(self, value: Any) -> bool:
        """Whether a value is saved, or a piece of something that the run knows and speaks of elsewhere."""
        known = [
            self,
            self._progress.extra,
            self.training,
            self.training.model,
            *self.training.optimizers.values(),
        ]
        if self._loader_at_hand is not None:
            known += [found.holder for found in loaders.within(self._loader_at_hand)]
        if self._loop.holds(value) or random_state.has_keys_of(self.training.model, value):
            return True
        return is_held(value, [*known, *self._parts.values(), *self.callbacks])

    def _say_of_run(self, text: str) -> None:
        if self.folder is not None:
            self._say(f"outlast: {self._shown}: {text}")

    def _tell_once(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            self._say_inexact(problem)

    def _say_inexact(self, problem: str) -> None:
        text = f"resuming {self._shown} would not be exact: {problem}"
        if self._rehearsal:
            self._rehearsal.note(text)
        self._say(f"outlast: {text}")

    def _say(self, text: str) -> None:
        self.context.say(text)


def _row(epoch: int, logs: Logs) -> dict[str, Any]:
    """An epoch's row, arrays as lists, as it is after a resume too.

    Raises:
        MetricError: something in the logs cannot be in a history; the text names it.
    """
    for name, value in logs.items():
        check_name(name)
        check_metric(value, name, texts=True)
    return {"epoch": epoch, **to_python(logs)}
