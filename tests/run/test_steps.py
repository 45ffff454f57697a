"""A training without epochs: rows of so many steps, resumed exactly wherever in a pass they end."""

from __future__ import annotations

import math
import os
import random
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.run.killed import trained

import outlast
from outlast.exceptions import ArgumentError, RunChanged, UsageError
from outlast.inspect.status import look
from outlast.storage import commit
from outlast.testing import FakeAdapter

LONG = 7  # batches of a pass


class Shuffled:
    """Draws its order when a pass begins, and once more when it ends."""

    def __iter__(self) -> Any:
        yield from random.sample(range(LONG), LONG)
        random.random()

    def __len__(self) -> int:
        return LONG


def arrays() -> Any:
    return outlast.Batches(np.arange(LONG), batch_size=1, seed=1)


def train(
    folder: Path | None,
    n: int = 30,
    *,
    log_every: int = 5,
    until: int | None = None,
    data: Any = Shuffled,
    patience: int = 20,
    in_step: Any = None,
    **options: Any,
) -> Any:
    """Train to the end, or leave after so many steps; returns what came of it."""
    random.seed(5)
    adapter = FakeAdapter({"w": [0.3, 0.7]}, learning_rate=0.5)
    callbacks = [
        outlast.EarlyStopping("loss", mode="min", patience=patience, restore_best_weights=True),
        outlast.ModelCheckpoint("best.txt", "loss", mode="min", save_best_only=True),
        outlast.CSVLogger(),
        outlast.ReduceLROnPlateau("loss", mode="min", factor=0.5, patience=1),
        outlast.LambdaCallback(on_epoch_begin=lambda epoch, logs: random.random()),
    ]
    run = outlast.Run(folder, callbacks if folder else None, adapter=adapter, **options)
    for done, given in enumerate(run.steps(data(), n, log_every=log_every), 1):
        batch, drawn = int(np.sum(given)), random.random()
        adapter.weights["w"] = [math.cos(3 * w + batch * drawn) for w in adapter.weights["w"]]
        run.log(loss=abs(sum(adapter.weights["w"])), weight=1 + batch % 2)
        run.extra["seen"] = [*run.extra.get("seen", ()), (run.step, batch)]
        if run.step % 4 == 3:
            for held_out in run.validation(range(2)):
                run.log(loss=held_out + random.random())
        if in_step is not None:
            in_step(done)
        if done == until:
            run.flush()
            return run.committed
    return [
        adapter.weights,
        {name: run.history[name] for name in run.history},
        [decision.to_json() for decision in run.decisions],
        [list(one) for one in run.extra["seen"]],
        random.getstate(),
        *((folder / name).read_bytes() for name in ("history.csv", "best.txt") if folder),
    ]


def test_a_row_has_the_means_of_its_steps_wherever_a_pass_ends() -> None:
    run = outlast.Run(None, adapter=FakeAdapter())
    seen = []
    for batch in run.steps(range(3), 8, log_every=4):
        seen.append((run.step, batch))
        run.log(loss=float(batch))
    assert [batch for _, batch in seen] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [step for step, _ in seen] == [*range(8)]
    assert run.history["loss"] == [0.75, 1.0]
    assert run.step == 8


def test_the_last_row_is_shorter_if_it_must_be() -> None:
    run = outlast.Run(None, adapter=FakeAdapter())
    for batch in run.steps(range(100), 5, log_every=3):
        run.log(loss=float(batch))
    assert run.history["loss"] == [1.0, 3.5]


def test_callbacks_hear_of_each_row_as_an_epoch(folder: Path) -> None:
    stopping = outlast.EarlyStopping("loss", mode="min", patience=2)
    run = outlast.Run(folder, stopping, adapter=FakeAdapter())
    steps = sum(1 for _ in run.steps(range(3), 100, log_every=10) if run.log(loss=1.0) is None)
    assert (steps, stopping.stopped_epoch, run.finished, run.step) == (30, 2, True, 30)


def test_stop_ends_the_row_and_the_training(folder: Path) -> None:
    run = outlast.Run(folder, adapter=FakeAdapter())
    for _ in run.steps(range(3), 100, log_every=10):
        if run.step == 12:
            run.stop("enough")
    assert run.stopped is not None and "enough" in run.stopped
    assert (run.step, len(run.history.rows)) == (13, 2)


