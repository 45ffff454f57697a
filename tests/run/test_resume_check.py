"""A resume trains the last saved epoch again, and says whether that is what was saved."""

from __future__ import annotations

import json
import os
import random
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.run.training import LOSSES, content

from outlast import (
    ArgumentError,
    Callback,
    CSVLogger,
    EarlyStopping,
    ModelCheckpoint,
    OutlastWarning,
    ReduceLROnPlateau,
    Run,
    RunChanged,
    TimeLimit,
    UsageError,
    open_run,
)
from outlast.core.stopping import invalid_loss
from outlast.testing import FakeAdapter

Out = pytest.CaptureFixture[str]
IDENTICAL = "trained again as a check: identical)"


def start(folder: Path, callbacks: Any = None, **options: Any) -> Run:
    return Run(folder, callbacks, adapter=FakeAdapter({"w": [0.0, 0.0]}, learning_rate=0.1), **options)


def train(
    run: Run, epochs: int, until: int | None = None, act: Callable[[int], object] = lambda epoch: None
) -> list[int]:
    """Train, but leave the loop in the middle of epoch ``until``; returns the epochs that were begun."""
    begun: list[int] = []
    note = begun.append  # a start names the lists that a loop fills
    for epoch in run.epochs(epochs):
        note(epoch)
        if epoch == until:
            break
        run.training.weights["w"][0] += random.random()
        act(epoch)
        run.log(val_loss=LOSSES[epoch])
    return begun


def callbacks() -> list[Any]:
    return [
        EarlyStopping(patience=5, restore_best_weights=True),
        ModelCheckpoint("best.txt", save_best_only=True),
        ReduceLROnPlateau(patience=1),
        CSVLogger(),
    ]


def uninterrupted(folder: Path, epochs: int = 9) -> Run:
    random.seed(1)
    run = start(folder, callbacks())
    train(run, epochs)
    return run


def later(point: Path, seconds: float = 100) -> None:
    """As if it had been made more than a minute after the one before, in the same process."""
    at = point.stat().st_mtime + seconds
    os.utime(point, (at, at))


def left(folder: Path, until: int, **how: Any) -> None:
    random.seed(1)
    train(start(folder, callbacks()), 9, until, **how)


@pytest.mark.parametrize("until", range(2, 9))
def test_an_epoch_trained_again_that_is_the_same_is_said_in_one_line(
    folder: Path, capsys: Out, until: int
) -> None:
    whole = uninterrupted(folder / "whole")
    left(folder / "left", until)
    capsys.readouterr()
    random.seed(5)  # as another process would have it
    run = start(folder / "left", callbacks())
    assert train(run, 9) == [*range(until - 1, 9)][: len(run.history.epochs) - until + 1]
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("outlast:")]
    told = f"resumed {folder / 'left'} at epoch {until + 1} (epoch {until} {IDENTICAL}, resume point {until}"
    assert said == [f"outlast: {told}"]
    assert run.training.weights == whole.training.weights
    assert run.decisions == whole.decisions
    there, here = content(folder / "whole"), content(folder / "left")
    for name in ("history.csv", "journal.jsonl", "best.txt"):
        assert here[name] == there[name]


def test_nothing_is_written_meanwhile_and_what_listens_hears_the_epoch_once(folder: Path) -> None:
    left(folder, 6)
    heard: list[int] = []
    before = content(folder)
    run = start(folder, callbacks(), listen=lambda decision: heard.append(decision.epoch))

    def act(epoch: int) -> None:
        if epoch == 5:
            run.flush()
            assert content(folder) == before
            assert run.committed == (5, None)

    train(run, 9, act=act)
    assert 5 not in heard and 6 in heard
    assert [row["epoch"] for row in run._rows] == [*range(len(run._rows))]


