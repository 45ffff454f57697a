"""The data of a ``Trainer``: its batches come through a run, as those of a loop of one's own do.

Lightning asks its source for loaders, and puts them side by side in a ``CombinedLoader``. Here that is one
whose batches the run fetches: it knows the loaders' generators then, goes past trained batches by index, and
makes a resume point where Lightning asks for the next batch, when all is done with the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

Fetch = Callable[[Iterable[Any]], Iterator[Any]]


def handed_on(trainer: Any, fetch: Fetch | None) -> None:
    """Have the batches of a fit come through a function.

    Args:
        trainer: whose fit begins.
        fetch: gives the batches of an iterable; None to leave them to Lightning.
    """
    loop = trainer.fit_loop
    package = type(loop).__module__.rpartition(".loops.")[0]
    theirs = import_module(f"{package}.trainer.connectors.data_connector")._DataLoaderSource
    combined = import_module(f"{package}.utilities.combined_loader")

    class Combined(combined.CombinedLoader):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Iterator[Any]:
            self._iterator = combined._SUPPORTED_MODES[self._mode]["iterator"](self.flattened, self._limits)
            assert fetch is not None
            return _batches(self, fetch)

        def begin_theirs(self) -> Any:
            """Begin as Lightning's own loader does."""
            return super().__iter__()

    class Source(theirs):  # type: ignore[misc, valid-type]
        def dataloader(self) -> Any:
            found = super().dataloader()
            if isinstance(found, combined.CombinedLoader):
                return Combined(found.iterables, found._mode)
            return Combined(found, "max_size_cycle")

    kind = theirs if fetch is None else Source
    loop._data_source = kind(loop._data_source.instance, loop._data_source.name)


def _batches(combined: Any, fetch: Fetch) -> Iterator[Any]:
    """The batches, each with its number and that of its loader."""
    if len(combined.flattened) == 1 and combined.iterables is combined.flattened[0]:
        for index, batch in enumerate(fetch(combined.flattened[0])):
            yield batch, index, 0
        return
    yield from fetch(SideBySide(combined))


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
