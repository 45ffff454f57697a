"""Host: what a run does at each hook: it opens the folder, commits each epoch, and leaves it whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from outlast.callbacks.list import Listener
from outlast.core.logs import Logs, completed
from outlast.core.numbers import check_metric, check_name, to_python
from outlast.core.run_state import START, Moment, Position
from outlast.exceptions import OutlastError, UsageError
from outlast.frameworks import under_way
from outlast.run import beforehand, rehearsal, settings
from outlast.run.ending import Ending
from outlast.run.inside import SHARE_OF_ROUNDS, Every
from outlast.run.progress import Progress, put_into

Result = TypeVar("Result")


class Host(Ending):
    """The hooks of a run; ``Run`` makes what they use, and has what users read."""

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

    def saved_training(self) -> Any:
        """What is saved of the training, for a loop that must be given it when it is called; else None."""
        saved = self._opening.glance()
        return None if saved is None else saved.contents["training"]

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
            self._check = self._opening.rewind(self._ours(), self.training, self._progress.extra, self._data)
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
        if self.control.trains_by_rounds and self._every is None and self.folder is not None:
            self._every, self._spares_rounds = Every(1, self.context.clock, share=SHARE_OF_ROUNDS), True
        if self._every is not None:
            self._every.begin()
        if finished is None:
            self._follow()
            self._keep_within()
        self._trains = True
        self._beside.begin(self._others(), lambda: [self.training.model, *self._parts.values()])
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
        if self.control.trains_by_rounds:
            return
        is_checked = self._check is not None and self._check.newest.position.batch is not None
        if self._marks_batches or not (self._every is not None or self._in_fit.goes_on or is_checked):
            return
        if not self._in_fit.follow(self.control, self.training, self, self._end_step):
            raise UsageError(
                "save_every makes resume points inside an epoch in Keras's fit, and in a loop of your own "
                "with run.epochs(...) and run.batches(...). Here the run sees epochs alone: leave out "
                'save_every, or pass "epoch".'
            )

    def _end_step(self, done: int, size: int) -> None:
        """After a step of a framework's fit."""
        self._end_batch(done - 1, size)
        self._let_script_hear()

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
        self._under_way, self._signals.called = epoch, ""
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
        if not self.control.trains_by_rounds:  # a round is whole
            self._safe_point()
        if self._handler_stops and not self._in_fit.has_all_batches:
            self._leave_epoch()
            return
        self._in_fit.end_epoch()
        if self._within is not None:
            raise UsageError(
                f"{self._shown} was saved inside epoch {epoch + 1}, and this start has not come there: the "
                "loop has no run.batches(...) in this epoch any more. Begin again with resume='never'."
            )
        self._opening.hook_came()
        super().on_epoch_end(epoch, logs)
        if self._is_stopped_from_outside:
            self._progress.stopped_from_outside()
        steps, size = self._steps(), self.control.step_size
        whole = None if steps is None else -(-steps // size) * size  # fit has whole steps
        seen = self._data.end_epoch(whole)
        if seen is not None:
            self._loop.saw(seen)
        self._progress.close_epoch(self._progress.rows[-1], self._epochs(), self._staged)
        if self._is_row_due():
            began = self.context.clock()
            self._commit()
            if self._every is not None:
                self._every.made(self.context.clock() - began if self.control.trains_by_rounds else 0.0)
        elif not self.control.trains_by_rounds:  # the files of a round come with the next save
            self._store.show(self._staged.take())
        has_batches = self._loop.has_batches or self._in_fit.is_followed or self.control.trains_by_rounds
        if self._every is not None and not has_batches:
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

    @property
    def _is_stopped_from_outside(self) -> bool:
        """Whether something that is none of the run's callbacks has ended the training, and no signal."""
        if self._signals.pending is not None or self._handler_stops:
            return False
        return self.control.stops_from_outside_hold and self.control.stopping and not self._progress.stops

    def _keep_late_stop(self) -> None:
        """A callback that Keras calls after the run stopped the training: keep that, too."""
        if self._begun_epochs and self._is_stopped_from_outside and not self._progress.finished:
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

    def _close(self, *, is_left: bool = False) -> None:
        if self._trains and self.is_running:  # left in the middle: the rates are known, the weights are not
            self.training.leave()
        if is_left:
            self._tell_of_signals_too_late()
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
            if is_left:
                self._signals.send_again()
            else:
                self._signals.call_waiting()

    def _remaining(self, total: int) -> range:
        total = min(total, self._epochs() or 0)
        return range(self._progress.next_epoch if self._finished() is None else total, total)

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


def _row(epoch: int, logs: Logs) -> dict[str, Any]:
    """An epoch's row, arrays as lists, as it is after a resume too.

    Raises:
        MetricError: something in the logs cannot be in a history; the text names it.
    """
    for name, value in logs.items():
        check_name(name)
        check_metric(value, name, texts=True)
    return {"epoch": epoch, **to_python(logs)}
