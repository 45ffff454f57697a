"""Saving: when a resume point is made, what is in it, and how a training comes back to one."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from outlast.core.decision import Decision
from outlast.core.logs import Logs
from outlast.core.run_state import Position, RunState
from outlast.exceptions import RunChanged
from outlast.run.contents import frozen
from outlast.run.naming import Naming
from outlast.run.progress import RUN, Progress, put_into
from outlast.run.resume_check import ResumeCheck
from outlast.run.stores import Store
from outlast.storage.format import layout
from outlast.storage.format.reader import nonsense_as_damage


class Saving(Naming):
    """Commits a run's state, at the ends of epochs and inside them."""

    def _state(self) -> RunState:
        contents = self._contents.collect()
        if self.folder is not None and self._progress.position.batch is None:  # told at the epoch's end
            self._find_restructured(contents["training"])
        state = self._progress.to_state(self._opening.settings, contents)
        return replace(state, description=self._opening.description, changes=self._opening.changes)

    def _commit(self) -> None:
        self._commits = True
        try:
            self._store.commit(self._staged.take(), self._state)
        finally:
            self._commits = False
        if self._check is None:
            self._opening.committed()
            self._extra_left = deepcopy(self._progress.extra)

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

    def _is_row_due(self) -> bool:
        """Whether there is a save at the end of this epoch or round, or of this row of ``run.steps``."""
        by_rounds = self.control.trains_by_rounds
        if (self._rows_wanted is None and not by_rounds) or self._every is None or self._check is not None:
            return True
        if self._progress.finished or self._stops or self._signals.have_come:
            return True
        if not self._every.is_due(self._progress.next_epoch if by_rounds else self._loop.step or 0):
            return False
        if by_rounds and self._spares_rounds and self._every.slows:
            self._every.put_off()
            return False
        return True

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

    def _counted(self, batch: int) -> int:
        """What ``save_every`` counts: batches of the epoch, or steps where there are no epochs."""
        return batch + 1 if self._rows_wanted is None else self._loop.step or 0

    def _is_last(self, done: int) -> bool:
        """Whether the batch at hand is the epoch's last, as far as is known."""
        if self._in_fit.is_followed:
            return (steps := self._steps()) is not None and done >= steps
        return self._loop.is_at_end

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

    def _end_batches(self) -> None:
        """A framework's fit has left the batches of the epoch."""
        self._in_fit.end_batches(self._steps())
        if self._check is None or self._under_way is None or not self._check.is_behind_batches:
            return
        here = Position(self._under_way, self._in_fit.done - 1)
        if here == self._check.newest.position and self._within is None:
            self._commit_inside(here)

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

    def _stop_at_once(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            self.control.stop(decision.sentence)
            self._note(decision)
        self._progress.finished = True
        self._commit()

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