@pytest.mark.parametrize("how", ["identical", "not identical", "ended", "number given again"])
def test_a_second_start_says_what_the_first_found(folder: Path, capsys: Out, how: str) -> None:
    left(folder, 4)
    random.seed(5)
    changed = random.seed if how == "not identical" else lambda epoch: None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(start(folder, callbacks()), 9, until=3 if how == "ended" else 4, act=changed)
    if how == "number given again":  # the resume point that was checked was lost since
        at = os.stat(folder / "events.jsonl").st_mtime + 30
        os.utime(folder / "resume-00000004", (at, at))
    capsys.readouterr()
    train(start(folder, callbacks()), 9, until=4)
    told = {
        "ended": "not checked: an earlier start was ended in its check",
        "number given again": IDENTICAL,
    }.get(how, f"not checked: an earlier start found it {how}")
    assert told in capsys.readouterr().out


class Counting(Callback):
    """Its state comes from a number that is not in it."""

    def __init__(self) -> None:
        self.count = self.last = 0

    def state_dict(self) -> Any:
        return {"last": self.last}

    def load_state_dict(self, state: Any) -> None:
        self.last = state["last"]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.count += 1
        self.last = self.count


def cooling(folder: Path, until: int, depends: bool = False) -> None:
    """A training that changes an attribute of its module; its steps may depend on it."""
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    model.temperature = 1.0
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    run = Run(folder, model=model, optimizer=optimizer)
    for epoch in run.epochs(9):
        if epoch == until:
            return
        for x in run.batches([torch.ones(1, 2)]):
            model.temperature *= 0.9
            loss = model(x * (model.temperature if depends else 1.0)).sum()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss)


