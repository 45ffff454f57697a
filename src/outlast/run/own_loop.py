"""OwnLoop: the epochs and batches of a loop of one's own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from outlast.callbacks.list import CallbackList
from outlast.run.loop import Loop


class OwnLoop(CallbackList):
    """Calls the hooks of a loop that only says where its epochs and batches are."""

    _loop: Loop

    @abstractmethod
    def _remaining(self, total: int) -> range:
        """The epochs that are to be trained."""

    @abstractmethod
    def _meet(self, loader: Any) -> None:
        """Called before a loader is iterated."""

    @abstractmethod
    def _safe_point(self) -> None:
        """Called between two batches: where training may end."""

    @abstractmethod
    def _close(self) -> None:
        """Called when the loop was left before its end."""

    def epochs(self, total: int) -> Iterator[int]:
        """The epochs that remain of ``total``, each committed when the next one is asked for.

        Leaving the loop by ``break`` or an error means "interrupted": the epoch does not count, and a
        rerun goes on from the last commit. An early stop needs no ``break``.
        """
        self.set_params({**(self.params or {}), "epochs": total})
        self.on_train_begin()
        ended = False
        try:
            for epoch in self._remaining(total):
                self._loop.begin_epoch()
                self.on_epoch_begin(epoch)
                yield epoch
                self.on_epoch_end(epoch, self._loop.metrics())
                if self.stop_training:
                    break
            ended = True
            self.on_train_end()
        finally:
            if not ended:
                self._close()

    def batches(self, loader: Iterable[Any]) -> Iterator[Any]:
        """The loader's batches, counted; ``run.log`` inside is a mean over them."""
        self._meet(loader)
        begin, end = (self._listeners(f"on_train_batch_{moment}") for moment in ("begin", "end"))
        for batch, data in self._unless_signalled(self._loop.batches(loader)):
            for hook in begin:
                hook(batch, logs={})
            yield data
            for hook in end:
                hook(batch, logs=self._loop.last)
            self._safe_point()
            if self.stop_training:
                break

    def _listeners(self, hook: str) -> list[Any]:
        return [listener for _, listener in self._heard[hook]]

    def _unless_signalled(self, batches: Iterator[Any]) -> Iterator[Any]:
        """A loader may fail because a signal ended its workers too: then the signal tells why we end."""
        try:
            yield from batches
        except Exception:
            self._safe_point()
            raise

    def log(self, metrics: Mapping[str, Any] | None = None, *, weight: float = 1, **named: Any) -> None:
        """Take metrics of a batch (inside ``run.batches``) or of the epoch.

        Args:
            metrics: by name, for names that are no Python identifiers.
            weight: of the batch in the epoch's mean, such as its size.
            **named: by name. A tensor stays on its device until the epoch's end.
        """
        self._loop.log({**(metrics or {}), **named}, weight)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()
