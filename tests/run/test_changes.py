"""Code that asks for another training than the folder holds is refused; other changes are said."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.run.training import content, go_on, start, train, weight

from outlast import (
    CallbackList,
    CSVLogger,
    EarlyStopping,
    ModelCheckpoint,
    OutlastWarning,
    ReduceLROnPlateau,
    Run,
)
from outlast.exceptions import ArgumentError, CapabilityError, RunChanged
from outlast.testing import FakeAdapter

Out = pytest.CaptureFixture[str]

WAYS_OUT = (
    r"Choose one:\n  - go back to the old setting\n  - pass resume='never'.* or use another folder\n"
    r"  - pass accept_changes=\['{}'\] to go on with the new setting"
)

FIXED: dict[str, tuple[Callable[[Path], Run], Callable[..., Run], str]] = {
    "EarlyStopping.monitor": (
        lambda folder: train(folder, [EarlyStopping(mode="min")]),
        lambda folder, **options: start(folder, [EarlyStopping("learning_rate", mode="min")], **options),
        "changed from 'val_loss' to 'learning_rate'",
    ),
    "ModelCheckpoint.mode": (
        lambda folder: train(folder, [ModelCheckpoint(save_best_only=True)]),
        lambda folder, **options: start(
            folder, [ModelCheckpoint(save_best_only=True, mode="max")], **options
        ),
        "changed from 'auto' to 'max'",
    ),
    "learning_rate": (
        lambda folder: train(folder, rate=0.1),
        lambda folder, **options: start(folder, rate=0.2, **options),
        r"changed from 0\.1 to 0\.2",
    ),
    "seed": (
        lambda folder: train(folder, seed=1),
        lambda folder, **options: start(folder, seed=2, **options),
        "changed from 1 to 2",
    ),
}


@pytest.mark.parametrize("name", FIXED)
def test_another_training_is_refused_with_the_difference_and_the_ways_out(folder: Path, name: str) -> None:
    before, now, difference = FIXED[name]
    before(folder)
    files = content(folder)
    told = f"holds another training: {name} {difference}. " + WAYS_OUT.format(name)
    with pytest.raises(RunChanged, match=told):
        now(folder)
    assert content(folder) == files


@pytest.mark.parametrize("name", FIXED)
def test_another_training_is_accepted_by_its_name_and_said(folder: Path, capsys: Out, name: str) -> None:
    before, now, _ = FIXED[name]
    before(folder)
    assert go_on(now(folder, accept_changes=[name]), 6) == [4, 5]
    assert f"resumed {folder} at epoch 5, resume point 4; {name} changed from" in capsys.readouterr().out


def test_accept_changes_takes_the_last_part_of_a_name_for_all_callbacks(folder: Path) -> None:
    def two(monitor: str) -> list[object]:
        return [EarlyStopping(monitor, mode="min"), ModelCheckpoint(monitor=monitor, mode="min")]

    train(folder, two("val_loss"))
    assert go_on(start(folder, two("learning_rate"), accept_changes=["monitor"]), 5) == [4]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("step", r"'step', and no setting is called that\. Did you mean 'steps'\?$"),
        ("EarlyStoping.monitor", r"Did you mean 'EarlyStopping.monitor'\?$"),
        ("zzz", r"Settings are learning_rate, seed, log_every, steps, batch_size, batches_seed, \.\.\.$"),
    ],
)
def test_accept_changes_of_what_no_setting_is_called_is_refused(folder: Path, name: str, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        start(folder, [EarlyStopping("loss", mode="min")], accept_changes=["patience", name])


def test_accept_changes_may_name_what_a_callback_had_that_is_gone(folder: Path) -> None:
    train(folder, [EarlyStopping("val_loss", mode="min")])
    start(folder, accept_changes=["EarlyStopping.monitor", "patience", "weights", "optimizer"])


def test_accepting_one_change_does_not_accept_another(folder: Path) -> None:
    train(folder, seed=1, rate=0.1)
    with pytest.raises(RunChanged, match="seed changed from 1 to 2"):
        start(folder, seed=2, rate=0.2, accept_changes=["learning_rate"])


def test_an_accepted_rate_is_the_rate_from_then_on(folder: Path) -> None:
    train(folder, rate=0.1)
    run = start(folder, rate=0.2, accept_changes=["learning_rate"])
    go_on(run, 6)
    assert run.history["learning_rate"] == [0.1] * 4 + [0.2] * 2
    assert go_on(start(folder, rate=0.2), 7) == [6]  # it is the run's own now


def test_the_rate_of_a_cut_is_not_the_initial_one_and_is_put_back(folder: Path) -> None:
    train(folder, [ReduceLROnPlateau(factor=0.5, patience=1)], epochs=5, rate=0.1)
    assert start(folder, [ReduceLROnPlateau(factor=0.5, patience=1)], rate=0.1).learning_rate == 0.025


def test_a_seed_that_is_given_only_now_is_no_difference_but_is_said(folder: Path, capsys: Out) -> None:
    train(folder)
    assert go_on(start(folder, seed=1), 5) == [4]
    assert (
        "; seed was added (1), which changes nothing: the saved random state goes on"
        in capsys.readouterr().out
    )


def test_patience_and_factor_take_effect_and_are_said(folder: Path, capsys: Out) -> None:
    go_on(start(folder, [EarlyStopping(patience=9), ReduceLROnPlateau(factor=0.5, patience=1)]), 8, until=4)
    run = start(folder, [EarlyStopping(patience=3), ReduceLROnPlateau(factor=0.1, patience=1)])
    assert go_on(run, 8) == [4, 5]
    assert run.learning_rate == pytest.approx(0.1 * 0.5 * 0.1 * 0.1)
    assert capsys.readouterr().out == (
        f"outlast: resumed {folder} at epoch 5, resume point 4; EarlyStopping.patience changed from 9 to 3; "
        "ReduceLROnPlateau.factor changed from 0.5 to 0.1\n"
    )


def test_another_number_of_epochs_takes_effect_and_is_said(folder: Path, capsys: Out) -> None:
    train(folder, epochs=2)
    train(folder, epochs=3)
    assert "resume point 2; epochs changed from 2 to 3" in capsys.readouterr().out


def test_changes_are_told_in_the_events(folder: Path) -> None:
    train(folder, [EarlyStopping(patience=5)], epochs=2)
    train(folder, [EarlyStopping(patience=6)], epochs=3)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["start", "end", "resume", "end"]
    assert "EarlyStopping.patience changed from 5 to 6" in events[2]["changes"]
    assert (
        json.loads((folder / "run.json").read_text())["settings"]["callbacks"]["EarlyStopping"]["patience"]
        == 6
    )


def test_a_change_is_said_once_and_then_is_the_runs_own(folder: Path, capsys: Out) -> None:
    for patience, epochs in ((5, 2), (6, 3), (6, 4)):
        train(folder, [EarlyStopping(patience=patience)], epochs=epochs)
    assert capsys.readouterr().out.count("EarlyStopping.patience changed from 5 to 6") == 1


def test_a_callback_more_or_less_is_said_and_the_others_keep_their_state(folder: Path, capsys: Out) -> None:
    train(folder, [EarlyStopping(patience=4), CSVLogger()], epochs=5)
    run = start(folder, [ModelCheckpoint(save_best_only=True), EarlyStopping(patience=4)])
    assert run.callbacks[1].wait == 2
    go_on(run, 6)
    said = capsys.readouterr().out
    assert "ModelCheckpoint was added; CSVLogger was removed" in said


def test_two_callbacks_of_a_class_each_go_on_with_their_own_state(folder: Path) -> None:
    two = [EarlyStopping(patience=7), EarlyStopping(patience=8, baseline=1.0)]
    train(folder, two, epochs=5)
    again = start(folder, [EarlyStopping(patience=7), EarlyStopping(patience=8, baseline=1.0)])
    assert [callback.wait for callback in again.callbacks] == [callback.wait for callback in two]
    assert [callback.patience for callback in again.callbacks] == [7, 8]


# With PyTorch: the model, the optimizer and the user's own objects.


def module(width: int = 3, optimizer: str = "Adam") -> dict[str, Any]:
    model = torch.nn.Linear(2, width)
    return {
        "model": model,
        "optimizer": getattr(torch.optim, optimizer)(model.parameters(), lr=0.1),
    }


def one_epoch(folder: Path, **options: Any) -> Run:
    run = Run(folder, **options)
    for _ in run.epochs(1):
        options["model"](torch.ones(1, 2)).sum().backward()
        options["optimizer"].step()
    return run


def test_another_shape_of_the_model_is_refused(folder: Path) -> None:
    one_epoch(folder, **module(3))
    with pytest.raises(RunChanged, match=r"weight: float32 \(3, 2\) in the run, float32 \(4, 2\)"):
        one_epoch(folder, **module(4))


def test_another_optimizer_is_refused(folder: Path) -> None:
    one_epoch(folder, **module(optimizer="Adam"))
    with pytest.raises(RunChanged, match=r"optimizers .*adam.* in the run, .*sgd.* in this code"):
        one_epoch(folder, **module(optimizer="SGD"))


def test_other_groups_of_parameters_are_refused_even_if_their_rates_are_accepted(folder: Path) -> None:
    one_epoch(folder, **module())
    model = torch.nn.Linear(2, 3)
    groups = [{"params": [model.weight]}, {"params": [model.bias]}]
    other = {"model": model, "optimizer": torch.optim.Adam(groups, lr=0.1)}
    with pytest.raises(RunChanged, match="learning_rate changed"):
        one_epoch(folder, **other)
    with pytest.raises(RunChanged, match="group"):
        one_epoch(folder, accept_changes=["learning_rate"], **other)


def batches(folder: Path, count: int, size: int | None = None, epochs: int = 2, **options: Any) -> list[int]:
    class Loader(list[int]):
        batch_size = size

    run = start(folder, **options)
    begun: list[int] = []
    note = begun.append  # a start names the lists that a loop fills
    for epoch in run.epochs(epochs):
        note(epoch)
        for number in run.batches(Loader(range(count))):
            run.log(loss=float(number))
    return begun


def test_another_number_or_size_of_batches_is_refused_when_the_loader_is_met(folder: Path) -> None:
    batches(folder, 10, 32)
    with pytest.raises(
        RunChanged,
        match=r"(?s)steps changed from 10 to 5; batch_size changed from 32 to 64.*'steps', 'batch_size'",
    ):
        batches(folder, 5, 64, epochs=4)
    assert batches(folder, 10, 32, epochs=4) == [2, 3]


def test_other_batches_are_accepted_by_name_said_and_then_the_runs_own(folder: Path, capsys: Out) -> None:
    batches(folder, 10, 32)
    assert batches(folder, 5, 64, epochs=4, accept_changes=["steps", "batch_size"]) == [2, 3]
    assert "outlast: batch_size changed from 32 to 64\n" in capsys.readouterr().out
    assert batches(folder, 5, 64, epochs=5) == [4]


def test_a_loader_that_tells_nothing_is_no_difference_and_what_was_known_stays_known(folder: Path) -> None:
    batches(folder, 10, 32)
    run = start(folder)
    for _ in run.epochs(3):
        for _ in run.batches(iter(range(7))):
            pass
    assert batches(folder, 10, epochs=4) == [3]
    with pytest.raises(RunChanged, match="batch_size changed from 32 to 64"):
        batches(folder, 10, 64, epochs=5)


def test_a_second_loader_of_a_start_may_be_any(folder: Path) -> None:
    for epochs, length in ((1, 3), (2, 4)):
        run = start(folder)
        for _ in run.epochs(epochs):
            assert len(list(run.batches(range(10)))) == 10
            assert len(list(run.batches(range(length)))) == length


def test_a_seed_that_was_given_once_is_not_forgotten(folder: Path) -> None:
    train(folder, seed=1, epochs=2)
    train(folder, epochs=3)
    with pytest.raises(RunChanged, match="seed changed from 1 to 2"):
        start(folder, seed=2)


def test_a_part_that_is_gone_or_new_is_refused_by_name(folder: Path) -> None:
    parts = module()
    scheduler = torch.optim.lr_scheduler.StepLR(parts["optimizer"], 1)
    one_epoch(folder, scheduler=scheduler, **parts)
    with pytest.raises(RunChanged, match="the part 'scheduler' is missing"):
        one_epoch(folder, **module())


def test_nothing_is_put_back_of_a_run_that_is_refused(folder: Path) -> None:
    train(folder, seed=1)
    with pytest.raises(RunChanged):
        start(folder, seed=2)
    again = start(folder, seed=1)
    assert weight(again) == 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("wrap", [torch.compile, torch.nn.DataParallel], ids=["compile", "DataParallel"])
def test_a_model_that_is_wrapped_in_one_start_only_is_refused_with_the_prefix(
    folder: Path, wrap: Callable[[Any], Any]
) -> None:
    one_epoch(folder, **module())
    parts = module()
    with pytest.raises(RunChanged, match=r"differ only by the prefix '(_orig_mod|module)\.'.*in every start"):
        one_epoch(folder, **{**parts, "model": wrap(parts["model"])})


def test_what_is_no_module_or_optimizer_is_refused_when_the_run_is_made(folder: Path) -> None:
    parts = module()
    with pytest.raises(ArgumentError, match="model must be a PyTorch module, but is a generator"):
        Run(folder, **{**parts, "model": parts["model"].parameters()})
    with pytest.raises(ArgumentError, match="optimizer must be a PyTorch optimizer"):
        Run(folder, **{**parts, "optimizer": [parts["optimizer"], 0.1]})
    with pytest.raises(ArgumentError, match="adapter must be an Adapter"):
        Run(folder, adapter=1)


@pytest.mark.parametrize("several", [lambda one: [one], lambda one: {"a": one}], ids=["list", "dict"])
def test_optimizers_without_a_model_are_known_in_a_list_or_a_dict_too(several: Callable[[Any], Any]) -> None:
    optimizer = module()["optimizer"]
    callbacks = CallbackList([], optimizer=several(optimizer))
    assert [*callbacks.training.learning_rates().values()] == [0.1]


def test_an_adapter_of_ones_own_is_asked_instead_of_the_frameworks() -> None:
    adapter = FakeAdapter()
    callbacks = CallbackList([], model=torch.nn.Linear(1, 1), adapter=adapter)
    callbacks.set_model(torch.nn.Linear(1, 1))
    assert callbacks.training is adapter and callbacks.control is adapter


def test_a_decision_is_not_changed_after_it_was_made(folder: Path) -> None:
    seen: list[Any] = []
    values: list[Any] = []

    class Checkpoint(ModelCheckpoint):
        def _decide(self, *args: Any) -> Any:
            decision = super()._decide(*args)
            seen.append(decision)
            values.append(dict(decision.values))
            return decision

    go_on(start(folder, [Checkpoint(save_best_only=True, keep_best=2, save_last=True)]), 3)
    assert [dict(decision.values) for decision in seen] == values


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"p": 0.5}, "model.1 changed from Dropout(p=0.1, inplace=False) to Dropout(p=0.5, inplace=False)"),
        ({"activation": torch.nn.Tanh()}, "model.2 changed from ReLU() to Tanh()"),
        ({"betas": (0.8, 0.999)}, "adam.betas changed from (0.9, 0.999) to (0.8, 0.999)"),
    ],
)
def test_another_training_of_the_same_shapes_is_said(
    folder: Path, capsys: Out, change: dict[str, Any], told: str
) -> None:
    def of(p: float = 0.1, activation: Any = None, betas: Any = (0.9, 0.999)) -> dict[str, Any]:
        torch.manual_seed(0)
        layers = [torch.nn.Linear(2, 2), torch.nn.Dropout(p), activation or torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers)
        return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), betas=betas)}

    one_epoch(folder, **of())
    capsys.readouterr()
    one_epoch(folder, **of())
    assert "changed" not in capsys.readouterr().out
    one_epoch(folder, **of(**change))
    assert told in capsys.readouterr().out


def test_a_model_that_the_script_changes_in_an_epoch_is_named_at_the_change(folder: Path) -> None:
    parts = module()
    run = Run(folder, **parts)
    with pytest.warns(
        OutlastWarning, match="made of: model.extra is new. A new start of the script"
    ) as caught:
        for epoch in run.epochs(4):
            if epoch >= 2:
                parts["model"].register_buffer("extra", torch.ones(3))
            run.log(loss=1.0)
    assert len(caught) == 1
    with pytest.raises(RunChanged, match="extra: only in the run"):
        Run(folder, **module())


def test_a_model_that_its_own_code_changes_in_the_first_epoch_is_named(folder: Path) -> None:
    parts = module()
    run = Run(folder, **parts)
    with pytest.warns(OutlastWarning, match="made of: model.scale is new"):
        for _ in run.epochs(2):
            parts["model"].register_buffer("scale", torch.ones(1))
            run.log(loss=1.0)


def test_a_part_that_the_script_changes_in_an_epoch_is_named_at_the_change(folder: Path) -> None:
    criterion = torch.nn.CrossEntropyLoss()
    run = Run(folder, **module(), criterion=criterion)
    with pytest.warns(OutlastWarning, match="what a part is made of: criterion.weight is new") as caught:
        for epoch in run.epochs(4):
            if epoch >= 2:
                criterion.weight = torch.ones(3)
            run.log(loss=1.0)
    assert len(caught) == 1
    with pytest.raises(CapabilityError, match=r"Unexpected key(.|\n)*make it so before the Run, too"):
        Run(folder, **module(), criterion=torch.nn.CrossEntropyLoss())
    resumed = Run(folder, **module(), criterion=torch.nn.CrossEntropyLoss(weight=torch.zeros(3)))
    assert resumed.finished


class Metric(torch.nn.Module):
    """Keeps its state in plain attributes until it is told otherwise, as those of torchmetrics do."""

    def __init__(self) -> None:
        super().__init__()
        self.is_persistent, self._count = False, 0
        self.reset()

    def persistent(self, mode: bool = False) -> None:
        self.is_persistent = mode

    @property
    def metric_state(self) -> dict[str, Any]:
        return {"total": self.total}

    def update(self) -> None:
        self._count += 1
        self.total = self.total + 1

    def reset(self) -> None:
        self.total = torch.zeros(())

    def state_dict(self, *arguments: Any, prefix: str = "", **options: Any) -> dict[str, Any]:
        return {f"{prefix}total": self.total} if self.is_persistent else {}

    def load_state_dict(self, state: Any, *arguments: Any, **options: Any) -> Any:
        self.total = state.get("total", self.total)


@pytest.mark.parametrize(("every", "persistent"), [(2, False), (2, True), ("epoch", False)])
def test_a_part_that_does_not_save_what_it_collects_in_an_epoch_is_named_at_the_first_save_inside_one(
    folder: Path, every: Any, persistent: bool
) -> None:
    metric = Metric()
    metric.persistent(persistent)
    run = Run(folder, **module(), metric=metric, save_every=every)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in run.epochs(2):
            for _ in run.batches(range(4)):
                metric.update()
            run.log(total=metric.total)
            metric.reset()
    told = [
        "Training changes metric.total, which a plain attribute holds and a Run does not save. If a step or "
        "a metric depends on it, a resume is not exact: have a metric save its state, "
        "metric.persistent(True)."
    ]
    assert [str(one.message) for one in caught] == told * (every == 2 and not persistent)


def test_attributes_of_modules_among_the_parts_are_watched_too(folder: Path) -> None:
    parts = {**module(), "ema": torch.nn.Linear(1, 1)}
    parts["ema"].updates = 0
    run = Run(folder, **parts)
    with pytest.warns(OutlastWarning, match="^Training changes ema.updates, which a plain attribute holds"):
        for _ in run.epochs(2):
            parts["ema"].updates += 1
            run.log(loss=1.0)
