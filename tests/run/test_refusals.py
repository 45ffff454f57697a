"""What of a PyTorch training cannot be saved is refused by its name, with the reason and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from outlast import ArgumentError, CapabilityError, OutlastWarning, Run, RunChanged


def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))


def in_groups(model: Any) -> torch.optim.Adam:
    return torch.optim.Adam([{"params": layer.parameters()} for layer in model])


def train(run: Run, model: Any, *used: Any, act: Any = lambda epoch: None, epochs: int = 3) -> None:
    for epoch in run.epochs(epochs):
        act(epoch)
        loss = model(torch.ones(1, 2)).square().sum()
        loss.backward()
        for optimizer in used:
            optimizer.step()
            optimizer.zero_grad()
        run.log(loss=loss)


@pytest.mark.parametrize("as_part", [False, True])
def test_a_group_that_was_removed_ends_the_training_and_names_the_optimizer(
    folder: Path, as_part: bool
) -> None:
    model = network()
    adam, sgd = in_groups(model), torch.optim.SGD(model.parameters(), 0.0)
    given = {"optimizer": sgd, "other": adam} if as_part else {"optimizer": adam}
    run = Run(folder, model=model, **given)

    def remove(epoch: int) -> None:
        if epoch == 1:
            del adam.param_groups[0]

    name = "the part 'other'" if as_part else "adam"
    text = (
        rf"Cannot save the optimizer {name} \(Adam\): .* 2 parameters .* shapes \(3, 2\), \(3,\)\. .* freeze"
    )
    with pytest.raises(CapabilityError, match=text):
        train(run, model, adam, act=remove)
    assert len(run.history.rows) == 2  # the epoch was seen, and is not saved
    again = network()
    given = {"optimizer": torch.optim.SGD(again.parameters(), 0.0), "other": in_groups(again)}
    resumed = Run(folder, model=again, **(given if as_part else {"optimizer": in_groups(again)}))
    assert len(resumed.history.rows) == 1


def test_a_key_error_of_an_optimizers_own_stays_what_it_is(folder: Path) -> None:
    class Broken(torch.optim.SGD):
        def state_dict(self) -> Any:
            raise KeyError("mine")

    model = network()
    with pytest.raises(KeyError, match="mine"):
        train(Run(folder, model=model, optimizer=Broken(model.parameters(), 0.1)), model)


EXPANDED = r"Cannot save the buffer 'mask' of {}: \(4, 4\) numbers share the memory of fewer.*\.clone\(\)"
META = "Cannot save the parameter '0.weight' of {}: it is on the device 'meta', so it has no values.*to_empty"


def expanded(persistent: bool) -> torch.nn.Module:
    model = network()
    model.register_buffer("mask", torch.ones(1, 1).expand(4, 4), persistent=persistent)
    return model


@pytest.mark.parametrize("as_part", [False, True])
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: expanded(True), EXPANDED),
        (lambda: expanded(False), EXPANDED),
        (lambda: network().to("meta"), META),
    ],
)
def test_a_tensor_without_memory_of_its_own_is_refused(
    folder: Path, make: Any, text: str, as_part: bool
) -> None:
    odd, model = make(), network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    whose = "the part 'odd'" if as_part else "the model"
    given = {"model": model, "odd": odd} if as_part else {"model": odd}
    with pytest.raises(CapabilityError, match=text.format(whose)):
        train(Run(folder, optimizer=optimizer, **given), model, optimizer)


def test_weights_that_are_put_back_are_no_step_of_another_optimizer(folder: Path) -> None:
    model = network()
    first, second = (torch.optim.SGD(model.parameters(), 0.1) for _ in range(2))
    run = Run(folder, model=model, optimizer=first)
    epochs = iter(run.epochs(5))

    def train_epoch(*optimizers: Any) -> None:
        """End the epoch before, and train the next."""
        next(epochs)
        loss = model(torch.ones(1, 2)).square().sum()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        run.log(loss=loss)

    train_epoch(first)
    train_epoch()
    run.training.restore_weights(run.training.copy_weights())
    train_epoch(first)
    train_epoch(second)
    with pytest.warns(OutlastWarning, match=r"None of the optimizers .* \(sgd\) took a step") as caught:
        train_epoch(second)
        assert len(caught) == 1
        assert [*epochs] == []
    assert len(caught) == 1  # once


def test_a_module_of_another_width_is_refused_though_it_loads_itself(folder: Path) -> None:
    """Batch normalisation has a way of its own to load, and takes no other shape by it."""

    def run(width: int) -> None:
        model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Unflatten(1, (width, 4 // width)))
        model.append(torch.nn.BatchNorm1d(width)).append(torch.nn.Flatten())
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in Run(folder, model=model, optimizer=optimizer).epochs(1):
            model(torch.ones(2, 2)).sum().backward()
            optimizer.step()

    run(2)
    with pytest.raises(RunChanged, match=r"2.weight: float32 \(2,\) in the run, float32 \(4,\) in this code"):
        run(4)


def test_parameters_without_a_module_are_refused_with_the_way_out(folder: Path) -> None:
    points = torch.nn.Parameter(torch.ones(2))
    adam = torch.optim.Adam([points])
    with pytest.raises(CapabilityError, match=r"model=torch\.nn\.ParameterDict\({\.\.\.}\)"):
        train(Run(folder, optimizer=adam), None, adam)
    with pytest.raises(ArgumentError, match=r"model=torch\.nn\.ParameterDict\({\.\.\.}\)"):
        train(Run(folder, model={"points": points}, optimizer=adam), None, adam)
