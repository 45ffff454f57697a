"""A start that fails leaves a Run that can be used again; all is tried out before the first batch."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tracemalloc
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.run.training import LOSSES, go_on, start, train, weight

from outlast import Callback, CSVLogger, EarlyStopping, ModelCheckpoint, Run, open_run
from outlast.exceptions import (
    ArgumentError,
    CapabilityError,
    DamagedFile,
    FileError,
    OutlastError,
    RunChanged,
    RunLocked,
    UnknownArgument,
)
from outlast.storage.disk import calls
from outlast.testing import FakeAdapter

Out = pytest.CaptureFixture[str]


# Any failure of a start.


class Hooks:
    """A loop that calls hooks, as Keras's fit does: a model may come to a Run that was made long before."""

    def __init__(self, folder: Path, callbacks: Any = None) -> None:
        self.run = Run(folder, callbacks, check_resume="never")

    def fit(self, adapter: FakeAdapter, epochs: int) -> list[int]:
        self.run._given = adapter  # as fit's set_model brings a model
        self.run.set_params({"epochs": epochs})
        self.run.set_model(adapter)
        self.run.on_train_begin()
        begun = []
        for epoch in self.run._remaining(epochs):
            begun.append(epoch)
            self.run.on_epoch_begin(epoch)
            adapter.weights["w"][0] += 1
            self.run.on_epoch_end(epoch, {"val_loss": LOSSES[epoch]})
        self.run.on_train_end()
        return begun


def model(rate: float = 0.1) -> FakeAdapter:
    return FakeAdapter({"w": [0.0]}, learning_rate=rate)


class BrokenModel(FakeAdapter):
    def load_state(self, state: Any) -> None:
        raise RunChanged("the model is another one")


def damage(folder: Path) -> Callable[[], object]:
    saved = {path: path.read_bytes() for path in folder.glob("resume-*")}
    for path in saved:
        path.write_bytes(b"x")
    return lambda: [path.write_bytes(content) for path, content in saved.items()]


def lock(folder: Path) -> Callable[[], object]:
    held = f"f = open({str(folder / 'LOCK')!r}, 'r+'); fcntl.flock(f, 2)"
    code = f"import fcntl; {held}; print(1, flush=True); input()"
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout and process.stdin and process.stdout.readline()

    def release() -> None:
        process.communicate(b"\n")

    return release