@pytest.mark.parametrize("data", [Shuffled, arrays])
@pytest.mark.parametrize("every", ["epoch", 1, 3, timedelta(microseconds=1)], ids=str)
@pytest.mark.parametrize("stops", [[6], [11, 2], [8, 1, 9], [15, 7]], ids=str)
def test_a_training_that_was_left_is_as_one_that_was_not(
    folder: Path, data: Any, every: Any, stops: list[int]
) -> None:
    whole = train(folder / "whole", data=data)
    for until in stops:
        train(folder / "left", until=until, data=data, save_every=every)
    assert train(folder / "left", data=data, save_every=every) == whole


@pytest.mark.parametrize("changes", [[3, "epoch"], ["epoch", 2], [2, 3, "epoch"]], ids=str)
def test_save_every_may_change_between_starts(folder: Path, changes: list[Any]) -> None:
    whole = train(folder / "whole")
    for every in changes:
        train(folder / "left", until=8, save_every=every)
    assert train(folder / "left", save_every=changes[-1]) == whole


@pytest.mark.parametrize("log_every", [1, 4, 7, 14, 15, 100])
def test_rows_of_any_length_are_as_exact(folder: Path, log_every: int) -> None:
    whole = train(folder / "whole", log_every=log_every)
    for until in (9, 8):
        train(folder / "left", log_every=log_every, until=until, save_every=3)
    assert train(folder / "left", log_every=log_every, save_every=3) == whole


@pytest.mark.parametrize("every", ["epoch", 2], ids=str)
def test_every_check_is_identical(folder: Path, every: Any, capsys: pytest.CaptureFixture[str]) -> None:
    whole = train(folder / "whole")
    for until in (13, 12, 9):
        train(folder / "left", until=until, save_every=every, check_resume="always")
    assert train(folder / "left", save_every=every, check_resume="always") == whole
    told = capsys.readouterr().out
    assert "identical" in told and "not identical" not in told


@pytest.mark.parametrize("first", [10, 12, 14])
def test_a_finished_run_goes_on_with_a_larger_n(
    folder: Path, first: int, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(folder / "whole", data=arrays)
    train(folder / "left", first, data=arrays)
    again = train(folder / "left", first, data=arrays)
    assert "is finished" in capsys.readouterr().out
    assert len(again[3]) == first
    rest = train(folder / "left", data=arrays, check_resume="always")
    assert "not identical" not in capsys.readouterr().out
    assert rest[3] == whole[3]  # the batches
    if first == 10:  # else a row was shorter
        assert rest == whole


def test_a_longer_patience_goes_on(folder: Path) -> None:
    whole = train(folder / "whole", patience=3)
    train(folder / "left", patience=1)
    left = train(folder / "left", patience=3)
    assert (left[0], left[3]) == (whole[0], whole[3])


@pytest.mark.skipif(os.name != "posix", reason="POSIX's signals")
@pytest.mark.parametrize("every", ["epoch", 100], ids=str)
def test_a_signal_ends_it_and_the_next_start_goes_on(folder: Path, every: Any) -> None:
    whole = train(folder / "whole")

    def meddle(done: int) -> None:
        if done == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        train(folder / "left", in_step=meddle, save_every=every)
    assert outlast.open_run(folder / "left").committed == ((0, None) if every == "epoch" else (1, 2))
    assert train(folder / "left", save_every=every) == whole


def test_without_a_folder_each_loop_begins_anew() -> None:
    run = outlast.Run(None, adapter=FakeAdapter())
    for _ in range(2):
        assert [run.step for _ in run.steps(range(2), 3, log_every=2)] == [0, 1, 2]
    assert [epoch for epoch in run.epochs(2)] == [0, 1]
    assert run.step is None


@pytest.mark.parametrize(("n", "log_every"), [(-1, 1), (1.5, 1), (True, 1), (10, 0), (10, None)])
def test_what_is_no_number_of_steps_is_refused(n: Any, log_every: Any) -> None:
    run = outlast.Run(None, adapter=FakeAdapter())
    with pytest.raises(ArgumentError, match="must be a whole number"):
        next(iter(run.steps(range(3), n, log_every=log_every)))


def test_what_is_no_loader_or_gives_nothing_is_refused() -> None:
    run = outlast.Run(None, adapter=FakeAdapter())
    with pytest.raises(ArgumentError, match=r"run.steps takes a loader of batches"):
        next(iter(run.steps(3, 10)))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"run.steps got no batch from its loader: this list is empty"):
        next(iter(run.steps([], 10)))
    with pytest.raises(ArgumentError, match="but this list_iterator can be gone through once"):
        list(run.steps(iter([1, 2]), 10))


