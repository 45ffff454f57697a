"""Resume points inside an epoch: a loop goes on with the very next batch, identical to one never stopped."""

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
from tests import forking

import outlast
from outlast.exceptions import ArgumentError, RunChanged, UsageError
from outlast.run import inside
from outlast.run.folder_store import FolderStore
from outlast.testing import FakeAdapter

BATCHES = 7


def train(
    folder: Path,
    *,
    every: Any = 3,
    until: int | None = None,
    two: bool = False,
    in_batch: Any = None,
    **options: Any,
) -> Any:
    """Train to the end, or leave after so many batches; returns what came of it."""
    random.seed(5)
    adapter = FakeAdapter({"w": [0.3, 0.7]}, learning_rate=0.5)
    callbacks = [
        outlast.EarlyStopping("loss", mode="min", patience=20, restore_best_weights=True),
        outlast.ModelCheckpoint("best.txt", "loss", mode="min", save_best_only=True),
        outlast.CSVLogger(),
        outlast.ReduceLROnPlateau("loss", mode="min", factor=0.5, patience=1),
    ]
    run = outlast.Run(folder, callbacks, adapter=adapter, save_every=every, **options)
    done = 0
    for epoch in run.epochs(3):
        run.extra["before"] = random.random()  # the code of the epoch runs again
        adapter.weights["w"][0] += 0.001
        for loader in [range(BATCHES), range(3)] if two else [range(BATCHES)]:
            for batch in run.batches(loader):
                drawn = random.random()
                adapter.weights["w"] = [math.cos(3 * w + batch * drawn) for w in adapter.weights["w"]]
                run.log(loss=abs(sum(adapter.weights["w"])), weight=1 + batch % 2)
                run.extra["seen"] = run.extra.get("seen", 0) + 1
                done += 1
                if in_batch is not None:
                    in_batch(done)
                if done == until:
                    run.flush()
                    return run.committed
            run.log(between=random.random())
        if epoch:
            for held_out in run.validation(range(2)):
                run.log(loss=float(held_out))
    return [
        adapter.weights,
        {name: run.history[name] for name in run.history},
        [decision.to_json() for decision in run.decisions],
        dict(run.extra),
        (folder / "history.csv").read_bytes(),
        (folder / "best.txt").read_bytes(),
    ]


@pytest.mark.parametrize("two", [False, True], ids=["a loader", "two loaders"])
@pytest.mark.parametrize("every", [1, 3, timedelta(microseconds=1)], ids=str)
@pytest.mark.parametrize("stops", [[1], [4], [7], [5, 3, 4], [1, 1, 1, 9]], ids=str)
def test_a_training_that_was_left_is_as_one_that_was_not(
    folder: Path, every: Any, stops: list[int], two: bool
) -> None:
    whole = train(folder / "whole", every=every, two=two)
    for until in stops:
        train(folder / "left", every=every, until=until, two=two)
    assert train(folder / "left", every=every, two=two) == whole


def test_saving_inside_changes_no_number(folder: Path) -> None:
    assert train(folder / "often", every=2) == train(folder / "whole", every="epoch")


