"""ResumeCheck: a resume that proves itself.

The two newest resume points are kept anyway. So a resume can begin at the older one, train the stretch to
the newer one again, and compare everything with what that holds. Nothing is written meanwhile: while the
stretch is trained, a ``ResumeCheck`` stands in for the store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from outlast.core.run_state import Moment, RunState
from outlast.exceptions import DamagedFile, OutlastError, UnknownFormat
from outlast.inspect.saved_run import decisions_of, rows_of
from outlast.run.comparison import Difference, Leaves, Tree, by_how_much, differences, leaves
from outlast.run.contents import Contents, frozen
from outlast.run.extra import Extra
from outlast.run.stores import Reader, Store
from outlast.storage.commit import Bundle
from outlast.storage.format import layout
from outlast.storage.resume_points import ResumePoint

_SHORT = 60.0  # seconds of a stretch that is always trained again
_SHARE = 50  # a longer one if the training took so many times as long
_UNFIT = "the resume point before does not fit"
_READ = (
    "the script has read run.extra before the loop, and may go on from values that training changes. If it "
    "reads them in the loop alone, run.extra['n'] = run.extra.get('n', 0) + 1, a resume is checked"
)

# Either decides alike, so the file for people need not be compared; nor does what a commit puts there.
_LOGS = (layout.ROWS, layout.JOURNAL)


class ResumeCheck(Reader):
    """Takes the commits of the stretch, and compares the last with the newest resume point.

    Args:
        store: the run's, which is at its newest resume point.
        point: the resume point before, which has been put back.
        newest: what the newest one holds.
        new_lines: of the logs, in the stretch.
        callbacks: what the callbacks remembered at the newest, their kept weights as the store knows them.
        measured: names of values that no two trainings share, such as times.

    Attributes:
        store: the run's.
        before: where the run was at ``point``.
        newest: where it was at the newest.
        is_behind_batches: the newest was made between the last batch of an epoch and its end.
        stretch: what is trained again, in words.
        callbacks: what the callbacks remember there.
        differences: what is not the same; None as long as the stretch is trained.
        abandoned: there is nothing to compare: the user asked for something else meanwhile.
        seconds: that the stretch took when it was trained first.
        label: tells what the framework's users call a value.
    """

    def __init__(
        self,
        store: Store,
        point: ResumePoint,
        newest: RunState,
        new_lines: Mapping[str, bytes],
        callbacks: Tree,
        measured: Collection[str],
    ) -> None:
        self._before = replace(point, state=None, values={})
        super().__init__(store.folder, self._before)
        self.before = replace(RunState.from_state(point.state), contents={})
        self.newest = replace(newest, contents={})
        self.is_behind_batches = bool((newest.contents.get("fit") or {}).get("ended"))
        self.stretch = _stretch(RunState.from_state(point.state), newest)
        self.is_open, self.store, self.callbacks = True, store, callbacks
        self.number, self.committed, self.findings = store.number, store.committed, store.findings
        self._measured = frozenset(measured)
        timed = {name.split("/")[2].partition("#")[0] for name in measured}  # they decide by the time
        self._not_compared = frozenset({*timed, "Run"})  # what the user asks for is not the training's
        self._lines = dict.fromkeys(_LOGS, b"")
        self._expected = self._compared(newest, new_lines)
        self.differences: list[Difference] | None = None
        self.abandoned = False
        self.label: Callable[[str], str] = str
        self._told = ""  # how much the first is
        self.seconds = _seconds(store, store.number, point.number)

    def refused(self) -> None:
        """The start is refused, so nothing of the stretch was trained: the next start may check it."""
        self.store.write_event("check refused", {"resume_point": self.number})

    def commit(self, bundle: Bundle, collect: Callable[[], RunState]) -> None:
        """Compare, if this is where the newest resume point was made."""
        for name in _LOGS:
            self._lines[name] += bundle.logs[name].data if name in bundle.logs else b""
        state = collect()
        if state.position < self.newest.position:
            return
        if self.abandoned:
            self.differences = []
            return
        self.differences = differences(self._expected, self._compared(state, self._lines))
        if self.differences:
            saved, lines = _state_and_lines(self.store, self._before)
            name = self.differences[0].name
            self._told = by_how_much(
                compared(saved, lines, self._not_compared),
                compared(state, self._lines, self._not_compared),
                name,
            )

    @property
    def outcome(self) -> str:
        """What differs first, and what else, in a sentence; "" if all is the same."""
        if not self.differences:
            return ""
        first = self.differences[0]
        kinds = [*dict.fromkeys(one.kind.name for one in self.differences[1:] if one.kind is not first.kind)]
        more = f" After that: {', '.join(kinds)}." if kinds else ""
        return f"What differs first is {first.kind.name}: {self.label(first.name)} ({self._told}).{more}"

    @property
    def aside(self) -> list[str]:
        """What differs, if no step depends on any of it: metrics, what callbacks remember, ``run.extra``."""
        names = [one.aside for one in self.differences or ()]
        return sorted({*names}) if all(names) else []

    @property
    def told(self) -> str:
        """What the line of the resume says of it."""
        how = "identical"
        if self.differences:
            how = (
                f"identical but for {', '.join(self.aside)}, as before" if self.is_known else "not identical"
            )
        return f"{self.stretch} trained again as a check: {how}"

    @property
    def is_known(self) -> bool:
        """Whether an earlier check has named all that differs, and no step depends on it."""
        known = {name for event in self.store.events("check") for name in event.get("aside") or ()}
        return bool(self.aside) and known.issuperset(self.aside)

    def warning(self, shown: str, accelerated: bool) -> str:
        """What to tell the user if the stretch was not the same.

        Args:
            shown: the run.
            accelerated: its device may compute sums in another order each time.
        """
        assert self.differences
        device = (
            " A device whose kernels are not deterministic looks the same: see your framework's switch for "
            "deterministic operations."
            if accelerated
            else ""
        )
        how = f"is exact but for {self.differences[0].kind.name}" if self.aside else "is not exact"
        return (
            f"Resuming {shown} {how}: {self.stretch} was trained again as a "
            f"check, and is not what was saved. {self.outcome} The likely cause: "
            f"{self.differences[0].kind.cause}.{device} Training goes on from what was saved. docs/exact.md "
            "has more; check_resume='never' leaves the check out."
        )

    def to_json(self) -> dict[str, Any]:
        """The event that tells it."""
        found = {"found": self.outcome, **({"aside": self.aside} if self.aside else {})}
        where = {"epoch": self.newest.position.epoch, "resume_point": self.number}
        return {**where, "identical": not self.differences, **found}

    def close(self) -> None:
        """Let others have the run's folder."""
        self.is_open = False
        self.store.close()

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Those of the run's folder."""
        return self.store.events(kind)

    def write_event(self, kind: str, content: Mapping[str, Any]) -> None:
        """Note in the run's folder that something happened."""
        self.store.write_event(kind, content)

    def _compared(self, state: RunState, lines: Mapping[str, bytes]) -> Leaves:
        found = leaves(compared(state, lines, self._not_compared))
        return {name: leaf for name, leaf in found.items() if name not in self._measured}