def test_it_is_refused_inside_an_epoch_and_batches_inside_it() -> None:
    run = outlast.Run(None, adapter=FakeAdapter())
    with pytest.raises(UsageError, match="it takes the place of"):
        for _ in run.epochs(1):
            next(iter(run.steps([1], 1)))
    with pytest.raises(UsageError, match="inside a batch"):
        for _ in run.steps([1], 1):
            next(iter(run.batches([1])))


def test_another_log_every_or_kind_of_loop_is_refused(folder: Path) -> None:
    train(folder / "steps", until=12)
    with pytest.raises(RunChanged, match="log_every changed from 5 to 6"):
        train(folder / "steps", log_every=6)
    train(folder / "steps", log_every=6, accept_changes=["log_every"])
    adapter = FakeAdapter({"w": [0.3, 0.7]}, learning_rate=0.5)
    with pytest.raises(RunChanged, match=r"trained with run.steps\(...\), and cannot go on with epochs"):
        next(iter(outlast.Run(folder / "steps", adapter=adapter).epochs(9)))
    for _ in outlast.Run(folder / "epochs", adapter=FakeAdapter()).epochs(1):
        pass
    with pytest.raises(RunChanged, match=r"trained with epochs, and cannot go on with run.steps"):
        next(iter(outlast.Run(folder / "epochs", adapter=FakeAdapter()).steps([1], 9)))


def test_a_loader_that_has_become_shorter_is_refused(folder: Path) -> None:
    train(folder, until=12)
    adapter = FakeAdapter({"w": [0.3, 0.7]}, learning_rate=0.5)
    run = outlast.Run(folder, adapter=adapter, accept_changes=["steps"], check_resume="never")
    with pytest.raises(RunChanged, match="gave 2 batches, and the run was saved after batch 3"):
        for _ in run.steps(range(2), 30, log_every=5):
            pass


KILLED = """
every, until = sys.argv[2], int(sys.argv[3])
loader = torch.utils.data.DataLoader(Data(), 10, shuffle=True)
every = every if every == "epoch" else int(every)
run = outlast.Run(folder, outlast.CSVLogger(), model=model, optimizer=optimizer, save_every=every)
for x in run.steps(loader, 30, log_every=5):
    train((model(x)[:, 0] - x.mean(1)).square().mean(), x.numpy())
tell()
"""


