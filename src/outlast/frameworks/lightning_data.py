"""The data of a ``Trainer``: its batches come through a run, as those of a loop of one's own do.

Lightning asks its source for loaders, and puts them side by side in a ``CombinedLoader``. Here that is one
whose batches the run fetches: it knows the loaders' generators then, goes past trained batches by index, and
makes a resume point where Lightning asks for the next batch, when all is done with the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from outlast.exceptions import UsageError


def handed_on(trainer: Any, run: Any) -> None:
    """Have the batches of a fit come through a run.

    Args:
        trainer: whose fit begins.
        run: that saves it; None to leave the batches to Lightning.
    """
    loop = trainer.fit_loop
    package = type(loop).__module__.rpartition(".loops.")[0]
    theirs = import_module(f"{package}.trainer.connectors.data_connector")._DataLoaderSource
    combined = import_module(f"{package}.utilities.combined_loader")

    class Combined(combined.CombinedLoader):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Iterator[Any]:
            self._iterator = combined._SUPPORTED_MODES[self._mode]["iterator"](self.flattened, self._limits)
            return _batches(self, run)

        def begin_theirs(self) -> Any:
            """Begin as Lightning's own loader does."""
            return super().__iter__()

    class Source(theirs):  # type: ignore[misc, valid-type]
        def dataloader(self) -> Any:
            found = super().dataloader()
            if isinstance(found, combined.CombinedLoader):
                return Combined(found.iterables, found._mode)
            return Combined(found, "max_size_cycle")

    kind = theirs if run is None else Source
    loop._data_source = kind(loop._data_source.instance, loop._data_source.name)


def begin_again(trainer: Any) -> None:
    """An epoch has begun: fetch ahead as Lightning does where nobody knows how many batches there are.

    It does so itself in every epoch but the first, before which it has tried.
    """
    fetcher = trainer.fit_loop._data_fetcher
    if fetcher.length is None and trainer.current_epoch == 0:
        iter(fetcher)


def refuse_inside(trainer: Any) -> None:
    """Refuse to go on inside an epoch where Lightning or the module fetches ahead of the training.

    Raises:
        UsageError: one of them does.
    """
    fetcher = trainer.fit_loop._data_fetcher
    reason = ""
    if fetcher.length is None:
        reason = "Lightning fetches a batch ahead where a loader has no length"
    if type(fetcher).__name__ == "_DataLoaderIterDataFetcher":
        reason = "training_step(self, dataloader_iter) fetches its batches itself"
    if reason:
        raise UsageError(
            f"save_every makes resume points inside an epoch, but {reason}, so that nobody knows which "
            'batches are trained: leave out save_every, or pass "epoch".'
        )


def validation_loaders(trainer: Any) -> list[Any]:
    """The loaders of the validation, as far as they are made."""
    combined = trainer.fit_loop.epoch_loop.val_loop._combined_loader
    return [] if combined is None else [*combined.flattened]


def _batches(combined: Any, run: Any) -> Iterator[Any]:
    """The batches, each with its number and that of its loader; none before the first epoch has begun."""
    if not run.may_fetch:
        return
    if len(combined.flattened) == 1 and combined.iterables is combined.flattened[0]:
        for index, batch in enumerate(run.fetched(combined.flattened[0])):
            yield batch, index, 0
        return
    yield from run.fetched(SideBySide(combined))


class SideBySide:
    """Several loaders that Lightning iterates at once.

    Args:
        combined: Lightning's.
    """

    def __init__(self, combined: Any) -> None:
        self._combined, self._loaders = combined, combined.flattened

    def __iter__(self) -> Iterator[Any]:
        yield from _taken(self._combined.begin_theirs())

    def __len__(self) -> int:
        return len(self._combined)


def _taken(combined: Any) -> Iterator[Any]:
    """The batches of Lightning's loader, which is iterated already."""
    while (found := next(combined, None)) is not None:
        yield found
