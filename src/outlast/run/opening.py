"""Opening: what the folder holds meets what the code asks for.

Either a new run begins, or the one in the folder goes on. What the user has set since counts or is
refused; it is never overwritten without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.run_state import START, Moment, RunState
from outlast.exceptions import CapabilityError, DamagedFile, RunChanged, UnknownFormat
from outlast.frameworks.base import Adapter, Training
from outlast.inspect.saved_run import decisions_of, rows_of
from outlast.run import diverged, finished_here, settings
from outlast.run.comparison import ROOT, Leaves, leaves, same
from outlast.run.contents import Contents, frozen
from outlast.run.data import Data
from outlast.run.extra import Extra
from outlast.run.resume_check import ResumeCheck, rewound
from outlast.run.stores import Follower, Store
from outlast.storage.format import layout
from outlast.storage.format.reader import nonsense_as_damage
from outlast.storage.logs import is_usual

# What a training calls the pieces of its state that a user may set between two trainings.
_SETTABLE = {
    **{"model": "weights", "weights": "weights", "buffers": "buffers", "flags": "flags"},
    **{"optimizer": "optimizer", "optimizers": "optimizer", "members": "optimizer", "inner": "optimizer"},
}
_LONG = 10  # seconds; for a shorter check the line after it is enough
_COUNTS = {"buffers", "flags"}  # an evaluation may have changed them: what is there counts, and is said


class Opening:
    """Opens the store of a run, and negotiates its settings.

    Args:
        shown: the folder, as the user wrote it.
        store: where the run is kept.
        contents: what is put back.
        seed: the script's.
        accepted: names of settings that may differ.
        resume: ``"auto"``, ``"never"`` or ``"must"``.
        check: ``"auto"``, ``"always"`` or ``"never"``.
        say: prints a line.

    Attributes:
        settings: what the code asks for, and from before what it does not say.
        description: what the training is made of.
        changes: how often the user has changed something between two starts.
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
        check: str,
        say: Callable[[str], object],
    ) -> None:
        self._shown, self._store, self._contents, self._say = shown, store, contents, say
        self._seed, self._accepted, self._resume, self._check = seed, frozenset(accepted), resume, check
        self.settings: settings.Settings = {}
        self._notes: list[str] = []  # what the line at the start has to say
        self._wrong: list[str] = []  # values that did not come back as they were saved
        self._first_loader_known = False
        self._may_check = False
        self._changed = False  # the user has set something that is not saved yet
        self.description: dict[str, str] = {}
        self.changes = 0
        self._place: finished_here.Place = ()  # the lines of the program that opened it
        self._initial: Leaves = {}  # the weights with which the model began
        self._left: tuple[Training, dict[str, Leaves]] | None = None  # checksums of what the run ended with
        self._remembered: Any = None  # by the training, before this start
        self._set_through_run: set[str] = set()
        self._at = START  # in what was found
        self._was_ended = False  # an earlier start, before its first save

    def open(self, callbacks: Sequence[Callback], training: Training, steps: int | None) -> RunState | None:
        """Take the store, and put back what it holds; None if that is nothing.

        Raises:
            RunChanged: the code asks for another training; nothing was put back.
        """
        saved = self._store.open(self._resume)
        is_ours = self._left is not None and self._left[0] is training
        if not is_ours and self._store.folder:
            self._initial = _checksums(training, {"weights"}).get("weights", {})
        self._place = finished_here.place_now()
        self._resume = "auto" if self._resume == "never" else self._resume  # once, not at every fit
        self._first_loader_known = self._may_check = False
        self._notes, self._wrong, self._remembered = [], [], training.remembered
        if saved is None:
            self.settings = settings.requested(callbacks, training.learning_rates(), self._seed, steps)
            self.description, self.changes, self._at = training.description(), 0, START
            self._check_accepted(training, self.settings)
            self._store.describe(self.settings)
            self._was_ended = bool(self._store.events("start")) and not self._store.findings
            self._store.write_event("start", {"resume": False, "findings": list(self._store.findings)})
        else:
            saved = self._go_on(saved, callbacks, training, steps)
        return saved

    def glance(self) -> RunState | None:
        """What the next start finds, read without a lock; None if that is nothing."""
        self._store.wait_for_former()
        self._store.flush()
        return Follower(self._store.folder).open(self._resume) if self._store.folder else None

    def _go_on(
        self, saved: RunState, callbacks: Sequence[Callback], training: Training, steps: int | None
    ) -> RunState:
        before, now = saved.settings, training.learning_rates()
        rates = now if self._rates_are_the_users(training, now) else before["learning_rate"]
        self.settings = settings.filled_in(before, settings.requested(callbacks, rates, self._seed, steps))
        self._check_accepted(training, before, self.settings)
        changed = [*settings.changes(before, self.settings), *self._set_since(training, saved)]
        accepted = self._accepted | self._set_through_run
        others = self._other_training(saved, training)
        settings.check(self._shown, changed, accepted, others)
        if diverged.may_go_on(saved, changed):
            saved = self._before_divergence(saved)
        self._put_back(saved, training, changed)
        if any(change.name == "learning_rate" for change in changed):
            for name, rate in rates.items():
                training.set_learning_rate(name, rate)
        elif now != training.learning_rates() and self._surprises(training, before["learning_rate"], now):
            self._notes.append(f"the learning rate is the saved one, not {settings.shown(now)}")
        self._changed = bool(changed)
        is_known = training.left is None or not training.was_trained or self._check == "always"
        self._may_check = is_known and not (changed or others)
        if not is_known and self._check != "never":
            self._notes.append("not checked: it was trained in this process")
        training.leave(known=False)
        self._store.describe(self.settings, anew=bool(changed))
        changed += others
        self.changes = saved.changes + bool(changed)
        at = {"epoch": saved.position.next_epoch, "resume_point": self._store.number}
        if saved.position.batch is not None:
            at["batch"] = saved.position.batch + 1
        findings = list(self._store.findings)
        self._store.write_event("resume", {**at, "changes": list(map(str, changed)), "findings": findings})
        self._at = saved.position
        inside = settings.others_inside(changed, self._at)
        unusual = [finding for finding in findings if not is_usual(finding)]
        self._notes = [*unusual, *map(str, changed), *inside, *self._notes]
        return saved

    def _check_accepted(self, training: Training, *known: Mapping[str, Any]) -> None:
        if self._accepted:
            pieces = {*_SETTABLE.values(), *training.description()}
            settings.check_names(self._accepted, [*pieces, *settings.names(*known)])

    def _before_divergence(self, saved: RunState) -> RunState:
        """The resume point before a loss that was NaN or infinite, if it is good; else what is saved."""
        numbers = self._store.points()
        with suppress(DamagedFile, UnknownFormat):
            if len(numbers) > 1 and diverged.is_finite(self._store.load(numbers[1]).state["training"]):
                self._notes.append(f"epoch {saved.position.epoch + 1}, {diverged.WHY}, is dropped")
                return self._store.go_back() or saved
        raise RunChanged(
            f"{self._shown} ended {diverged.WHY}, and has no resume point from before that: pass "
            "resume='never' to begin again; the old folder is set aside as NAME.1."
        )

    def _other_training(self, saved: RunState, training: Training) -> list[settings.Change]:
        """What the training is made of otherwise, as far as it is as the script has made it."""
        if training.left is not None:  # a training may have changed it
            self.description = dict(saved.description)
        else:
            self.description = training.description()
        return settings.other_training(saved.description, self.description)

    def _rates_are_the_users(self, training: Training, now: Mapping[str, float]) -> bool:
        """Whether the rates are to be taken from the optimizers, and not from the run.

        A model that a run has trained need not have its initial rate any more: not in this process, nor in
        one whose script loads a model that the run saved.
        """
        if self._changed or "learning_rate" in self._set_through_run:
            return True
        if training.left is None:
            rows, journal = (self._store.log(name) or b"" for name in (layout.ROWS, layout.JOURNAL))
            with nonsense_as_damage(self._store.folder):
                had = settings.rates_of(rows_of(rows), decisions_of(journal))
            return not settings.came_to(now, had)
        rates, known = training.left
        return known and rates != now and rates.keys() == now.keys()  # else a group was added

    def _surprises(self, training: Training, before: Any, now: Mapping[str, float]) -> bool:
        """Whether rates that do not count are neither those that the run began with, nor what it left."""
        if training.left is None:
            return not settings.came_to(now, [before])
        return now != training.left[0]

    def _put_back(self, saved: RunState, training: Training, changed: Sequence[settings.Change]) -> None:
        """Put back everything, but for what the user has set and callbacks that watch another metric now."""
        anew = {change.name.partition(".")[0] for change in changed if change.fixed}
        callbacks = {
            key: one
            for key, one in saved.contents["callbacks"].items()
            if key not in anew and key in self.settings["callbacks"]
        }
        theirs = {change.name for change in changed} & {*_SETTABLE.values()}
        kept = {
            piece: tree
            for piece, tree in (frozen(training.state()) if theirs else {}).items()
            if _SETTABLE.get(piece) in theirs
        }
        contents = {**saved.contents, "callbacks": callbacks}
        contents["training"] = {**contents["training"], **kept}
        try:
            self._contents.begin(contents)
        except RunChanged as error:
            raise settings.refusal(self._shown, [str(error)]) from error
        self.put_back(Moment.OPEN)

    def put_back(self, moment: Moment) -> None:
        """Put back the parts whose moment has come."""
        self._wrong += self._contents.put_back(moment)

    def rewind(
        self, callbacks: Sequence[Callback], training: Training, extra: Extra, data: Data
    ) -> ResumeCheck | None:
        """Go back to the resume point before, if the resume is to be checked by the stretch from there."""
        if not self._may_check or self._wrong:
            return None
        if training.cannot_rewind:
            if self._check != "never":
                self._notes.append(f"not checked: {training.cannot_rewind}")
            return None
        measured = [
            f"{ROOT}/callbacks/{key}/state/{name}"
            for key, callback in zip(settings.keys(callbacks), callbacks, strict=True)
            for name in callback.measured
        ]
        check = rewound(
            self._store,
            self._contents,
            self._check,
            extra,
            measured,
            data.problems,
        )
        if isinstance(check, ResumeCheck):
            self._store.write_event("check begins", {"resume_point": self._store.number})
            if check.seconds > _LONG:
                again = f"{check.stretch} is trained again as a check"
                self._say(f"outlast: resuming {self._shown}: {again}, about {check.seconds:.0f} s")
            return check
        if names := check.set_since:
            self.changes += 1
            named = ", ".join(names[:3]) + (" and more" if len(names) > 3 else "")
            self._notes.append(
                f"these were set after the Run was made, and are kept instead of what was saved: {named}"
            )
        if check.why:
            self._notes.append(f"not checked: {check.why}")
        return None

    def end(self, check: ResumeCheck) -> None:
        """After the stretch: have all be as the newest resume point says."""
        callbacks = {"callbacks": check.callbacks}  # their kept weights are those that the store knows
        saved = RunState()
        if check.differences or check.abandoned:
            saved = RunState.from_state(self._store.load(check.number).state)
        self._contents.restore({**saved.contents, **callbacks})

    def dry_run(self) -> None:
        """Before the first batch of a new run: everything can be stored and loaded, or it is named.

        Raises:
            CapabilityError: something cannot be stored or loaded.
        """
        self._wrong += self._contents.dry_run()

    def announce(
        self,
        saved: RunState | None,
        finished: str | None,
        epochs: int | None,
        steps: int | None,
        checked: str = "",
    ) -> None:
        """One line: what was found, and where it goes on; one for what did not come back as it was."""
        if self._wrong:
            named = ", ".join(self._wrong[:5]) + (" and more" if len(self._wrong) > 5 else "")
            self._say(
                f"outlast: resuming {self._shown} would not be exact: after loading, these are not as they "
                f"were saved: {named}"
            )
        if saved is None:
            if self._store.findings:
                was_run = any("was there before the run" not in one for one in self._store.findings)
                begins = "begins again" if was_run or self._was_ended else "begins"
                self._say(f"outlast: {self._shown} {begins}: {'; '.join(self._store.findings)}")
            elif self._was_ended:
                self._say(f"outlast: {self._shown} begins again: it was ended before it had saved anything")
            return
        where = saved.position.next if steps is None else f"step {steps}"
        what = (
            f"resumed {self._shown} at {where}{checked}"
            if finished is None
            else f"{self._shown} is finished ({finished}); its weights and history are back"
        )
        before = saved.epochs
        unit = "epochs" if steps is None else "rows"
        changed = [] if before == epochs else [f"{unit} changed from {before} to {epochs}"]
        self._say("; ".join([f"outlast: {what}, resume point {self._store.number}", *self._notes, *changed]))

    def meet(self, size: settings.Settings, known: Mapping[str, Sequence[int]], epoch: int) -> bool:
        """Refuse a start whose first loader has other batches than the run so far.

        Where the first loaders of its epochs differ, the script makes them so, and any will do.

        Args:
            size: of the first loader.
            known: the sizes of the first loaders of all epochs, each once.
            epoch: that is under way; a start that was killed in it may have met another loader there.

        Returns:
            Whether it has other batches, which are accepted.

        Raises:
            RunChanged: it has, and they are not accepted.
        """
        if self._first_loader_known:
            return False
        self._first_loader_known = True
        met = [one for one in self._store.events("other loader") if one.get("epoch") == epoch]
        sizes = {name: {*values, *(one.get(name) for one in met)} - {None} for name, values in known.items()}
        told = {name: value for name, value in size.items() if len(sizes.get(name, ())) < 2}
        now = settings.filled_in(self.settings, {**self.settings, **told})
        changed = settings.changes(self.settings, now)
        settings.check(self._shown, changed, self._accepted)
        if now != self.settings:
            self._store.describe(now)
        self.settings = now
        for line in (*changed, *settings.others_inside(changed, self._at)):
            self._say(f"outlast: {line}")
        self.changes += bool(changed)
        return bool(changed)

    # What the user sets between two trainings of one Run.

    def refuse_if_finished_here(self, training: Training, epochs: int | None) -> None:
        """Before a finished run is given to a model: refuse it to the program that has just finished it.

        Raises:
            UsageError: it is that program.
        """
        model = _trained(training)
        finished_here.check(self._store.folder, self._shown, self._place, self._initial, model, epochs)

    def ended(self, training: Training, *, is_finished: bool, epochs: int | None) -> None:
        """Remember how the run leaves the model.

        A training of no epochs saves nothing, so what was set before it counts in the next one, too.
        """
        if self._changed:
            training.remember(self._remembered)
            return
        training.leave()
        with suppress(CapabilityError, NotImplementedError):  # who keeps what cannot be stored names it
            self._left = training, _checksums(training)
        if is_finished and self._store.folder:
            model = _trained(training)
            finished_here.note(self._store.folder, self._place, self._initial, model, epochs)

    def set_through_run(self, name: str) -> None:
        """The user sets it through the Run, so the next training takes it."""
        self._set_through_run.add(name)

    def hook_came(self) -> None:
        """Training is under way: weights that differ from now on are those that it made."""
        self._left = None

    def committed(self) -> None:
        """What the user had set is saved."""
        self._set_through_run.clear()
        self._changed = False

    def _set_since(self, training: Training, saved: RunState) -> list[settings.Change]:
        """What the user has set since the run ended, beside the rates."""
        if self._left is None or self._left[0] is not training:
            return []
        before, now = self._left[1], self._as_left(training)
        pieces = [piece for piece in before if now.get(piece) != before[piece]]
        if _only_grew(before.get("optimizer", {}), now.get("optimizer", {})) and _has_grown(training, saved):
            pieces = [piece for piece in pieces if piece != "optimizer"]
        return [_since(piece, before[piece], now.get(piece, {})) for piece in pieces]

    def _as_left(self, training: Training) -> dict[str, Leaves]:
        """Checksums of the training at the rates that the run left, which are compared by themselves."""
        if training.left is None:  # a new optimizer
            return {piece: one for piece, one in _checksums(training).items() if piece != "optimizer"}
        rates = training.learning_rates()
        for name, rate in training.left[0].items() if rates.keys() == training.left[0].keys() else ():
            training.set_learning_rate(name, rate)
        found = _checksums(training)
        for name, rate in rates.items():
            training.set_learning_rate(name, rate)
        return found