def test_committed_says_epoch_and_batch(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(folder, until=5) == (0, 2)
    assert outlast.open_run(folder).committed == (0, 2)
    assert train(folder, until=8) == (1, 2)
    assert "at epoch 1 after batch 3, resume point 1" in capsys.readouterr().out
    train(folder, until=5, check_resume="always")
    told = capsys.readouterr().out
    assert "epoch 2 up to batch 3" in told


def test_every_check_is_identical(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for until in (4, 3, 5, 9, 4, None):
        train(folder, every=2, until=until, check_resume="always")
    told = capsys.readouterr().out
    assert "identical" in told and "not identical" not in told


def test_the_listing_counts_whole_epochs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(folder / "run", until=9)
    from outlast.cli import main

    main(["ls", "--json", str(folder)])
    assert '"epochs": 1' in capsys.readouterr().out


def test_fewer_batches_than_were_trained_are_refused(folder: Path) -> None:
    train(folder, until=7)

    with pytest.raises(RunChanged, match="gave 2 batches, and the run was saved after batch 6"):
        run = outlast.Run(
            folder,
            adapter=FakeAdapter({"w": [0.3, 0.7]}, learning_rate=0.5),
            save_every=3,
            accept_changes=["steps", "batch_size"],
        )
        for _ in run.epochs(3):
            for _ in run.batches(iter_twice()):
                pass


def test_other_batches_that_are_accepted_are_said_to_come_twice_or_not_at_all(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained(batches: int, until: int) -> None:
        accepted = ["steps", "batch_size"]
        run = outlast.Run(folder, adapter=FakeAdapter(), save_every=3, accept_changes=accepted)
        for _ in run.epochs(3):
            for done, _ in enumerate(run.batches(range(batches))):
                run.log(loss=1.0)
                if done == until:
                    return run.flush()

    told = "outlast: the batches after batch 3 of epoch 1 are others now, so that some data may come twice"
    trained(BATCHES, 3)
    trained(BATCHES + 1, 99)
    trained(BATCHES + 2, 99)  # between two epochs
    assert capsys.readouterr().out.count(told) == 1


class iter_twice:
    def __iter__(self) -> Any:
        return iter(range(2))


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "batch", timedelta(0), None])
def test_what_is_no_number_of_batches_and_no_time_is_refused(folder: Path, wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="save_every must be 'epoch', a number of batches"):
        outlast.Run(folder, adapter=FakeAdapter(), save_every=wrong)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("5", r"but is '5'\. Did you mean 5, without quotes\?$"),
        ("epochs", r"but is 'epochs'\. Did you mean 'epoch'\?$"),
        (math.inf, r"but is inf\.$"),
    ],
)
def test_save_every_that_is_nearly_right_is_told_what_was_meant(folder: Path, wrong: Any, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        outlast.Run(folder, adapter=FakeAdapter(), save_every=wrong)


@pytest.mark.parametrize("every", [2, 2.0, np.int64(2)], ids=repr)
def test_a_whole_number_of_batches_or_epochs_may_be_of_any_type(folder: Path, every: Any) -> None:
    run = outlast.Run(folder, adapter=FakeAdapter(), save_every=every)
    for _ in run.epochs(every):
        for batch in run.batches(range(5)):
            if batch == 3:
                break
        break
    run.flush()
    assert run.committed == (0, 1)
    assert outlast.open_run(folder).committed == (0, 1)


def test_a_loop_without_batches_is_told(folder: Path) -> None:
    run = outlast.Run(folder, adapter=FakeAdapter(), save_every=3)
    with pytest.warns(outlast.OutlastWarning, match="save_every has no effect"):
        for _ in run.epochs(1):
            pass


def test_hooks_that_are_called_by_hand_are_refused(folder: Path) -> None:
    run = outlast.Run(folder, adapter=FakeAdapter(), save_every=3)
    with pytest.raises(UsageError, match="leave out save_every"):
        run.on_train_begin()


TORCH = """
import os, random, signal, sys
import numpy as np, torch, outlast

folder, workers, until = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(0), np.random.seed(0), random.seed(0), torch.set_num_threads(1)


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 70

    def __getitem__(self, index):
        drawn = torch.randn(4) * random.random()
        return torch.full((4,), float(index)) + drawn, torch.tensor(float(index % 3))


model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.9)
scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
loader = torch.utils.data.DataLoader(Data(), batch_size=10, shuffle=True, num_workers=workers)
parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "scaler": scaler}
run = outlast.Run(folder, outlast.CSVLogger(), **parts, save_every=3)
done = 0
for epoch in run.epochs(2):
    torch.rand(1)
    for x, y in run.batches(loader):
        optimizer.zero_grad()
        loss = ((model(x)[:, 0] - y) ** 2).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update(), scheduler.step()
        run.log(loss=loss)
        done += 1
        if done == until:
            run.flush()
            os.kill(os.getpid(), signal.SIGKILL)
print(scaler.get_scale(), run.history["loss"], [p.tolist() for p in model.parameters()])
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_pytorch_loop_is_as_one_that_was_not(folder: Path, workers: int) -> None:
    def trained(name: str, until: int) -> str:
        arguments = [str(folder / name), str(workers), str(until)]
        done = forking.run("-c", TORCH, *arguments, imports=forking.TORCH)
        assert done.returncode == (-9 if until else 0), done.stderr
        return done.stdout.splitlines()[-1] if not until else ""

    whole = trained("whole", 0)
    for until in (5, 2):
        trained("left", until)
    assert trained("left", 0) == whole


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="POSIX's signals")
@pytest.mark.parametrize("number", ["SIGTERM", "SIGUSR1", "SIGINT", "SIGUSR2", "SIGHUP", "SIGXCPU"])
def test_a_signal_ends_after_the_batch_at_hand_with_a_save_there(
    folder: Path, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(folder / "whole", every=100)

    def meddle(done: int) -> None:
        if done == 5:
            os.kill(os.getpid(), getattr(signal, number))

    with pytest.raises((SystemExit, KeyboardInterrupt)):
        train(folder / "left", every=100, in_batch=meddle)
    assert outlast.open_run(folder / "left").committed == (0, 4)
    told = capsys.readouterr().out
    shown = "Ctrl-C" if number == "SIGINT" else number
    assert f"{shown}: ended in epoch 1 up to batch 5, which is saved. The same command goes on from" in told
    assert train(folder / "left", every=100) == whole


def test_a_handler_of_a_launcher_stays(folder: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
    try:
        train(folder, in_batch=lambda done: os.kill(os.getpid(), signal.SIGUSR2) if done == 2 else None)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [signal.SIGUSR2]


def in_batches(folder: Path, body: Any, *, every: Any = 2, until: int | None = None, **options: Any) -> Any:
    """Two epochs of a loop with another body, left after so many batches."""
    random.seed(5)
    adapter = FakeAdapter({"w": [0.3]})
    run = outlast.Run(folder, adapter=adapter, save_every=every, **options)
    done = 0
    for _ in run.epochs(2):
        for drawn in body(run):
            adapter.weights["w"] = [math.cos(3 * adapter.weights["w"][0] + float(drawn))]
            done += 1
            if done == until:
                run.flush()
                return None
    return adapter.weights, {name: run.history[name] for name in run.history}


def a_permutation(run: outlast.Run) -> Any:
    """Drawn by the script before the batches."""
    order = random.sample(range(6), 6)
    for index in run.batches(range(6)):
        yield order[index]


def tensors_and_numbers(run: outlast.Run) -> Any:
    import torch

    for index in run.batches(range(6)):
        run.log(loss=torch.tensor(0.5 + index) if index < 3 else 0.25, weight=torch.tensor(2.0))
        yield index


def a_stream(run: outlast.Run) -> Any:
    import torch

    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(torch.arange(6.0))

    yield from run.batches(torch.utils.data.DataLoader(Stream(), batch_size=1))


def counted(run: outlast.Run) -> Any:
    for index, batch in run.batches(enumerate(range(6))):
        if index == 5:
            break
        yield batch


BODIES = [a_permutation, tensors_and_numbers, a_stream, counted]


@pytest.mark.parametrize("check", ["always", "never"])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("stops", [[3], [4], [5, 3], [9]], ids=str)
def test_loops_of_many_kinds_are_as_ones_that_were_not_left(
    folder: Path, body: Any, stops: list[int], check: str
) -> None:
    whole = in_batches(folder / "whole", body)
    for until in stops:
        in_batches(folder / "left", body, until=until, check_resume=check)
    assert in_batches(folder / "left", body, check_resume=check) == whole


@pytest.mark.parametrize("changes", [[3, 500], [3, "epoch"], [3, 5, 2], ["epoch", 2], [2, 3, 500]], ids=str)
def test_save_every_may_change_between_starts(
    folder: Path, changes: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = in_batches(folder / "whole", a_permutation, every="epoch")
    for every in changes:
        in_batches(folder / "left", a_permutation, every=every, until=5, check_resume="always")
    last = changes[-1]
    assert in_batches(folder / "left", a_permutation, every=last, check_resume="always") == whole
    assert "not identical" not in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="POSIX's signals")
@pytest.mark.parametrize("places", [[5], [3, 2], [7, 1, 2]], ids=str)
def test_after_signals_every_check_is_identical(
    folder: Path, places: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(folder / "whole", every=3)
    for place in places:
        with pytest.raises(SystemExit):
            train(
                folder / "left",
                every=3,
                check_resume="always",
                in_batch=lambda done, at=place: os.kill(os.getpid(), signal.SIGTERM) if done == at else None,
            )
    assert train(folder / "left", every=3, check_resume="always") == whole
    assert "not identical" not in capsys.readouterr().out


def test_a_signal_in_a_validation_ends_after_the_batch(folder: Path) -> None:
    run = outlast.Run(folder, adapter=FakeAdapter({"w": [0.3]}), save_every=100)
    with pytest.raises(SystemExit):
        for _ in run.epochs(1):
            for batch in run.batches(range(5)):
                for held_out in run.validation(range(3)):
                    if batch == 2 and held_out == 1:
                        os.kill(os.getpid(), signal.SIGTERM)
    assert outlast.open_run(folder).committed == (0, 2)


def test_verify_names_what_a_damaged_resume_point_inside_an_epoch_loses(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from outlast.cli import main

    train(folder, every=2, until=12)
    newest = max(folder.glob("resume-*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    main(["verify", str(folder)])
    told = capsys.readouterr().out
    assert "what resume point" in told or "epoch 2 up to batch 4, to be trained again" in told
    assert "epochs 2 to 1" not in told


@pytest.mark.parametrize("signalled", [False, True], ids=["left", "signal"])
def test_behind_a_stop_the_epoch_comes_to_its_end_first(folder: Path, signalled: bool) -> None:
    """A save there would be the run's last: the epoch's row, validation and models would be lost."""

    def stopped(place: Path, *, left: bool) -> Any:
        adapter = FakeAdapter({"w": [0.3]})
        run = outlast.Run(place, [outlast.CSVLogger()], adapter=adapter, save_every=2)
        for epoch in run.epochs(4):
            for batch in run.batches(range(6)):
                adapter.weights["w"] = [math.cos(adapter.weights["w"][0] + batch)]
                run.log(loss=adapter.weights["w"][0])
                if (epoch, batch) == (1, 3):
                    run.stop("enough")
            if left and epoch == 1:
                if signalled:
                    os.kill(os.getpid(), signal.SIGTERM)
                else:
                    run.flush()
                    return None
            run.log(behind=epoch)
        return (
            adapter.weights,
            dict(run.history),
            run.status,
            run.stopped,
            (place / "history.csv").read_bytes(),
        )

    whole = stopped(folder / "whole", left=False)
    if signalled:
        with pytest.raises(SystemExit):
            stopped(folder / "left", left=True)
        assert outlast.open_run(folder / "left").committed == (1, None)
    else:
        stopped(folder / "left", left=True)
        assert outlast.open_run(folder / "left").committed == (1, 1)
    assert stopped(folder / "left", left=False) == whole


def around(loop: Any) -> Any:
    """As a progress bar around a run's loop does."""
    yield from loop


@pytest.mark.parametrize("in_steps", [False, True], ids=["epochs", "steps"])
def test_a_loop_in_a_progress_bar_is_as_one_without(folder: Path, in_steps: bool) -> None:
    data = outlast.Batches(np.arange(24), batch_size=4, seed=3)

    def trained(place: Path, bar: Any, until: int | None = None, number: int | None = None) -> Any:
        adapter = FakeAdapter({"w": [0.3]})
        run = outlast.Run(place, adapter=adapter, save_every=4)
        loop = bar(run.steps(data, 30, log_every=5)) if in_steps else bar(run.epochs(5))
        done = 0
        for item in loop:
            for batch in [item] if in_steps else run.batches(data):
                assert run.status == "running"
                adapter.weights["w"] = [math.cos(adapter.weights["w"][0] + float(batch.sum()))]
                done += 1
                if done == until and number is not None:
                    os.kill(os.getpid(), number)
                elif done == until:
                    run.flush()
                    return None
        return adapter.weights

    whole = trained(folder / "whole", lambda loop: loop)
    trained(folder / "left", around, 14)
    with pytest.raises(SystemExit):
        trained(folder / "left", around, 5, signal.SIGTERM)
    assert trained(folder / "left", around) == whole


class Wrapper:
    """A loader around another, that compares as the other does."""

    def __init__(self, loader: Any) -> None:
        self.loader, self._comparable = loader, id(loader)

    def __iter__(self) -> Any:
        return iter(self.loader)

    def __len__(self) -> int:
        return len(self.loader)

    def __eq__(self, other: Any) -> bool:
        return bool(self._comparable == other._comparable)

    def __hash__(self) -> int:
        return id(self)


def test_a_loader_that_compares_as_it_likes(folder: Path) -> None:
    """As tqdm does: to be asked whether it equals a DataLoader is an error in its own code."""
    torch = pytest.importorskip("torch", reason="only with torch")

    def body(run: Any) -> Any:
        return run.batches(Wrapper(torch.utils.data.DataLoader(torch.arange(6.0))))

    whole = in_batches(folder / "whole", body)
    in_batches(folder / "left", body, until=5)
    assert in_batches(folder / "left", body) == whole


@pytest.mark.parametrize(("seconds", "said"), [(1.0, 0), (20.0, 1)])
def test_a_save_comes_later_where_saves_take_too_much_of_the_training(
    folder: Path,
    seconds: float,
    said: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A line says so in a training that takes longer than some seconds."""
    now = [0.0]
    busy = iter([True, True, False, True])  # the disk, when a save is due
    monkeypatch.setattr(inside.Every, "slows", True)
    monkeypatch.setattr(FolderStore, "is_writing", property(lambda store: next(busy)))
    run = outlast.Run(folder, adapter=FakeAdapter(), save_every=2, clock=lambda: now[0])
    saved = []
    for _ in run.epochs(1):
        now[0] = seconds
        for batch in run.batches(range(BATCHES)):
            run.flush()
            saved.append((batch, run.committed))
    assert saved[1:4] == [(1, None), (2, None), (3, None)]  # due after batches 1, 2 and 3
    assert saved[-1] == (6, (0, 3))  # due after batch 5 again, and then the epoch ends
    assert capsys.readouterr().out.count("saves take more than a third of the time") == said
