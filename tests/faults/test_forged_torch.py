"""A run of PyTorch's whose state was changed, with right checksums: an error of ours, or it trains."""

from __future__ import annotations

import contextlib
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.faults import forged, fuzzing

import outlast
from outlast.frameworks.tensors import to_tensor
from outlast.storage.format.dtypes import Bits

Make = Callable[[Any], torch.optim.Optimizer]


def groups(model: Any) -> list[Any]:
    return [{"params": [*layer.parameters()], "lr": 0.01} for layer in model]


def adam(model: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups(model))


def train(folder: Path, epochs: int, make: Make = adam) -> outlast.Run:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    model.register_buffer("short", torch.ones(2, dtype=torch.bfloat16))
    optimizer = make(model)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    other = torch.nn.Linear(1, 1)
    second = torch.optim.SGD(other.parameters(), 0.1, momentum=0.9)
    run = outlast.Run(
        folder, model=model, optimizer=optimizer, scheduler=scheduler, other=other, second=second
    )
    for _ in run.epochs(epochs):
        loss = model(torch.ones(4, 2)).square().mean() + other(torch.ones(1, 1)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        second.step()
        scheduler.step()
        run.log(loss=loss)
    return run


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun") / "run"
    train(folder, 2)
    return folder


def copied(begun: Path, folder: Path) -> Path:
    shutil.copytree(begun, folder)
    return folder


@pytest.mark.parametrize("seed", range(60))
def test_a_state_changed_at_random_is_refused_or_trained_on(begun: Path, folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    copied(begun, folder)
    piece = rng.choice(["training", "training", "parts"])
    forged.forge_manifest(folder, lambda manifest: fuzzing.change(manifest["state"][piece], rng))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(outlast.OutlastError):
            train(folder, 3)


def optimizer_in(manifest: Any) -> Any:
    return manifest["state"]["training"]["optimizers"]["adam"]


def states_in(manifest: Any) -> dict[int, Any]:
    return dict(optimizer_in(manifest)["state"]["$dict"])


def pairs(part: Any) -> Any:
    return part["state"]["state"]["$dict"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda it: optimizer_in(it)["param_groups"][0].pop("lr"), "rate of a group is no number"),
        (
            lambda it: optimizer_in(it)["param_groups"][1].update(lr="fast"),
            "rate of a group is no number",
        ),
        (lambda it: optimizer_in(it)["param_groups"][0].update(betas=0.5), "option 'betas' .* another kind"),
        (lambda it: optimizer_in(it)["param_groups"][0].update(eps="1"), "option 'eps' .* another kind"),
        (lambda it: optimizer_in(it)["param_groups"].__setitem__(0, 5), "groups are no dicts"),
        (lambda it: optimizer_in(it).update(state=5), "state or its groups are no dicts"),
        (lambda it: states_in(it)[0].pop("exp_avg"), "the state of a parameter has no 'exp_avg'"),
        (
            lambda it: states_in(it)[0].update(exp_avg=states_in(it)[1].pop("exp_avg")),
            r"'exp_avg' .* \(3, 2\)",
        ),
        (lambda it: states_in(it)[0].update(step="x"), "'step' in the state"),
        (lambda it: optimizer_in(it)["state"]["$dict"][0].__setitem__(1, [1]), "a parameter is no dict"),
        (
            lambda it: it["state"]["parts"]["second"]["state"]["state"]["$dict"][0][1].update(
                momentum_buffer=""
            ),
            "'momentum_buffer' in the state",
        ),
        (lambda it: it["state"]["training"].pop("members"), "KeyError: 'members'"),
    ],
)
def test_what_a_step_would_fail_on_is_refused_at_the_start(
    begun: Path, folder: Path, change: Callable[[Any], object], text: str
) -> None:
    forged.forge_manifest(copied(begun, folder), change)
    with pytest.raises(outlast.CapabilityError, match=text):
        train(folder, 3)


def test_an_option_that_is_new_in_this_version_has_its_default(begun: Path, folder: Path) -> None:
    forged.forge_manifest(
        copied(begun, folder), lambda it: optimizer_in(it)["param_groups"][0].pop("weight_decay")
    )
    assert len(train(folder, 3).history.rows) == 3


def test_a_state_may_have_something_of_the_users(folder: Path) -> None:
    def make(model: Any) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(groups(model))
        optimizer.state[model[0].weight]["mine"] = [torch.ones(5), "text"]
        return optimizer

    train(folder, 2, make)
    assert len(train(folder, 3, make).history.rows) == 3


@pytest.mark.parametrize("name", ["Adafactor", "LBFGS", "ASGD", "Rprop", *"Adadelta Adagrad Adamax".split()])
def test_optimizers_whose_states_have_other_shapes_go_on(folder: Path, name: str) -> None:
    class Closed(getattr(torch.optim, name)):  # type: ignore[misc]
        def step(self, closure: Any = None) -> Any:
            return super().step(lambda: torch.zeros(()))

    def make(model: Any) -> torch.optim.Optimizer:
        kind = Closed if name == "LBFGS" else getattr(torch.optim, name)
        return kind([*model.parameters()], lr=0.01)  # type: ignore[no-any-return]

    train(folder, 2, make)
    assert len(train(folder, 3, make).history.rows) == 3


@pytest.mark.parametrize("name", ["load", "nn", "no_such", "__dict__"])
def test_a_file_can_name_nothing_of_pytorchs_but_types(name: str) -> None:
    with pytest.raises(ValueError, match="PyTorch has no dtype"):
        to_tensor(Bits(name, np.zeros(2, np.uint16)))
    sparse = {"sparse tensor": f"torch.{name}", "size": (1, 1), "values": np.ones(1)}
    with pytest.raises(ValueError, match="PyTorch has no layout"):
        to_tensor({**sparse, "indices": [np.array([0, 1]), np.array([0])]})
