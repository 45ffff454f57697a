"""A loop of one's own: batches, metrics, loaders, parts, and ways out of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.run.training import LOSSES, go_on, start, weight

from outlast import Callback, EarlyStopping, LambdaCallback, Run
from outlast.exceptions import CapabilityError, MetricError, OutlastError

DataLoader, TensorDataset = torch.utils.data.DataLoader, torch.utils.data.TensorDataset


def test_a_metric_in_batches_is_their_mean_weighted_by_size(folder: Path) -> None:
    run = start(folder)
    for _ in run.epochs(1):
        for batch in run.batches([[1.0, 1.0, 1.0], [5.0]]):
            run.log(loss=batch[0], weight=len(batch))
    assert run.history["loss"] == [2.0]


def test_without_weights_every_batch_counts_the_same(folder: Path) -> None:
    run = start(folder)
    for _ in run.epochs(1):
        for value in run.batches([1.0, 2.0, 6.0]):
            run.log(loss=value)
    assert run.history["loss"] == [3.0]


def test_outside_batches_a_value_is_itself_and_the_last_one_counts(folder: Path) -> None:
    run = start(folder)
    for _ in run.epochs(1):
        run.log(val_loss=1.0)
        for value in run.batches([4.0, 6.0]):
            run.log(loss=value)
        run.log(val_loss=3.0, weight=7)
    assert run.history.rows == [{"epoch": 0, "learning_rate": 0.1, "loss": 5.0, "val_loss": 3.0}]


def test_a_dict_brings_names_that_are_no_identifiers(folder: Path) -> None:
    run = start(folder)
    for _ in run.epochs(1):
        run.log({"top-5 accuracy": 0.5}, loss=1.0)
    assert run.history["top-5 accuracy"] == [0.5]


def test_callbacks_hear_all_that_a_batch_logged_and_may_change_it(folder: Path) -> None:
    heard: list[Any] = []

    def hear(batch: int, logs: Any) -> None:
        heard.append(dict(logs))
        logs.clear()

    run, mine = start(folder, [LambdaCallback(on_train_batch_end=hear)]), {"loss": 1.0, "acc": 0.5}
    for _ in run.epochs(1):
        run.log(of_epoch=3.0)
        for value in run.batches([1.0, 2.0, 3.0]):
            run.log(mine)
            if value == 2:
                run.log(mine, acc=0.75, more=value)
    assert heard == [mine, {"loss": 1.0, "acc": 0.75, "more": 2.0}, mine]
    assert mine == {"loss": 1.0, "acc": 0.5}


def test_the_next_epochs_mean_begins_anew(folder: Path) -> None:
    run = start(folder)
    for epoch in run.epochs(2):
        for _ in run.batches(range(3)):
            run.log(loss=float(epoch))
    assert run.history["loss"] == [0.0, 1.0]


def test_a_tensor_is_read_only_at_the_epochs_end_and_its_graph_is_let_go(folder: Path) -> None:
    read = []

    class Loss(torch.Tensor):
        def __float__(self) -> float:
            read.append("read")
            return super().__float__()

    weights = torch.ones(1, requires_grad=True)
    run = start(folder)
    for _ in run.epochs(1):
        for _ in run.batches(range(3)):
            run.log(loss=(weights * 2).sum().as_subclass(Loss))
            (total,) = run._loop._means._means["loss"].total.totals
            assert not total.requires_grad
        assert read == []
    assert run.history["loss"] == [2.0]


@pytest.mark.parametrize("weight_of_batch", [-1, float("nan"), float("inf"), np.int64(-2), "2", None, 1j])
def test_a_weight_that_cannot_count_is_refused(folder: Path, weight_of_batch: Any) -> None:
    run = start(folder)
    with pytest.raises(MetricError, match=r"^weight "):
        for _ in run.epochs(1):
            for _ in run.batches([1]):
                run.log(loss=1.0, weight=weight_of_batch)


def test_what_is_no_number_is_refused_with_its_name(folder: Path) -> None:
    run = start(folder, [EarlyStopping("loss")])
    with pytest.raises(OutlastError, match="loss"):
        for _ in run.epochs(1):
            run.log(loss="low")


def test_early_stopping_ends_the_loop_without_a_break(folder: Path) -> None:
    assert go_on(start(folder, [EarlyStopping(patience=2)]), 12) == [0, 1, 2, 3, 4]


def test_a_callback_may_stop_within_an_epoch_and_the_epoch_still_counts(folder: Path) -> None:
    class StopAtBatch(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 1:
                self.control.stop("enough batches")

    run = start(folder, [StopAtBatch()])
    seen = [[batch for batch in run.batches(range(5))] for _ in run.epochs(3)]
    assert (seen, run.history.epochs) == ([[0, 1]], (0,))


def test_batch_hooks_hear_every_batch_with_what_was_logged_in_it(folder: Path) -> None:
    heard: list[Any] = []
    hooks = LambdaCallback(
        on_train_batch_begin=lambda batch, logs: heard.append(("begin", batch)),
        on_train_batch_end=lambda batch, logs: heard.append((batch, dict(logs))),
    )
    run = start(folder, [hooks])
    for _ in run.epochs(1):
        for value in run.batches([1.0, 3.0]):
            run.log(loss=value)
    assert heard == [("begin", 0), (0, {"loss": 1.0}), ("begin", 1), (1, {"loss": 3.0})]


def test_leaving_the_batches_by_break_counts_what_was_logged(folder: Path) -> None:
    run = start(folder)
    for _ in run.epochs(1):
        for value in run.batches([1.0, 3.0, 100.0]):
            if value > 50:
                break
            run.log(loss=value)
        run.log(val_loss=7.0)
    assert run.history.rows == [{"epoch": 0, "learning_rate": 0.1, "loss": 2.0, "val_loss": 7.0}]


# With PyTorch's loaders, whose generators are put back.


def loader(seed: int, **options: Any) -> Any:
    return DataLoader(
        TensorDataset(torch.arange(6)),
        batch_size=2,
        shuffle=True,
        generator=torch.Generator().manual_seed(seed),
        **options,
    )


def drawn(folder: Path, epochs: int, until: int | None = None) -> list[list[int]]:
    """The samples of each whole epoch: from two loaders of their own, and one of the global generator."""
    torch.manual_seed(0)
    first, second, third = loader(1), loader(2), DataLoader(TensorDataset(torch.arange(6)), shuffle=True)
    run = start(folder)
    samples: list[list[int]] = []
    for epoch in run.epochs(epochs):
        samples.append([])
        for source in (first, second, third):
            for (batch,) in run.batches(source):
                samples[-1] += batch.tolist()
        if epoch == until:
            return samples[:-1]
    return samples


@pytest.mark.parametrize("until", [1, 2, 3])
def test_each_of_several_loaders_goes_on_with_its_own_order(folder: Path, until: int) -> None:
    whole = drawn(folder.with_name("whole"), 4)
    assert drawn(folder, 4, until) + drawn(folder, 4) == whole
    assert len({tuple(samples) for samples in whole}) == 4


def test_a_loader_that_is_not_used_in_every_epoch_keeps_its_place(folder: Path) -> None:
    def every_other(epochs: int, until: int | None = None) -> list[list[int]]:
        always, seldom = loader(1), loader(2)
        run = start(folder)
        samples: list[list[int]] = []
        for epoch in run.epochs(epochs):
            if epoch == until:
                break
            used = [always, seldom] if epoch % 2 else [always]
            samples.append([int(x) for one in used for (batch,) in run.batches(one) for x in batch])
        return samples

    broken = every_other(6, until=2) + every_other(6, until=3) + every_other(6, until=4) + every_other(6)
    folder = folder.with_name("whole")
    assert broken == every_other(6)


class Counter:
    """A part: anything with a state."""

    def __init__(self) -> None:
        self.count, self.tensor = 0, torch.zeros(2)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "tensor": self.tensor, "nested": {3: (1, None, [True])}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert state["nested"] == {3: (1, None, [True])}
        self.count, self.tensor = state["count"], state["tensor"]


def test_parts_are_saved_and_put_back_as_they_were(folder: Path) -> None:
    run = start(folder, counter=(counter := Counter()))
    for epoch in run.epochs(5):
        if epoch == 2:
            break
        counter.count += 1
        counter.tensor += 0.5
    start(folder, counter=(again := Counter()))
    assert (again.count, again.tensor.tolist()) == (2, [1.0, 1.0])
    assert isinstance(again.tensor, torch.Tensor)


def test_a_part_that_contains_itself_is_named(folder: Path) -> None:
    state: dict[str, Any] = {}
    state["me"] = state
    part = SimpleNamespace(state_dict=lambda: state, load_state_dict=state.update)
    with pytest.raises(
        CapabilityError, match="part 'mine' cannot be stored: something in it contains itself"
    ):
        go_on(start(folder, mine=part), 1)


def test_a_module_goes_on_in_the_process_that_made_its_run(folder: Path) -> None:
    model = torch.nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    run = Run(folder, model=model, optimizer=optimizer)
    for _ in run.epochs(2):
        with torch.no_grad():
            model.weight += 1.0
    other = torch.nn.Linear(1, 1)
    Run(folder, model=other, optimizer=torch.optim.SGD(other.parameters(), lr=1.0, momentum=0.9))
    assert (other.weight.item(), other.bias.tolist()) == (2.0, model.bias.tolist())


def test_the_loop_of_a_run_that_is_finished_trains_nothing(folder: Path) -> None:
    go_on(start(folder), 2)
    run = start(folder)
    assert [epoch for epoch in run.epochs(2)] == []
    assert (weight(run), run.history["val_loss"]) == (2, list(LOSSES[:2]))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((0.5,), r"metrics by name, run.log\(loss=loss\), but got a value of type float without a name\.$"),
        ((0.0,), "of type float without a name"),
        (("acc", 0.5), r"metrics by name, run.log\(acc=...\), but got a name and a value by their places\.$"),
        (("top-5", 0.5), r"run.log\({'top-5': ...}\)"),
    ],
)
def test_a_metric_without_a_name_is_refused(given: Any, told: str) -> None:
    run = start(None)
    for _ in run.epochs(1):
        with pytest.raises(MetricError, match=told):
            run.log(*given)
        run.log(None)