@pytest.mark.parametrize("every", ["epoch", "2"])
@pytest.mark.parametrize("places", [[6], [12, 1], [9, 6, 5]], ids=str)
def test_a_killed_pytorch_training_is_as_one_that_was_not(
    folder: Path, every: str, places: list[int]
) -> None:
    pytest.importorskip("torch")
    whole = trained(KILLED, folder / "whole", "epoch", -1, killed=False)
    for place in places:
        trained(KILLED, folder / "left", every, place, killed=True)
    assert trained(KILLED, folder / "left", every, -1, killed=False) == whole


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda run: run.steps([1]), r"^run.steps\(\) needs n: run.steps\(loader, 1000, log_every=100\)\.$"),
        (lambda run: run.steps(), r"^run.steps\(\) needs loader and n: "),
        (lambda run: run.steps(n=3), r"^run.steps\(\) needs loader: "),
        (lambda run: run.steps([1], 5, log=3), r"^run.steps\(\) has no argument 'log'.* 'log_every'\?"),
        (lambda run: run.steps([1], 5, 3), r"takes loader and n, and the others by name, but got 3: "),
        (lambda run: run.steps([1], 5, n=5), r"^run.steps\(\) was given n twice: run.steps\(loader, 1000"),
        (lambda run: run.batches(loder=[1]), r"^run.batches\(\) has no argument 'loder'.* 'loader'\?"),
        (lambda run: run.batches([1], [2]), r"takes one loader, but got 2: .*batches\(zip\(a, b\)\)"),
        (lambda run: run.batches(), r"^run.batches\(\) needs loader: run.batches\(loader\)\.$"),
        (lambda run: run.validation(), r"^run.validation\(\) needs loader: run.validation\(loader\)\.$"),
        (lambda run: run.epochs(), r"^run.epochs\(\) needs total: run.epochs\(10\)\.$"),
        (lambda run: run.data(), r"^run.data\(\) needs source: run.data\(\(x, y\)\)\.$"),
    ],
)
def test_a_call_whose_arguments_do_not_fit_is_told_what_it_takes(wrong: Any, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        wrong(outlast.Run(None, adapter=FakeAdapter()))


def test_a_training_without_epochs_speaks_of_steps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def meddle(done: int) -> None:
        if done == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        train(folder, in_step=meddle, save_every=100)
    assert "ended after step 8, which is saved. The same" in capsys.readouterr().out
    train(folder, save_every=100)
    assert f"resumed {folder} at step 8, resume point 1; " in capsys.readouterr().out


def test_a_check_names_its_steps_and_an_end_its_rows(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(folder, save_every=3, until=13)
    train(folder, save_every=3)
    told = capsys.readouterr().out
    assert f"resumed {folder} at step 12 (steps 10 to 12 trained again as a check: identical)" in told
    train(folder, save_every=3)
    assert f"{folder} is finished (all 6 rows are done); its" in capsys.readouterr().out
    assert look(str(folder)).run.why == "all 6 rows are done"


@pytest.mark.parametrize(
    ("log_every", "save_every", "points"), [(2, 10, 3), (10, 3, 10), (7, 15, 2), (5, "epoch", 6)]
)
def test_save_every_alone_says_how_often_a_training_without_epochs_is_saved(
    folder: Path, log_every: int, save_every: Any, points: int
) -> None:
    train(folder, log_every=log_every, save_every=save_every)
    assert max(int(one.name.removeprefix("resume-")) for one in folder.glob("resume-*")) == points


def test_rows_are_there_to_see_before_they_are_saved(folder: Path) -> None:
    train(folder, log_every=2, save_every=20, until=15)
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + 7
    assert not [*folder.glob("resume-*")]
    assert train(folder, log_every=2, save_every=20) == train(folder.with_name("whole"), log_every=2)


@pytest.mark.parametrize("fails", [{1}, {2}, {1, 2}, {1, 2, 3}, {3}, {1, 3}])
def test_rows_that_were_shown_are_not_lost_when_a_save_fails(
    folder: Path, fails: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(folder.with_name("whole"), log_every=2)
    calls = iter(range(1, 100))
    real = commit.commit

    def failing(folder: str, *args: Any, **named: Any) -> Any:
        if next(calls) in fails:
            raise outlast.FileError("The disk is full.", path=folder)
        return real(folder, *args, **named)

    monkeypatch.setattr(commit, "commit", failing)
    with pytest.warns(outlast.OutlastWarning, match="The disk is full"):
        assert train(folder, log_every=2, save_every=8, on_save_error="warn") == whole
    there, here = (outlast.open_run(one) for one in (folder.with_name("whole"), folder))
    assert here.history.rows == there.history.rows and len(here.history.rows) == 15
    assert (folder / "history.csv").read_bytes() == (folder.with_name("whole") / "history.csv").read_bytes()


def test_a_generator_that_is_used_up_is_told_from_an_empty_one(folder: Path) -> None:
    run = outlast.Run(folder, adapter=FakeAdapter())
    with pytest.raises(ArgumentError, match="again and again, but this generator can be"):
        for batch in run.steps((one for one in range(3)), 5):
            run.log(loss=batch)


def test_a_function_in_the_place_of_a_loader_is_told_to_be_called(folder: Path) -> None:
    def batches() -> Any:
        yield 1.0

    run = outlast.Run(folder, adapter=FakeAdapter())
    with pytest.raises(ArgumentError, match=r"call it, run\.batches\(batches\(\)\)"):
        for _ in run.epochs(1):
            for batch in run.batches(batches):
                run.log(loss=batch)