def _trained(training: Training) -> Any:
    """What tells two trainings of a program apart: the model, or the user's own adapter."""
    return training if isinstance(training, Adapter) else training.model


def _since(piece: str, before: Leaves, now: Leaves) -> settings.Change:
    if piece == "optimizer" and _only_grew(before, now):
        return settings.Change(piece, "has parameters that were added since the run ended in this process")
    return settings.Change(piece, "changed since the run ended in this process", fixed=piece not in _COUNTS)


def _has_grown(training: Training, saved: RunState) -> bool:
    """Whether the optimizers have the parameters that they had when they were saved."""
    there, here = saved.contents["training"], training.settable()
    return "members" in there and there["members"] == here.get("members")


def _only_grew(before: Leaves, now: Leaves) -> bool:
    """Whether lists got longer, and nothing else changed."""
    inner = {name.rpartition("/")[0] for name in now}
    inner |= {name.rpartition("/")[0] for name in inner}  # of a list of dicts
    return all(same(leaf, now.get(name)) or name in inner for name, leaf in before.items())


def _checksums(
    training: Training, pieces: Collection[str] = frozenset(_SETTABLE.values())
) -> dict[str, Leaves]:
    found: dict[str, Leaves] = {}
    for name, tree in (training.settable() if "state" in training.capabilities else {}).items():
        if _SETTABLE.get(name) in pieces:
            found.setdefault(_SETTABLE[name], {}).update({name + k: v for k, v in leaves(tree).items()})
    return found
