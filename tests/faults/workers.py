"""A loop of one's own whose batches come from worker processes, which a terminal's Ctrl-C reaches too."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.faults.training import views

import outlast

EPOCHS = 6


def loop_with_workers(folder: str, epoch_begins: Callable[[], object]) -> dict[str, str]:
    """Two workers, made anew in each epoch."""
    return _train(folder, epoch_begins, num_workers=2)


def loop_with_lasting_workers(folder: str, epoch_begins: Callable[[], object]) -> dict[str, str]:
    """Two workers for the whole training."""
    return _train(folder, epoch_begins, num_workers=2, persistent_workers=True)


def loop_with_lasting_workers_and_the_global_generator(
    folder: str, epoch_begins: Callable[[], object]
) -> dict[str, str]:
    """The loader has none of its own."""
    return _train(folder, epoch_begins, num_workers=2, persistent_workers=True, generator=None)


def _train(folder: str, epoch_begins: Callable[[], object], **of_loader: Any) -> dict[str, str]:
    import torch

    torch.manual_seed(1)
    of_loader = {"generator": torch.Generator().manual_seed(1), **of_loader}
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.randn(40, 4)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True)),
        batch_size=4,
        shuffle=True,
        multiprocessing_context="fork",
        **of_loader,
    )
    run = outlast.Run(folder, [outlast.CSVLogger()], model=model, optimizer=optimizer)
    for _ in run.epochs(EPOCHS):
        epoch_begins()
        for inputs, targets in run.batches(loader):
            loss = (model(inputs) - targets).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log(loss=loss)
    weights = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
    return {"weights": json.dumps(weights), "history": json.dumps(run.history.rows), **views(folder)}