def test_an_attribute_that_changes_is_not_named_once_a_resume_was_identical(
    folder: Path, capsys: Out
) -> None:
    with pytest.warns(OutlastWarning, match="Training changes temperature"):
        cooling(folder, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cooling(folder, 5)  # as the check of this start shows
        cooling(folder, 7)  # as that of an earlier one has shown
    assert capsys.readouterr().out.count("trained again as a check: identical") == 2


def test_an_attribute_that_changes_is_named_again_after_a_resume_that_differs(folder: Path) -> None:
    for until in (3, 5):
        with pytest.warns(OutlastWarning) as caught:
            cooling(folder, until, depends=True)
        assert any("Training changes temperature" in str(one.message) for one in caught)


class Faults:
    """What a script may do otherwise in another process; each is a fault of one kind."""

    def __init__(self, run: Run, process: int) -> None:
        self.run, self.process = run, process

    def batches(self, epoch: int) -> None:
        for _ in self.run.batches([self.process, 2, 3]):
            pass

    def random_state(self, epoch: int) -> None:
        for _ in range(self.process):
            random.random()

    def rate(self, epoch: int) -> None:
        self.run.training.set_learning_rate("learning_rate", 0.1 / self.process)

    def weights(self, epoch: int) -> None:
        self.run.training.weights["w"][1] += 1e-3 * self.process

    def metric(self, epoch: int) -> None:
        self.run.log(score=float(self.process))

    def extra(self, epoch: int) -> None:
        self.run.extra["process"] = self.process


FAULTS = {
    "batches": "the batches: state/loop/batches",
    "random_state": "random state: state/random/python",
    "rate": "the learning rate: state/row/learning_rate",
    "weights": "the weights: state/training/weights/w/1",
    "metric": "a metric: state/row/score/3 (1.0 was saved, and it is 2.0 now)",
    "extra": "run.extra: state/extra/process (1 was saved, and it is 2 now)",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_what_was_saved_is_put_back(
    folder: Path, capsys: Out, fault: str
) -> None:
    random.seed(1)
    run = start(folder, [CSVLogger()])
    train(run, 9, until=4, act=getattr(Faults(run, 1), fault))
    saved = FakeAdapter.state(run.training)
    rows = run._rows
    extra = dict(run.extra)
    again = start(folder, [CSVLogger()])
    seen: list[Any] = []

    def act(epoch: int) -> None:
        if epoch == 3:
            getattr(Faults(again, 2), fault)(epoch)

    original = again.on_epoch_begin

    def begin(epoch: int, logs: Any = None) -> None:
        seen.append((epoch, FakeAdapter.state(again.training), dict(again.extra)))
        original(epoch, logs)

    again.on_epoch_begin = begin  # type: ignore[method-assign]
    with pytest.warns(OutlastWarning, match="epoch 4 was trained again") as caught:
        train(again, 5, act=act)
    assert len([one for one in caught if "trained again" in str(one.message)]) == 1
    text = str(caught[0].message)
    aside = {"metric": "is exact but for a metric", "extra": "is exact but for run.extra"}
    assert aside.get(fault, "is not exact") in text
    assert f"What differs first is {FAULTS[fault]}" in text and "likely cause" in text
    assert seen[1] == (4, saved, extra)  # as it was saved
    assert again._rows[:4] == rows
    assert "(epoch 4 trained again as a check: not identical)" in capsys.readouterr().out
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    (check,) = [event for event in events if event["event"] == "check"]
    assert not check["identical"] and FAULTS[fault] in check["found"]
    assert open_run(folder).history["val_loss"] == list(LOSSES[:5])


def test_what_a_callback_of_ones_own_remembers_is_compared(folder: Path) -> None:
    class Counting(Callback):
        def __init__(self, begins_with: int) -> None:
            self.total, self.begins_with = 0, begins_with

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.total = self.begins_with + epoch

    train(start(folder, [Counting(0)]), 9, until=4)
    told = r"what a callback remembers: state/attributes/Counting/total/value \(3 was saved, and"
    with pytest.warns(OutlastWarning, match=f"is exact but for what a callback remembers.*{told}"):
        train(start(folder, [Counting(5)]), 5)


def test_a_metric_that_has_differed_before_is_named_in_the_line_alone(folder: Path, capsys: Out) -> None:
    def timed(at: float, until: int) -> None:
        run = start(folder)
        train(run, 9, until=until, act=lambda epoch: run.log(seconds=at + epoch))

    timed(0.0, 3)
    with pytest.warns(OutlastWarning, match="is exact but for a metric.*a metric: state/row/seconds/2"):
        timed(0.5, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        timed(0.25, 7)
    assert (
        "(epoch 5 trained again as a check: identical but for seconds, as before)" in capsys.readouterr().out
    )
    assert open_run(folder).history["seconds"] == [0.0, 1.0, 2.0, 3.5, 4.5, 5.25, 6.25]


def test_a_callback_that_forgets_is_named(folder: Path) -> None:
    train(start(folder, [Counting()]), 9, until=4)
    with pytest.warns(OutlastWarning, match="a callback: state/callbacks/Counting/state/last"):
        train(start(folder, [Counting()]), 9)


class Once(Callback):
    """Decides otherwise in another process, and stops the training."""

    process = 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 3 and self.process == 2:
            decision = invalid_loss(float("nan"), epoch=epoch, batch=0)
            self.control.stop(decision.sentence)
            self.context.report(decision)


def test_a_stop_that_differs_does_not_end_the_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(start(folder, [Once()]), 9, until=4)
    monkeypatch.setattr(Once, "process", 2)
    run = start(folder, [Once()])
    with pytest.warns(OutlastWarning, match="decisions"):
        begun = train(run, 6)
    assert begun == [3, 4, 5] and run.stopped is None


def test_a_stop_that_the_user_asks_for_in_the_epoch_that_is_trained_again_holds(folder: Path) -> None:
    train(start(folder), 9, until=4)
    run = start(folder)
    assert train(run, 9, act=lambda epoch: run.stop("for once")) == [3]
    for one in (run, open_run(folder)):
        assert one.status == "finished" and "for once" in one.stopped
    assert [decision.epoch for decision in open_run(folder).decisions] == [3]
    assert train(start(folder), 9) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_epoch_trained_again_that_is_left_loses_nothing(folder: Path, error: type[BaseException]) -> None:
    whole = uninterrupted(folder / "whole")
    left(folder / "left", 4)
    run = start(folder / "left", callbacks())

    def fail(epoch: int) -> None:
        raise error

    with pytest.raises(error):
        train(run, 9, act=fail)
    assert len(run.history.epochs) == 4 and run.committed == (3, None)
    train(run, 9)
    assert run.history == whole.history and run.training.weights == whole.training.weights
    again = open_run(folder / "left")
    assert (again.status, again.history) == ("finished", whole.history)


def test_lists_in_extra_that_the_script_holds_stay_the_runs(folder: Path) -> None:
    def once(until: int | None) -> Run:
        run = start(folder)
        losses = run.extra.setdefault("losses", [])
        train(run, 6, until, lambda epoch: losses.append(epoch))
        return run

    once(3)
    assert once(4).extra == {"losses": [0, 1, 2, 3]}
    assert once(None).extra == {"losses": [0, 1, 2, 3, 4, 5]}
    assert open_run(folder).extra == {"losses": [0, 1, 2, 3, 4, 5]}


def test_what_is_put_into_extra_between_two_trainings_counts_and_a_stop_is_refused(folder: Path) -> None:
    run = start(folder)
    run.extra["before"] = 1
    train(run, 2)
    run.extra["between"] = 2
    with pytest.raises(UsageError, match="no training to stop"):
        run.stop("enough")
    train(run, 4)
    assert open_run(folder).extra == {"before": 1, "between": 2}


@pytest.mark.parametrize("what", ["a rate", "weights", "a callback", "a rate after the Run is made"])
def test_a_change_on_purpose_is_no_difference_in_the_next_start(folder: Path, what: str, capsys: Out) -> None:
    train(start(folder), 9, until=3)

    def once(until: int) -> None:
        callbacks = [CSVLogger()] if what == "a callback" else []
        run = start(folder, callbacks, accept_changes=["learning_rate"])
        if what == "a rate":
            run.training.set_learning_rate("learning_rate", 0.01)
        train(run, 9, until)

    run = start(folder, [EarlyStopping("val_loss", patience=9)] if what == "a callback" else [])
    if what == "a rate":
        run.learning_rate = 0.01
    elif what == "a rate after the Run is made":
        run.training.set_learning_rate("learning_rate", 0.01)
    elif what == "weights":
        run.training.weights["w"][1] = 7.0
    assert train(run, 9, until=4) == [3, 4]
    out = capsys.readouterr().out
    assert what in ("a callback", "a rate") or "these were set after the Run was made, and are kept" in out
    again = start(folder, [EarlyStopping("val_loss", patience=9)] if what == "a callback" else [])
    if what == "a rate":
        again.learning_rate = 0.01
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(again, 9, until=5) == [4, 5]


def test_other_batches_that_are_accepted_are_no_difference(folder: Path) -> None:
    def once(size: int, until: int | None = None, **options: Any) -> list[int]:
        run = start(folder, **options)
        begun: list[int] = []
        note = begun.append  # a start names the lists that a loop fills
        for epoch in run.epochs(6):
            note(epoch)
            if epoch == until:
                break
            for batch in run.batches(list(range(size))):
                run.log(loss=batch)
        return begun

    once(4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert once(5, 4, accept_changes=["steps"]) == [2, 3, 4]
        assert once(5) == [4, 5]


def test_a_check_that_did_not_come_to_its_end_is_not_begun_again(folder: Path) -> None:
    left(folder, 4)
    assert train(start(folder, callbacks()), 9, until=3) == [3]  # left in the epoch that is trained again
    assert train(start(folder, callbacks()), 9, until=4) == [4]
    assert train(start(folder, callbacks(), check_resume="always"), 9, until=4) == [3, 4]


def test_a_difference_ends_no_training_where_warnings_are_errors(folder: Path, capsys: Out) -> None:
    train(start(folder, [Counting()]), 9, until=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(start(folder, [Counting()]), 9)
    assert "outlast: Resuming" in capsys.readouterr().out


def test_it_can_be_left_out_and_is_left_out_where_it_takes_long(folder: Path, capsys: Out) -> None:
    left(folder, 4)
    assert train(start(folder, callbacks(), check_resume="never"), 9, until=5) == [4, 5]
    later(max(folder.glob("resume-*")))
    capsys.readouterr()
    assert train(start(folder, callbacks()), 9, until=6) == [5, 6]
    assert capsys.readouterr().out.endswith("; not checked: training it again would take a minute or more\n")
    later(max(folder.glob("resume-*")), 250)
    capsys.readouterr()
    assert train(start(folder, callbacks(), check_resume="always"), 9, until=7) == [5, 6, 7]
    first, _ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"outlast: resuming {folder}: epoch 6 is trained again as a check, about ")
    with pytest.raises(ArgumentError, match="check_resume must be 'auto', 'always' or 'never'"):
        start(folder, check_resume="sometimes")


def test_a_long_epoch_of_a_longer_training_is_trained_again(folder: Path) -> None:
    run = start(folder)
    for epoch in run.epochs(60):
        if epoch == 55:
            break
    later(max(folder.glob("resume-*")))
    assert next(iter(start(folder).epochs(60))) == 54


def test_what_the_user_sets_before_the_loop_counts(folder: Path, capsys: Out) -> None:
    train(start(folder), 9, until=4)
    run = start(folder)
    run.training.weights["w"][1] = 7.0
    assert train(run, 5) == [4] and run.training.weights["w"][1] == 7.0
    assert "as a check" not in capsys.readouterr().out


def test_a_note_alone_counts_too_and_a_kept_dict_stays_the_runs(folder: Path) -> None:
    run = start(folder)
    train(run, 9, until=4, act=lambda epoch: run.extra.update(last=epoch))
    again = start(folder)
    notes = again.extra
    assert train(again, 9, 5, lambda epoch: notes.update(last=epoch)) == [3, 4, 5]
    assert notes is again.extra and notes == {"last": 4}
    third = start(folder)
    third.extra["note"] = "mine"
    train(third, 9, until=6)
    assert third.extra == {"last": 4, "note": "mine"}


def test_a_damaged_older_resume_point_is_no_reason_not_to_go_on(folder: Path) -> None:
    left(folder, 4)
    older = min(folder.glob("resume-*"))
    older.write_bytes(older.read_bytes()[:-1] + b"?")
    assert train(start(folder, callbacks()), 9, until=5) == [4, 5]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_epoch_that_is_trained_again_loses_nothing(
    folder: Path, capsys: Out, number: int
) -> None:
    left(folder, 4)
    before = content(folder)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(start(folder, callbacks()), 9, act=lambda epoch: os.kill(os.getpid(), number))
    assert content(folder) == before
    said = capsys.readouterr().out
    assert "ended after epoch 4, which is saved. The same command goes on with epoch 5" in said
    assert train(start(folder, callbacks()), 9, until=5) == [4, 5]  # it is not begun a second time


class Forgetful(FakeAdapter):
    """Refuses the older state, as a script does that adds a layer in an epoch."""

    def load_state(self, state: Any) -> None:
        if state["weights"]["w"][1] == 2.0:
            raise ValueError("another structure")
        super().load_state(state)


def test_an_older_state_that_does_not_fit_is_no_reason_either(folder: Path) -> None:
    run = start(folder)
    train(run, 9, until=4, act=lambda epoch: run.training.weights["w"].__setitem__(1, float(epoch)))
    again = Run(folder, adapter=Forgetful({"w": [0.0, 0.0]}, learning_rate=0.1))
    assert next(iter(again.epochs(9))) == 4
    assert again.training.weights["w"][1] == 3.0


def test_times_are_not_compared(folder: Path) -> None:
    train(start(folder, [TimeLimit(1000)]), 9, until=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(start(folder, [TimeLimit(1000)]), 9) == [*range(3, 9)]


def test_a_hundred_exact_resumes_raise_no_false_alarm(folder: Path, capsys: Out) -> None:
    random.seed(1)
    for until in range(2, 103):
        run = start(folder, [EarlyStopping("loss", patience=200, restore_best_weights=True), CSVLogger()])
        for epoch in run.epochs(103):
            if epoch == until:
                break
            for batch in run.batches(random.sample(range(10), 4)):
                run.training.weights["w"][0] += batch * random.random()
                run.log(loss=run.training.weights["w"][0] % 7)
        random.seed(until)
    assert capsys.readouterr().out.count("check: identical)") == 100


READ_BEFORE: dict[str, tuple[Callable[[Run], Any], Callable[[Run, Any], Any], bool]] = {
    "a number": (
        lambda run: run.extra.get("n", 0),
        lambda run, n: run.extra.update(n=n + 1) or n + 1,  # type: ignore[func-returns-value]
        False,
    ),
    "a list": (
        lambda run: run.extra.setdefault("n", []),
        lambda run, n: n.append(len(n)) or n,
        True,
    ),
    "a dict": (
        lambda run: run.extra.setdefault("of", {"n": []}),
        lambda run, of: of["n"].append(1) or of,
        True,
    ),
    "what stays": (
        lambda run: run.extra.setdefault("name", "a"),
        lambda run, name: run.extra.update(name=name) or name,  # type: ignore[func-returns-value]
        True,
    ),
    "nothing": (
        lambda run: None,
        lambda run, _: run.extra.update(n=run.extra.get("n", 0) + 1),
        True,
    ),
}


@pytest.mark.parametrize("what", READ_BEFORE)
@pytest.mark.parametrize("inside", [False, True])
def test_a_script_that_goes_on_from_what_it_read_counts_nothing_twice(
    folder: Path, capsys: Out, what: str, inside: bool
) -> None:
    read, change, is_checked = READ_BEFORE[what]

    def count(folder: Path, until: tuple[int, int] | None = None) -> Any:
        run = start(folder, save_every=2) if inside else start(folder)
        value = read(run)
        for epoch in run.epochs(4):
            for batch in run.batches(range(5)):
                if (epoch, batch) == until:
                    run.flush()
                    return None
                value = change(run, value)
        return dict(run.extra)

    whole = count(folder / "whole")
    count(folder / "left", (2, 4))
    capsys.readouterr()
    assert count(folder / "left") == whole
    told = capsys.readouterr().out
    assert (IDENTICAL in told) == is_checked
    assert ("not checked: the script has read run.extra before the loop" in told) != is_checked


def test_a_start_that_is_refused_does_not_use_up_the_check(folder: Path, capsys: Out) -> None:
    def begin(size: int, until: int) -> None:
        run = start(folder, save_every=2)
        loader = torch.utils.data.DataLoader(torch.zeros(20), batch_size=size)
        for epoch in run.epochs(4):
            for batch, _ in enumerate(run.batches(loader)):
                if (epoch, batch) == (2, until):
                    run.flush()
                    return

    begin(4, 3)
    with pytest.raises(RunChanged, match="batch_size changed from 4 to 5"):
        begin(5, 9)
    capsys.readouterr()
    begin(4, 9)
    assert IDENTICAL in capsys.readouterr().out


def test_the_time_in_which_nobody_trained_does_not_count(folder: Path, capsys: Out) -> None:
    left(folder, 2)
    os.utime(folder / "resume-00000001", (1e9, 1e9))
    os.utime(folder / "resume-00000002", (1e9 + 1, 1e9 + 1))  # and years later:
    random.seed(5)
    train(start(folder, callbacks()), 9, until=3)
    assert IDENTICAL in capsys.readouterr().out
    train(start(folder, callbacks()), 9, until=4)
    assert IDENTICAL in capsys.readouterr().out
