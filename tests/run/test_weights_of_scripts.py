"""Weights that a script keeps by itself are named: averages of them, targets, the best ones, momentum."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import outlast

torch = pytest.importorskip("torch")
Out = pytest.CaptureFixture[str]
PASS = "pass it to the Run, Run(..., other=other)"
BEST = (
    "for the best weights use EarlyStopping(restore_best_weights=True), or run.load_best(); "
    "keep other weights in a copy of the model as a part"
)
BUFFERS = "keep it in buffers of the model, or in a part"


class Training:
    """A run of a small model, a copy of it, and batches."""

    def __init__(self, folder: Path, *, is_part: bool = False) -> None:
        torch.manual_seed(0)
        self.model, self.folder = torch.nn.Linear(1, 1), folder
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.other = deepcopy(self.model)
        parts = {"other": self.other} if is_part else {}
        self.run = outlast.Run(folder, model=self.model, optimizer=self.optimizer, save_every=2, **parts)
        self.batches = torch.ones(3, 1, 1)

    def step(self, x: Any) -> Any:
        loss = self.model(x).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def told(capsys: Out) -> list[str]:
    lines = capsys.readouterr().out.splitlines()
    return [line.partition("the script's own ")[2] for line in lines if "the script's own " in line]


def averaged(one: Training) -> None:
    run, model, other = one.run, one.model, one.other
    for _ in run.epochs(1):
        for x in run.batches(one.batches):
            one.step(x)
            with torch.no_grad():
                for a, w in zip(other.parameters(), model.parameters(), strict=True):
                    a.mul_(0.9).add_(w, alpha=0.1)
        run.log(val_loss=other(one.batches[0]).mean())


def averaged_by_data(one: Training) -> None:
    run, model, other = one.run, one.model, one.other
    for _ in run.epochs(1):
        for x in run.batches(one.batches):
            one.step(x)
        for a, w in zip(other.parameters(), model.parameters(), strict=True):
            a.data = a.data * 0.9 + w.data * 0.1


def as_target(one: Training) -> None:
    run, model, other = one.run, one.model, one.other
    for _ in run.epochs(1):
        for x in run.batches(one.batches):
            one.step(x - other(x).detach())
            if run.step % 2:
                other.load_state_dict(model.state_dict())


def as_updated(one: Training) -> None:
    run, model = one.run, one.model
    other = torch.optim.swa_utils.AveragedModel(model)
    for _ in run.epochs(1):
        for x in run.batches(one.batches):
            one.step(x)
            other.update_parameters(model)
        run.log(val_loss=other(one.batches[0]).mean())


@pytest.mark.parametrize("train", [averaged, averaged_by_data, as_target, as_updated])
def test_a_module_that_nobody_saves_is_named(
    folder: Path, capsys: Out, train: Callable[[Training], None]
) -> None:
    train(Training(folder))
    assert told(capsys) == [f"other starts over: {PASS}"]


@pytest.mark.parametrize("train", [averaged, averaged_by_data, as_target])
def test_a_module_that_is_a_part_is_not_named(
    folder: Path, capsys: Out, train: Callable[[Training], None]
) -> None:
    train(Training(folder, is_part=True))
    assert told(capsys) == []


def kept_best(one: Training) -> None:
    run, model = one.run, one.model
    best = deepcopy(model.state_dict())
    for _ in run.epochs(1):
        for x in run.batches(one.batches):
            loss = one.step(x)
        if loss < run.extra.get("lowest", 9.0):
            run.extra["lowest"], best = float(loss), deepcopy(model.state_dict())
    model.load_state_dict(best)


def went_back(one: Training) -> None:
    run, model, best = one.run, one.model, None
    for _ in run.epochs(1):
        for x in run.batches(one.batches):
            loss = one.step(x)
            if best is None or loss < 0:
                best = {name: weight.clone() for name, weight in model.state_dict().items()}
            elif loss > 1:
                model.load_state_dict(best)


@pytest.mark.parametrize("train", [kept_best, went_back])
def test_weights_that_are_loaded_again_are_named(
    folder: Path, capsys: Out, train: Callable[[Training], None]
) -> None:
    train(Training(folder))
    assert told(capsys) == [f"best starts over: {BEST}"]


def with_momentum(one: Training) -> None:
    run, model = one.run, one.model
    other = [torch.zeros_like(weight) for weight in model.parameters()]
    for _ in run.epochs(1):
        for x in run.batches(one.batches):
            model.zero_grad()
            model(x).mean().backward()
            with torch.no_grad():
                for w, v in zip(model.parameters(), other, strict=True):
                    v.mul_(0.9).add_(w.grad)
                    w.sub_(v, alpha=0.1)


def with_anchor(one: Training) -> None:
    run, model = one.run, one.model
    other = [weight.detach().clone() for weight in model.parameters()]
    for _ in run.epochs(1):
        for x in run.batches(one.batches):
            one.step(x)
            with torch.no_grad():
                for w, slow in zip(model.parameters(), other, strict=True):
                    slow += 0.5 * (w - slow)
                    w.copy_(slow)


def with_foreach(one: Training) -> None:
    run, model = one.run, one.model
    other = [weight.detach().clone() for weight in model.parameters()]
    for _ in run.epochs(1):
        for x in run.batches(one.batches):
            one.step(x)
            torch._foreach_lerp_(other, [weight.detach() for weight in model.parameters()], 0.1)
    torch.save(other, one.folder.parent / "other.pt")


@pytest.mark.parametrize("train", [with_momentum, with_anchor, with_foreach])
def test_lists_of_tensors_are_named(folder: Path, capsys: Out, train: Callable[[Training], None]) -> None:
    train(Training(folder))
    assert told(capsys) == [f"other starts over: {BUFFERS}"]


def test_what_a_function_writes_into_is_named(folder: Path, capsys: Out) -> None:
    one, scale, average, width = Training(folder), np.ones(1), torch.zeros(1, 1), 3
    functions = SimpleNamespace(show=lambda x, out: x * out)
    for _ in one.run.epochs(1):
        for x in one.run.batches(one.batches):
            np.multiply(scale, 0.9, out=scale)
            one.step(x * float(scale[0]))
            torch.lerp(average, one.model.weight.detach(), 0.1, out=average)
            one.run.log(average=average, width=width)
            functions.show(x, out=width)
    assert told(capsys) == [
        "scale starts over: keep it in run.extra, as a list; so does average: keep it in a buffer of the "
        "model, or in a part"
    ]


def test_other_names_of_what_is_saved_are_not_named(folder: Path, capsys: Out) -> None:
    one = Training(folder)
    run, model, optimizer = one.run, one.model, one.optimizer
    weights, kept = [*model.parameters()], model.state_dict()
    around = torch.nn.Sequential(model)
    for _ in run.epochs(1):
        for group in optimizer.param_groups:
            group["lr"] *= 0.9
        for x in run.batches(one.batches):
            around(x).mean().backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            with torch.no_grad():
                torch._foreach_mul_(weights, 0.99)
                for w in weights:
                    w -= 0.1 * w.grad
                    w.grad.zero_()
                for w in around.parameters():
                    w.clamp_(-1, 1)
                for name in kept:
                    kept[name].mul_(0.99)
                for group in optimizer.param_groups:
                    for w in group["params"]:
                        w.add_(0.01)
    model.load_state_dict(kept)
    assert told(capsys) == []


def test_numbers_and_data_that_are_gone_through_are_not_named(folder: Path, capsys: Out) -> None:
    one, rates, data = Training(folder), [0.1, 0.2], torch.ones(4, 1)
    others = torch.utils.data.DataLoader([{"x": torch.ones(1)}] * 2)
    frozen, index = deepcopy(one.model), torch.tensor([0, 2])
    for _ in one.run.epochs(1):
        for x in one.run.batches(one.batches):
            for rate in rates:
                rate += 0.1
                one.step(x * rate)
            noisy = data[index]
            noisy.add_(0.1)
            one.step(noisy + frozen(x).detach())
            for w in frozen.parameters():
                w.requires_grad_(False)
        for batch in others:
            batch["x"] = batch["x"] + 1
            batch["x"].mul_(2)
            one.run.log(other=batch["x"].sum())
    assert told(capsys) == []


class Mean:
    def __init__(self) -> None:
        self.sum, self.count = 0.0, 0

    def update(self, value: float) -> None:
        self.sum, self.count = self.sum + value, self.count + 1

    def reset(self) -> None:
        self.sum, self.count = 0.0, 0


def test_meters_that_are_gone_through_are_named(folder: Path, capsys: Out) -> None:
    one, meters = Training(folder), {"a": Mean(), "b": Mean()}
    for _ in one.run.epochs(1):
        for meter in meters.values():
            meter.reset()
        for x in one.run.batches(one.batches):
            loss = one.step(x)
            for meter in meters.values():
                meter.update(float(loss))
        one.run.log(**{name: meter.sum / meter.count for name, meter in meters.items()})
    (said,) = told(capsys)
    assert said.startswith("meters starts over: ")


def test_a_state_of_jax_that_the_script_goes_back_to_is_named(folder: Path, capsys: Out) -> None:
    jnp = pytest.importorskip("jax.numpy")
    run = outlast.Run(folder, state={"w": jnp.ones(2)}, save_every=2)
    kept = run.state
    for _ in run.epochs(1):
        for x in run.batches(range(3)):
            run.state = {"w": run.state["w"] * (x + 1)}
            if x > 5:
                run.state = kept
            elif x == 1:
                kept = run.state
    (said,) = told(capsys)
    assert said == f"kept starts over: {BEST.partition('; ')[0]}; keep other weights in the state"


def test_a_state_of_jax_that_follows_each_step_is_not_named(folder: Path, capsys: Out) -> None:
    jnp = pytest.importorskip("jax.numpy")
    run = outlast.Run(folder, state={"w": jnp.ones(2)}, save_every=2)
    state = run.state
    for _ in run.epochs(1):
        for x in run.batches(range(3)):
            state = {"w": state["w"] * (x + 1)}
            if x < 9:
                run.state = state
            else:
                state = run.state
    assert told(capsys) == []