@dataclass(frozen=True)
class Unchecked:
    """There is no check.

    Args:
        why: in words; "" if the user knows.
        set_since: names of what the user has set since the newest resume point was put back.
    """

    why: str = ""
    set_since: Sequence[str] = ()


def rewound(
    store: Store,
    contents: Contents,
    wanted: str,
    extra: Extra,
    measured: Collection[str],
    problems: Callable[[Any], Sequence[str]],
) -> ResumeCheck | Unchecked:
    """Put back the resume point before the newest, if the stretch between them is to be trained again.

    Not if the user has set something since the newest was put back, nor if the older one cannot be had
    or does not fit: the newest is whole, and that is what counts.

    Args:
        store: open, its newest resume point put back.
        contents: of the training.
        wanted: ``"auto"``, ``"always"`` or ``"never"``.
        extra: the user's own values, as they are now.
        measured: names of values that no two trainings share.
        problems: tells why data cannot be brought to a position.
    """
    numbers = store.points()
    if wanted == "never":
        return Unchecked()
    if len(numbers) < 2:
        return Unchecked("there is one resume point only")
    if any(event.get("resume_point") == numbers[1] for event in store.events("handler")):
        return Unchecked("a handler of the script's own was called in between")
    if wanted == "auto" and (why := _too_long(store, numbers)):
        return Unchecked(why)
    try:
        point = store.load(numbers[1])
        newest, lines = _state_and_lines(store, point)
        names = contents.set_since(newest.contents)
        if names or newest.extra != extra:
            return Unchecked(set_since=names)
        callbacks = frozen(contents.collect()["callbacks"])
        check = ResumeCheck(store, point, newest, lines, callbacks, measured)
        if extra.read & _other_values(RunState.from_state(point.state).extra, newest.extra):
            return Unchecked(_READ)
        if _has_no_batch(RunState.from_state(point.state), newest):
            return Unchecked("no batch is between the last two resume points")
        if check.before.position >= newest.position or check.before.changes != newest.changes:
            return Unchecked()  # the newest adds a late stop alone, or the user has changed something between
        before = _with_known_loaders(RunState.from_state(point.state).contents, newest.contents)
        if problems(before["data"]):
            return Unchecked("the data cannot be brought back so far")
    except (DamagedFile, UnknownFormat, LookupError, TypeError, ValueError):
        return Unchecked(_UNFIT)
    try:
        contents.begin(before)
        if not contents.put_back(Moment.OPEN):
            return check
    except OutlastError:  # the script changes what it trains on the way
        pass
    contents.begin({**newest.contents, "callbacks": callbacks})
    contents.put_back(Moment.OPEN)
    return Unchecked(_UNFIT)


