"""Trainings with Lightning's ``Trainer`` for tests: what draws, remembers and logs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

import outlast
from outlast.frameworks.lightning import callbacks

_generator = torch.Generator().manual_seed(0)
X = torch.randn(44, 4, generator=_generator)
Y = X.sum(1, keepdim=True)
BATCHES = 6  # of an epoch; the last is a short one
QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "num_sanity_val_steps": 0,
}


class Module(lightning.LightningModule):
    """Draws, remembers and logs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            *(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
        )

    def loss(self, batch: Any) -> Any:
        return ((self.layers(batch[0]) - batch[1]) ** 2).mean()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        self.log("highest", loss, on_step=False, on_epoch=True, reduce_fx="max")
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.01)


class Follows(Module):
    """Its ``val_loss`` follows a series."""

    def __init__(self, values: list[float | None]) -> None:
        super().__init__()
        self.values = values

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing: it is logged when the epoch ends."""

    def on_train_epoch_end(self) -> None:
        if (value := self.values[self.current_epoch]) is not None:
            self.log("val_loss", value)


class Scheduled(Module):
    """Has a scheduler."""

    make: Callable[[Any], Any] = lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    settings: dict[str, Any] = {}  # noqa: RUF012

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.01)
        scheduler = type(self).make(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, **self.settings}}


def scheduled(make: Callable[[Any], Any], **settings: Any) -> Callable[[], Any]:
    return type("Scheduled", (Scheduled,), {"make": staticmethod(make), "settings": settings})


def trained_on(**options: Any) -> Any:
    return DataLoader(TensorDataset(X, Y), 8, **{"shuffle": True, **options})


def held_out() -> Any:
    return DataLoader(TensorDataset(X, Y), 32)


def fit(
    *items: Any,
    module: Callable[[], Any] = Module,
    data: Callable[[], Any] = lambda: (trained_on(), held_out()),
    beside: Any = (),
    **settings: Any,
) -> Any:
    """A module that a ``Trainer`` has trained from a seed."""
    torch.manual_seed(1)
    made = module()
    trainer = lightning.Trainer(
        **{**QUIET, "max_epochs": 4, **settings, "callbacks": [*beside, *callbacks(*items)]}
    )
    trainer.fit(made, *data())
    return made


def weights(module: Any) -> list[bytes]:
    return [one.detach().numpy().tobytes() for one in module.state_dict().values()]


class Left(Exception):
    """Ends a training, as a kill does as far as the folder goes."""


class Leaves(outlast.Callback):
    """Leaves the training after a number of batches of this start.

    Args:
        after: the number.
    """

    def __init__(self, after: int | None) -> None:
        self._after = after

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._after is not None:
            self._after -= 1
            if not self._after:
                raise Left

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        """Nothing is kept."""
