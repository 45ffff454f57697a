"""InFit: where a framework's own ``fit`` is inside an epoch.

The framework fetches its batches itself, so what comes back is the beginning of the epoch: the random state
that it began with. Its first batches are taken once more without a step, and then all is as it was saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from outlast.core.run_state import Moment
from outlast.exceptions import RunChanged
from outlast.frameworks import random_state
from outlast.frameworks.base import Control, Followed, Training
from outlast.run.contents import frozen
from outlast.run.parts import AnyPart


class InFit(AnyPart):
    """A part of the run, while a ``fit`` is followed from step to step.

    Attributes:
        heard_until: the last batch of the epoch that callbacks heard of in another process.
    """

    name, moment = "fit", Moment.OPEN

    def __init__(self) -> None:
        self._followed: Followed | None = None
        self._goes_on: Mapping[str, Any] | None = None  # inside an epoch, and that is not reached yet
        self._start: Any = None  # the random state that the epoch began with
        self._in_validation = False
        self._before_validation: tuple[Any, Any, Any] | None = None
        self._ended = False  # the loop has left the batches, all of them done
        self._at_end: Any = None  # the random state to put back when it has left them
        self.heard_until = -1

    @property
    def goes_on(self) -> bool:
        """Whether an epoch is to go on inside, and the loop has not come there yet."""
        return self._goes_on is not None

    @property
    def is_followed(self) -> bool:
        """Whether there is a ``fit`` that tells of its steps."""
        return self._followed is not None

    @property
    def done(self) -> int:
        """Batches of the epoch under way."""
        return 0 if self._followed is None else self._followed.done

    @property
    def size(self) -> int:
        """Batches of a step."""
        return 1 if self._followed is None else self._followed.size

    def follow(
        self, control: Control, training: Training, run: Any, hear: Callable[[int, int], object]
    ) -> bool:
        """Have the framework's loop tell of its steps, as ``Control.follow`` says; False if it cannot."""
        self._followed = control.follow(training, run, hear)
        return self.is_followed

    @property
    def run_is_last(self) -> bool:
        """Whether the run itself is the last that hears of a batch's end, and makes its resume point then."""
        return self._followed is not None and self._followed.run_is_last

    def begin_epoch(self, come_back: Callable[[], object], others: Sequence[Any]) -> None:
        """An epoch begins: go on inside it, or note how it begins.

        Args:
            come_back: called when the batches that were trained are taken.
            others: callbacks beside the run, which have heard of those batches.
        """
        if self._followed is None:
            return
        self.heard_until = -1
        self._leave_batches()
        self._followed.begin()
        if self._goes_on is None:
            self._start = random_state.collect()
            return
        self._start = self._goes_on["start"]
        self.heard_until = self._goes_on["done"] - 1
        random_state.restore(self._start)
        self._followed.skip(self._goes_on["done"], come_back)
        self._followed.mute(others, self.heard_until)

    def end_epoch(self) -> None:
        """The epoch has ended.

        Raises:
            RunChanged: before the batch after which the run was saved.
        """
        if self._followed is None:
            return
        if self._followed.lacking:
            trained = self.heard_until + 1
            raise RunChanged(
                f"The epoch has {trained - self._followed.lacking} batches, and the run was saved after "
                f"batch {trained} of it: the data has changed. Give fit the same data, or begin again with "
                "resume='never'."
            )
        self._followed.done = 0
        self._leave_batches()

    def _leave_batches(self) -> None:
        self._before_validation, self._in_validation, self._ended = None, False, False

    def end_batches(self, steps: int | None) -> None:
        """The loop has left the batches of the epoch; after the last it may have drawn once more as it did.

        Args:
            steps: the batches of an epoch; None if nobody knows.
        """
        self._ended = steps is None or self.done >= steps  # else a signal has cut it short
        if self._at_end is not None and self.done == self.heard_until + 1:  # and none has been trained since
            random_state.restore(self._at_end)
        self._at_end = None

    @property
    def has_all_batches(self) -> bool:
        """Whether the epoch under way is known to have had all of its batches."""
        return self.is_followed and self._ended

    def begin_validation(self, *, stopped: bool) -> None:
        """Between the batches and the end of the epoch: note what a validation changes.

        Args:
            stopped: a callback has ended the epoch in its middle, which is not saved there.
        """
        self._in_validation = True
        if self._followed is not None and self._before_validation is None and self.done and not stopped:
            self._before_validation = (
                random_state.collect(),
                frozen(self._followed.saved()),
                frozen(self._followed.seeds()),
            )

    def undo_validation(self) -> bool:
        """Have all be as it was before the validation: it begins again after a resume.

        Returns:
            Whether all is so.
        """
        if self._followed is None or not self._in_validation:
            return True
        if self._before_validation is None:
            return False
        random, saved, seeds = self._before_validation
        random_state.restore(random)
        self._followed.put(saved)
        self._followed.put_seeds(seeds)
        return True

    def leave(self) -> None:
        """Nothing is trained any more."""
        if self._followed is not None:
            self._followed.close()
            self._followed = None

    def come_to_the_end(self, random: Mapping[str, Any]) -> None:
        """If the batches had ended when it was saved: put the random state back once more when they have."""
        if self._goes_on is not None and self._goes_on["ended"]:
            self._at_end = random

    def random_state_at_hand(self, saved: Mapping[str, Any]) -> Mapping[str, Any]:
        """What of it goes back inside an epoch: not what data draw from that another thread fetches."""
        ahead = () if self._followed is None else self._followed.drawn_ahead
        return {name: one for name, one in saved.items() if name not in ahead}

    def collect(self) -> dict[str, Any] | None:
        """None between two epochs."""
        if self._goes_on is not None:  # it is where it was
            return dict(self._goes_on)
        if self._followed is None or not self.done:
            return None
        return {"start": self._start, "ended": self._ended, **self._followed.saved()}

    def put_back(self, saved: Mapping[str, Any] | None) -> None:
        """Go on from :meth:`collect` when the epoch begins."""
        self._goes_on = saved

    def restore(self, saved: Mapping[str, Any] | None) -> None:
        """The batches that were trained are taken."""
        self._goes_on = None
        if saved is not None and self._followed is not None:
            self._followed.put(saved)