def _stretch(before: RunState, newest: RunState) -> str:
    """What is trained again, as users count: epochs and batches, or steps where there are no epochs."""
    there, here = (state.contents["loop"].get("passes") for state in (before, newest))
    if not (there and here):
        return newest.position.since(before.position)
    first, last = there["step"] + 1, here["step"]
    return f"step {last}" if first == last else f"steps {first} to {last}"


def _other_values(before: Mapping[str, Any], newest: Mapping[str, Any]) -> set[str]:
    """The names of what is not the same in both."""
    there, here = ({name: leaves({"": one}) for name, one in extra.items()} for extra in (before, newest))
    return {name for name in here if there.get(name) != here[name]}


def _has_no_batch(before: RunState, newest: RunState) -> bool:
    """Whether the older one was made after the last batch of the epoch at whose end the newer one was."""
    at, last = newest.position, before.position.batch
    if last is None or at.batch is not None or at.epoch != before.position.epoch:
        return False
    if fit := before.contents.get("fit"):
        return bool(fit["ended"]) or last + 1 == newest.settings.get("steps")
    return bool(last + 1 == newest.contents["loop"]["batches"]["count"])


def _with_known_loaders(before: Mapping[str, Tree], newest: Mapping[str, Tree]) -> dict[str, Tree]:
    """What was saved before, with what later epochs have shown: the kinds of loaders, what is made anew."""
    is_inside = before["loop"].get("inside") is not None  # where all of the epoch's goes back
    loaders = [
        {**one, "kind": after["kind"], "states": one["states"] if is_inside else _lasting(one, after)}
        for one, after in zip(before["loop"]["loaders"], newest["loop"]["loaders"], strict=False)
    ]
    return {**before, "loop": {**before["loop"], "loaders": loaders}}


def _lasting(one: Tree, after: Tree) -> Tree:
    return {place: state for place, state in one["states"].items() if place in after["states"]}


def _too_long(store: Store, numbers: Collection[int]) -> str:
    """Why it is not worth the time; "" if it is. A start that did it before may have been ended in it."""
    newest, before, *_ = numbers
    if done := _events_since(store, "check", newest):
        how = "identical" if done[-1].get("identical") is True else "not identical"
        return f"an earlier start found it {how}"
    if len(_events_since(store, "check begins", newest)) > len(_events_since(store, "check refused", newest)):
        return "an earlier start was ended in its check"
    is_short = _seconds(store, newest, before) < _SHORT or newest > _SHARE
    return "" if is_short else "training it again would take a minute or more"


def _seconds(store: Store, newest: int, before: int) -> float:
    """That the stretch between two resume points took; time in which no process trained does not count."""
    first, last = store.made(before), store.made(newest)
    events = [event.get("time") for kind in ("start", "resume", "check") for event in store.events(kind)]
    begun = [at for at in events if isinstance(at, float) and first < at < last]
    return last - max([first, *begun])


def _events_since(store: Store, kind: str, number: int) -> list[dict[str, Any]]:
    """Those of a resume point since it was made: where the newest was lost, its number is given again."""
    made = store.made(number)
    found = (event for event in store.events(kind) if event.get("resume_point") == number)
    return [event for event in found if isinstance(at := event.get("time"), float) and at >= made]


def _state_and_lines(store: Store, before: ResumePoint) -> tuple[RunState, dict[str, bytes]]:
    """What the newest resume point holds, and the lines of its logs that the one before has not."""
    newest = store.load(store.number)
    lines = {}
    for name in _LOGS:
        known = before.logs[name].size if name in before.logs else 0
        lines[name] = (store.log(name) or b"")[known:]
    return RunState.from_state(newest.state), lines


def compared(state: RunState, lines: Mapping[str, bytes], but_decisions_of: Collection[str] = ()) -> Tree:
    """All of a run that is compared; a metric by its name, then by its epoch."""
    rows: dict[str, dict[str, Any]] = {}
    for row in rows_of(lines[layout.ROWS]):
        for name in row.keys() - {"epoch"}:
            rows.setdefault(name, {})[str(row["epoch"])] = row[name]
    loop = state.contents["loop"]
    loaders = {name: _by_seed(loop[name]) for name in ("loaders", "validation_loaders")}
    if loop.get("draws") is not None and (loop["inside"] or loop["passes"]):
        loaders.pop("loaders")  # so many workers are so far ahead; the batches tell where they are
    contents = {**state.contents, "loop": {"batches": loop["batches"], **loaders}}
    contents.pop("data", None)  # how far ahead they are is the loop's affair; the batches tell where they are
    decisions = [decision.to_json() for decision in decisions_of(lines[layout.JOURNAL])]
    decisions = [one for one in decisions if one["callback"] not in but_decisions_of]
    return {**contents, "extra": state.extra, "row": rows, "decisions": decisions}


def _by_seed(loaders: Iterable[Mapping[str, Any]]) -> Tree:
    """Loaders by what they were when made: their order and kind depend on when they are seen."""
    by_seed: dict[str, Any] = {}
    for loader in loaders:
        if loader["states"]:
            name = str(loader["born"])
            by_seed[name if name not in by_seed else f"{name}_{len(by_seed)}"] = loader["states"]
    return by_seed
