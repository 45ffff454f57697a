"""Ending: what a signal does to a run: it ends where all is saved that can be, and says where that is."""

from __future__ import annotations

from contextlib import suppress

from outlast.core.run_state import Position
from outlast.exceptions import FileError
from outlast.run.saving import Saving


class Ending(Saving):
    """Ends a training, or calls the script's own handlers, at a safe point."""

    def _interrupt(self) -> None:
        """A signal came: have the loop come to its next safe point."""
        self._stopped = self.control.stopping
        self.control.interrupt_epoch()

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
        """Before it is called; what it changes comes behind this resume point, where no resume repeats it."""
        self._store.write_event("handler", {"signal": signal, "resume_point": self._store.number})
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

    @property
    def _handler_stops(self) -> bool:
        """Whether a handler of the script's has ended the training: a later start goes on, then."""
        return bool(self._signals.called) and self.control.stopping and not self._progress.stops

    def _leave_epoch(self) -> None:
        """The script's own handler has cut the epoch short: it is none, and is gone on with later."""
        self._store.write_event(
            "signal", {"signal": self._signals.called, "epoch": self._progress.next_epoch, "handler": True}
        )
        self._store.settle()
        told = f"{self._signals.called}: the script's own handler has stopped the training: it"
        self._say(f"outlast: {told} {self._told_of_end()}")

    def leave_epoch(self, why: str) -> None:
        """Something beside the run has cut the epoch short: it is gone on with later.

        Args:
            why: as a sentence.
        """
        self._end_batches()
        self._store.settle()
        self._say(f"outlast: {why}: it {self._told_of_end()}")

    def _tell_of_signals_too_late(self) -> None:
        """The loop was left in the very batch in which a signal came."""
        for shown in self._signals.all_shown:
            self._say(f"outlast: {shown}: it came in the batch that left the loop, which is not saved")

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