def fill_disk(folder: Path) -> Callable[[], object]:
    patch = pytest.MonkeyPatch()

    def refuse(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    patch.setattr(calls.calls, "write", refuse)
    return patch.undo


FAILURES: dict[
    str, tuple[Callable[[Path], Callable[[], object]], Callable[[], FakeAdapter], type[Exception]]
] = {
    "the model": (lambda folder: lambda: None, lambda: BrokenModel({"w": [0.0]}), RunChanged),
    "a setting": (lambda folder: lambda: None, lambda: model(0.5), RunChanged),
    "the lock": (lock, model, RunLocked),
    "the disk": (fill_disk, model, FileError),
    "damaged files": (damage, model, DamagedFile),
}


@pytest.mark.parametrize("what", FAILURES)
def test_whatever_fails_at_a_start_the_same_run_goes_on_once_it_is_mended(folder: Path, what: str) -> None:
    Hooks(folder, [EarlyStopping(patience=9)]).fit(model(), 2)
    harm, bad, error = FAILURES[what]
    again = Hooks(folder, [EarlyStopping(patience=9)])
    mend = harm(folder)
    try:
        with pytest.raises(error):
            again.fit(bad(), 4)
        with pytest.raises(error):  # and not another error the second time
            again.fit(bad(), 4)
    finally:
        mend()
    assert again.run.status != "running"
    good = model()
    assert again.fit(good, 4) == [2, 3]
    assert good.weights == {"w": [4.0]}
    assert open_run(folder).history.epochs == (0, 1, 2, 3)


def test_a_start_that_fails_lets_others_have_the_folder(folder: Path) -> None:
    train(folder, epochs=2)
    with pytest.raises(RunChanged):
        start(folder, rate=0.5)
    assert open_run(folder).status == "finished"
    assert go_on(start(folder), 3) == [2]


# Tried out before the first batch.


class Part:
    """A part whose state holds one value."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {"inner": {"value": self.value}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["inner"]["value"]


def refused(folder: Path, **parts: Any) -> str:
    """The error of a start with these parts; nothing is trained and nothing but the start is written."""
    run = start(folder, **parts)
    with pytest.raises(CapabilityError) as error:
        go_on(run, 3)
    assert weight(run) == 0
    assert not list(folder.glob("resume-*"))
    return str(error.value)


@pytest.mark.parametrize(
    "value", [object(), torch.float32, torch.device("cpu"), np.dtype("f4"), 1j], ids=repr
)
def test_what_cannot_be_stored_is_named_with_its_part_and_key(folder: Path, value: Any) -> None:
    assert "parts/ema/state/inner/value" in refused(folder, ema=Part(value))


def test_a_part_that_cannot_be_loaded_again_is_named(folder: Path) -> None:
    class Broken(Part):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise KeyError("other")

    assert "The part 'ema' was saved, but cannot be loaded again: KeyError: 'other'" in refused(
        folder, ema=Broken(1)
    )


def test_a_model_with_lazy_parameters_trains_and_is_resumed(folder: Path) -> None:
    for epochs in (1, 2):
        lazy = torch.nn.Sequential(torch.nn.LazyLinear(3))
        for epoch in Run(folder, model=lazy).epochs(epochs):
            assert lazy(torch.ones(2, 4)).shape == (2, 3)
            assert epoch == epochs - 1


def test_a_tensor_that_cannot_be_stored_is_named_before_the_model_trains(folder: Path) -> None:
    model = torch.nn.Linear(2, 1)
    model.register_buffer("table", torch.empty(2, device="meta"))
    with pytest.raises(OutlastError, match="the buffer 'table' of the model: it is on the device 'meta'"):
        for _ in Run(folder, model=model).epochs(2):
            pytest.fail("it trains")


def test_what_does_not_come_back_as_it_was_saved_is_said_by_name(folder: Path, capsys: Out) -> None:
    class Forgetful(Part):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.value = 0.5

    assert go_on(start(folder, ema=Forgetful(0.25)), 2) == [0, 1]
    said = capsys.readouterr().out
    assert "would not be exact" in said and "parts/ema/state/inner/value" in said


def test_what_comes_back_is_not_spoken_of(folder: Path, capsys: Out) -> None:
    go_on(start(folder, [EarlyStopping(), CSVLogger()], ema=Part(np.arange(3)), dice=random.Random(3)), 2)
    assert capsys.readouterr().out == ""


def test_trying_out_draws_no_random_number_and_leaves_an_optimizers_groups_where_they_are(
    folder: Path,
) -> None:
    net = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    group = optimizer.param_groups[0]
    torch.manual_seed(0)
    random.seed(0)
    before = torch.get_rng_state(), random.getstate()
    epochs = Run(folder, model=net, optimizer=optimizer).epochs(1)
    next(epochs)
    epochs.close()
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
    assert optimizer.param_groups[0] is group


@pytest.mark.parametrize(
    "generator",
    [random.Random(5), np.random.default_rng(5), np.random.RandomState(5), torch.Generator().manual_seed(5)],
    ids=lambda one: type(one).__name__,
)
def test_a_generator_is_a_part_and_goes_on_where_it_was(folder: Path, generator: Any) -> None:
    def draw(one: Any) -> float:
        return (
            float(torch.rand(1, generator=one)) if isinstance(one, torch.Generator) else float(one.random())
        )

    run = start(folder, dice=generator)
    for epoch in run.epochs(5):
        if epoch == 2:
            expected = [draw(generator) for _ in range(3)]
            break
        draw(generator)
    for _ in range(9):
        draw(generator)
    start(folder, dice=generator)
    assert [draw(generator) for _ in range(3)] == expected


@pytest.mark.parametrize(
    "value",
    [
        b"\x00\xff" * 100,
        bytearray(b"booster"),
        Counter({3: 1, 7: 2}),
        OrderedDict(a=1, b=np.arange(3)),
        {1, 2},
        deque([1, 2], maxlen=3),
        {1: "int", "1": "text", "a/b": 1.0, "a": {"b": 2.0}},
        (1, None, [True]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_comes_back_as_what_it_was(folder: Path, value: Any) -> None:
    go_on(start(folder, part=Part(value)), 3, until=2)
    start(folder, part=(again := Part(None)))
    assert type(again.value) is type(value)
    assert repr(again.value) == repr(value)


def test_a_schedule_made_of_schedules_goes_on_past_its_milestones(folder: Path) -> None:
    def train(folder: Path, until: int | None = None) -> list[float]:
        optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
        schedules = [
            torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=2),
            torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4]),
        ]
        schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, schedules, milestones=[3])
        run = Run(folder, model=torch.nn.Linear(1, 1), optimizer=optimizer, schedule=schedule)
        for epoch in run.epochs(9):
            if epoch == until:
                break
            optimizer.step()
            schedule.step()
        return run.history["learning_rate"]

    train(folder, until=2)
    assert train(folder) == train(folder.with_name("whole"))


# What is saved is not kept in memory.


def test_after_a_resume_no_second_copy_of_the_state_stays(folder: Path) -> None:
    size = 4 << 20

    def parts() -> dict[str, Any]:
        return {"big": Part(np.zeros(size, np.uint8))}

    go_on(start(folder, **parts()), 3, until=2)
    tracemalloc.start()
    try:
        run = start(folder, **parts())
        epochs = run.epochs(3)
        next(epochs)
        assert tracemalloc.get_traced_memory()[0] < 1.5 * size  # the part's own
    finally:
        tracemalloc.stop()
    epochs.close()


def test_two_callbacks_that_keep_best_weights_copy_them_once_an_epoch(folder: Path) -> None:
    copies = []

    class Counting(FakeAdapter):
        def _copied_weights(self) -> Any:
            copies.append(1)
            return super()._copied_weights()

    adapter = Counting({"w": [0.0]})
    two = [EarlyStopping("loss", patience=9, restore_best_weights=True) for _ in range(2)]
    run = Run(folder, two, adapter=adapter)
    for epoch in run.epochs(4):
        run.log(loss=1 / (epoch + 1))
        if epoch == 3:
            break
    assert len(copies) == 3
    assert two[0].best_weights is two[1].best_weights


def test_a_callback_of_somebody_else_between_the_two_may_change_the_weights(folder: Path) -> None:
    class Changes(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.training.weights["w"] = [9.0]

    first, second = (EarlyStopping("loss", patience=9, restore_best_weights=True) for _ in range(2))
    epochs = start(folder, [first, Changes(), second]).epochs(3)
    next(epochs)
    first.host.log(loss=1.0)
    next(epochs)
    epochs.close()
    assert (first.best_weights, second.best_weights) == ({"w": [0.0]}, {"w": [9.0]})


# Between two trainings of one Run.


def test_a_rate_that_the_user_sets_between_two_trainings_is_refused_and_counts_if_it_is_accepted(
    folder: Path,
) -> None:
    run = start(folder)
    go_on(run, 2)
    run.training.set_learning_rate("fake", 0.02)
    with pytest.raises(RunChanged, match=r"learning_rate changed from 0\.1 to 0\.02"):
        go_on(run, 4)
    run = start(folder, accept_changes=["learning_rate"])
    go_on(run, 3)
    run.training.set_learning_rate("fake", 0.02)
    go_on(run, 5)
    assert run.history["learning_rate"] == [0.1, 0.1, 0.1, 0.02, 0.02]


def test_a_rate_that_is_set_through_the_run_counts(folder: Path) -> None:
    run = start(folder)
    go_on(run, 2)
    run.learning_rate = 0.02
    go_on(run, 4)
    assert run.history["learning_rate"] == [0.1, 0.1, 0.02, 0.02]
    assert go_on(start(folder, rate=0.02), 5) == [4]


def test_weights_that_the_user_sets_between_two_trainings_are_refused_and_count_if_they_are_accepted(
    folder: Path,
) -> None:
    run = start(folder)
    go_on(run, 2)
    run.training.weights["w"][0] = 40.0
    with pytest.raises(RunChanged, match="weights changed"):
        go_on(run, 4)
    assert weight(run) == 40.0
    run = start(folder, accept_changes=["weights"])
    go_on(run, 3)
    run.training.weights["w"][0] = 40.0
    assert go_on(run, 5) == [3, 4]
    assert weight(run) == 42.0


def test_what_is_set_between_the_run_and_its_loop_counts(folder: Path) -> None:
    run = start(folder)
    run.learning_rate = 0.02
    run.training.weights["w"][0] = 40.0
    go_on(run, 2)
    assert run.history["learning_rate"] == [0.02, 0.02]
    assert weight(run) == 42.0


# Folders.


def test_a_relative_folder_is_settled_when_the_run_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    run = start("runs/x", [CSVLogger(), ModelCheckpoint(save_best_only=True)])
    for epoch in run.epochs(3):
        monkeypatch.chdir(tmp_path / "elsewhere")
        run.log(val_loss=LOSSES[epoch])
    assert run.load_best is not None and run.history.epochs == (0, 1, 2)
    assert not list((tmp_path / "elsewhere").iterdir())
    assert (tmp_path / "runs/x/history.csv").exists()
    assert repr(run) == "Run('runs/x')"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    train("~/runs/x")
    assert (tmp_path / "home/runs/x/run.json").exists()
    assert not os.path.exists("~")


# Found by reading.


def test_a_callback_is_not_added_to_a_run_that_is_open(folder: Path) -> None:
    run = start(folder)
    with pytest.raises(OutlastError, match="pass all callbacks when you make it"):
        run.append(CSVLogger())


def test_closing_an_older_run_leaves_the_newer_one_in_charge_of_the_folder(folder: Path) -> None:
    first = start(folder)
    second = start(folder)
    epochs = second.epochs(3)
    next(epochs)
    first._close()
    second.log(val_loss=1.0)
    next(epochs)
    third = start(folder)  # waits for what the second is writing, and takes over
    assert third.history.epochs == (0,)
    with pytest.raises(OutlastError, match="taken it over"):
        next(epochs)


def test_a_run_that_begins_again_says_why(folder: Path, capsys: Out) -> None:
    go_on(start(folder), 2, until=1)
    point = folder / "resume-00000001"
    point.write_bytes(point.read_bytes()[:-1] + b"x")
    assert go_on(start(folder), 2) == [0, 1]
    assert f"outlast: {folder} begins again: resume point 1 was set aside" in capsys.readouterr().out


# What a start says of arguments that were forgotten or misspelt.


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("optimzer", "optimizer"),
        ("optimizers", "optimizer"),
        ("modle", "model"),
        ("sheduler", "scheduler"),
        ("lr_schedular", "lr_scheduler"),
        ("scalar", "scaler"),
    ],
)
def test_a_typo_of_an_argument_is_refused_although_the_object_could_be_saved(
    folder: Path, typo: str, meant: str
) -> None:
    model = torch.nn.Linear(2, 1)
    with pytest.raises(UnknownArgument, match=rf"no argument '{typo}'\. Did you mean '{meant}'\?"):
        Run(folder, model=model, **{typo: torch.optim.Adam(model.parameters())})


@pytest.mark.parametrize(
    "name",
    [
        *("optimizer_d", "scheduler", "opt", "scaler", "model_ema", "sampler", "stats"),
        *("schedulers", "my_scheduler", "lr_scheduler", "scheduler_d", "schedule"),
    ],
)
def test_a_part_may_have_any_other_name(folder: Path, name: str) -> None:
    model = torch.nn.Linear(2, 1)
    Run(folder, model=model, **{name: torch.optim.Adam(model.parameters())})


def test_a_name_like_that_of_another_part_is_no_typo(folder: Path) -> None:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    Run(folder, model=model, scheduler=optimizer, sheduler=optimizer)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"model": torch.nn.Linear}, r"^model is the class Linear: pass an object of it, Linear\(...\)\.$"),
        ({"optimizer": torch.optim.SGD}, "^optimizer is the class SGD: "),
        ({"optimizer": {"a": torch.optim.SGD}}, "^optimizer 'a' is the class SGD: "),
        ({"scheduler": torch.optim.lr_scheduler.StepLR}, "^scheduler is the class StepLR: "),
    ],
)
def test_a_class_in_place_of_an_object_is_refused(folder: Path, arguments: Any, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        Run(folder, **{"model": torch.nn.Linear(2, 1), **arguments})
    assert not folder.exists()


def test_what_is_given_by_its_place_is_refused_with_the_names(folder: Path) -> None:
    told = r"all else by name, but got a value of type dict behind them: .* or with JAX state=state\.$"
    with pytest.raises(ArgumentError, match=told):
        Run(folder, [], {"w": 1.0})  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"^adapter is the class FakeAdapter: pass an object of it"):
        Run(folder, adapter=FakeAdapter)  # type: ignore[arg-type]


def trained(folder: Path, **options: Any) -> None:
    run = Run(folder, **options)
    for _ in run.epochs(1):
        run.log(loss=1.0)


def test_a_model_without_its_optimizer_is_said(folder: Path, capsys: Out) -> None:
    model = torch.nn.Linear(2, 1)
    trained(folder, model=model)
    assert capsys.readouterr().out == (
        f"outlast: resuming {folder} would not be exact: the optimizer is not saved, and begins anew: "
        "pass it, Run(..., optimizer=optimizer), or optimizer=[] if there is none\n"
    )


def test_that_there_is_no_optimizer_can_be_said(folder: Path, capsys: Out) -> None:
    trained(folder, model=torch.nn.Linear(2, 1), optimizer=[])
    assert capsys.readouterr().out == ""


def test_an_optimizer_that_is_a_part_is_saved(folder: Path, capsys: Out) -> None:
    model = torch.nn.Linear(2, 1)
    trained(folder, model=model, opt=torch.optim.Adam(model.parameters()))
    assert capsys.readouterr().out == ""
