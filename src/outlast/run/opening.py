"""Opening: what the folder holds meets what the code asks for.

Either a new run begins, or the one in the folder goes on. What the user has set since counts or is
refused; it is never overwritten without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.run_state import Moment, RunState
from outlast.exceptions import CapabilityError, RunChanged
from outlast.frameworks.base import Training
from outlast.run import settings
from outlast.run.contents import Contents, checksum
from outlast.run.stores import Store

_WEIGHTS = settings.Change("weights", "those that the run ended with", "others, set since then", fixed=True)


class Opening:
    """Opens the store of a run, and negotiates its settings.

    Args:
        shown: the folder, as the user wrote it.
        store: where the run is kept.
        contents: what is put back.
        seed: the script's.
        accepted: names of settings that may differ.
        resume: ``"auto"``, ``"never"`` or ``"must"``.
        say: prints a line.

    Attributes:
        settings: what the code asks for, and from before what it does not say.
        resumed: the store held something when it was opened.
    """

    def __init__(
        self,
        shown: str,
        store: Store,
        contents: Contents,
        *,
        seed: int | None,
        accepted: Collection[str],
        resume: str,
        say: Callable[[str], object],
    ) -> None:
        self._shown, self._store, self._contents, self._say = shown, store, contents, say
        self._seed, self._accepted, self._resume = seed, frozenset(accepted), resume
        self.settings: settings.Record = {}
        self.resumed = False
        self._notes: list[str] = []  # what the line at the start has to say
        self._wrong: list[str] = []  # values that did not come back as they were saved
        self._first_loader_known = False
        self._left: tuple[Training, int] | None = (
            None  # what the run ended with, and a checksum of its weights
        )
        self._set_through_run: set[str] = set()

    def open(self, callbacks: Sequence[Callback], training: Training, steps: int | None) -> RunState | None:
        """Take the store, and put back what it holds; None if that is nothing.

        Raises:
            RunChanged: the code asks for another training; nothing was put back.
        """
        saved = self._store.open(self._resume)
        self._resume = "auto" if self._resume == "never" else self._resume  # once, not at every fit
        self.resumed, self._first_loader_known = saved is not None, False
        self._notes, self._wrong = [], []
        if saved is None:
            self.settings = settings.asked(callbacks, training.learning_rates(), self._seed, steps)
            self._store.describe(self.settings)
            self._store.record("start", {"resume": False, "findings": list(self._store.findings)})
        else:
            self._go_on(saved, callbacks, training, steps)
        self._set_through_run.clear()
        self._left = None
        return saved

    def _go_on(
        self, saved: RunState, callbacks: Sequence[Callback], training: Training, steps: int | None
    ) -> None:
        # A model that a run has trained in this process need not have its initial rate any more.
        before = saved.settings
        untouched = training.still_has_the_rates_of_a_run()
        rates = before["learning_rate"] if untouched else training.learning_rates()
        self.settings = settings.known(before, settings.asked(callbacks, rates, self._seed, steps))
        changed = settings.changes(before, self.settings)
        if self._weights_were_set(training):
            changed.append(_WEIGHTS)
        settings.check(self._shown, changed, self._accepted | self._set_through_run)
        kept = training.copy_weights() if _WEIGHTS in changed else None
        self._put_back(saved, anew={c.name.partition(".")[0] for c in changed if c.fixed})
        if kept is not None:
            training.restore_weights(kept)
        if any(change.name == "learning_rate" for change in changed):
            for name, rate in rates.items():
                training.set_learning_rate(name, rate)
        if changed:
            self._store.describe(self.settings)
        at = {"epoch": saved.position.next_epoch, "resume_point": self._store.number}
        findings = list(self._store.findings)
        self._store.record("resume", {**at, "changes": list(map(str, changed)), "findings": findings})
        self._notes = [*findings, *map(str, changed)]

    def _put_back(self, saved: RunState, anew: Collection[str]) -> None:
        """Put back everything, but for callbacks (``anew``) that watch another metric now."""
        callbacks = {
            key: one
            for key, one in saved.contents["callbacks"].items()
            if key not in anew and key in self.settings["callbacks"]
        }
        self._contents.begin({**saved.contents, "callbacks": callbacks})
        try:
            self.put_back(Moment.OPEN)
        except RunChanged as error:
            raise settings.refusal(self._shown, [str(error)]) from error

    def put_back(self, moment: Moment) -> None:
        """Put back the parts whose moment has come."""
        self._wrong += self._contents.put_back(moment)

    def try_out(self) -> None:
        """Before the first batch of a new run: everything can be stored and loaded, or it is named.

        Raises:
            CapabilityError: something cannot be stored or loaded.
        """
        self._wrong += self._contents.try_out()

    def announce(self, saved: RunState | None, finished: str | None, epochs: int | None) -> None:
        """One line: what was found, and where it goes on; one for what did not come back as it was."""
        if self._wrong:
            named = ", ".join(self._wrong[:5]) + (" and more" if len(self._wrong) > 5 else "")
            self._say(
                f"outlast: resuming {self._shown} would not be exact: loading does not bring back what was "
                f"saved of {named}"
            )
        if saved is None:
            if self._store.findings:
                self._say(f"outlast: {self._shown} begins again: {'; '.join(self._store.findings)}")
            return
        what = (
            f"resumed {self._shown} at epoch {saved.position.next_epoch + 1}"
            if finished is None
            else f"{self._shown} is finished ({finished}); its weights and history are back"
        )
        before = saved.epochs
        changed = [] if before == epochs else [f"epochs changed from {before} to {epochs}"]
        self._say("; ".join([f"outlast: {what}, resume point {self._store.number}", *self._notes, *changed]))

    def meet(self, loader: Any) -> None:
        """Refuse a start whose first loader has other batches than the run so far.

        Raises:
            RunChanged: it has, and they are not accepted.
        """
        if self._first_loader_known:
            return
        self._first_loader_known = True
        now = settings.known(self.settings, {**self.settings, **settings.of_loader(loader)})
        changed = settings.changes(self.settings, now)
        settings.check(self._shown, changed, self._accepted)
        self.settings = now
        for change in changed:
            self._say(f"outlast: {change}")

    # What the user sets between two trainings of one Run.

    def ended(self, training: Training) -> None:
        """Remember how the run leaves the model."""
        training.leave(training.learning_rates())
        if "weights" in training.capabilities:
            with suppress(CapabilityError):  # weights that cannot be stored are named by who keeps them
                self._left = training, _weights(training)

    def set_through_run(self, name: str) -> None:
        """The user sets it through the Run, so the next training takes it."""
        self._set_through_run.add(name)

    def _weights_were_set(self, training: Training) -> bool:
        if self._left is None or self._left[0] is not training:  # another model, as in a new process
            return False
        return self._left[1] != _weights(training)


def _weights(training: Training) -> int:
    return checksum(training.weights_to_arrays(training.copy_weights()))
