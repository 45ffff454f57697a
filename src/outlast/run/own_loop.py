"""OwnLoop: the epochs and batches of a loop of one's own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from types import TracebackType
from typing import Any, Never, Self

from outlast.callbacks.list import CallbackList
from outlast.core import numbers
from outlast.exceptions import MetricError, UsageError
from outlast.frameworks import under_way
from outlast.run.arguments import naming_the_nearest
from outlast.run.loop import Loop
from outlast.run.passes import Rows


class OwnLoop(CallbackList):
    """Calls the hooks for a loop that only marks its epochs and batches."""

    _loop: Loop
    _marks_batches = False  # the loop can: it is one of run.epochs, or of run.steps
    _rows_wanted: Rows | None = None  # of a training without epochs

    @abstractmethod
    def _remaining(self, total: int) -> range:
        """The epochs that are to be trained."""

    @abstractmethod
    def _meet(self, loader: Any) -> None:
        """Called before a loader is iterated."""

    @abstractmethod
    def _be_ready(self) -> None:
        """Called before a validation."""

    @abstractmethod
    def _log_result(self, metrics: Mapping[str, Any]) -> None:
        """Take metrics outside every epoch."""

    @abstractmethod
    def _safe_point(self) -> None:
        """Called between two batches: where training may end."""

    @abstractmethod
    def _look_at_script(self, *, inside: bool, loader: Any = None) -> None:
        """Called when a loop of the script begins, of epochs, of steps, or of batches inside an epoch."""

    @abstractmethod
    def _leave_batch(self, batch: int) -> None:
        """Called after a batch of the training, from 0 in each epoch; training may end there."""

    @abstractmethod
    def _come_back(self) -> None:
        """Called where the loop has come to where the run was saved inside an epoch."""

    @abstractmethod
    def _close(self, *, is_left: bool = False) -> None:
        """Called when the loop ends too early; ``is_left``: its code has left it, and hears of no error."""

    @naming_the_nearest("run.epochs(10)")
    def epochs(self, total: int) -> Iterator[int]:
        """The epochs that are left of ``total``. Each is committed when the loop asks for the next.

        The commit is written in the background, so a kill right after it can cost one epoch more;
        ``run.flush()`` waits for it. Leaving this loop by ``break`` or an error means "interrupted": the
        epoch does not count, and the next start goes on from the last commit. An early stop needs no
        ``break``. One that leaves ``run.batches`` alone ends the epoch's batches early: that epoch counts.

        Example:
            >>> import outlast
            >>> run = outlast.Run(None, adapter=outlast.testing.FakeAdapter())
            >>> for epoch in run.epochs(2):
            ...     run.log(loss=1 / (epoch + 1))
            >>> run.history["loss"]
            [1.0, 0.5]
        """
        total = numbers.whole(total, "epochs", least=0)
        self.set_params({**(self.params or {}), "epochs": total})
        yield from self._trained(self._loop.begin_code)

    def _trained(self, begin_code: Callable[[], object] = lambda: None) -> Generator[int, None, None]:
        """The epochs that are left, with all that is to be called around them."""
        self.begin_marked()
        ended = is_left = False
        try:
            for epoch in self._remaining((self.params or {})["epochs"]):
                self.begin_marked_epoch(epoch, begin_code)
                self._look_at_script(inside=False)
                yield epoch
                self._tell_of_validation()
                self.on_epoch_end(epoch, self._loop.end_epoch())
                if self.stop_training:
                    break
            ended = True
            self._loop.end()
            self.on_train_end()
        except GeneratorExit:
            is_left = True
            raise
        finally:
            self._loop.leave()
            if not ended:
                self._close(is_left=is_left)

    # For a loop of another library whose batches come through the run.

    def begin_marked(self) -> None:
        """Begin a training whose batches are fetched here."""
        self._marks_batches = True
        try:
            self.on_train_begin()
        finally:
            self._marks_batches = False

    def begin_marked_epoch(self, epoch: int, begin_code: Callable[[], object] | None = None) -> None:
        """Begin an epoch of it."""
        self._loop.begin_epoch(epoch)
        self.on_epoch_begin(epoch)
        (begin_code or self._loop.begin_code)()

    def fetched(self, loader: Iterable[Any]) -> Iterator[Any]:
        """The batches of an epoch of it; a resume point is made where the next is asked for."""
        for batch, data in self._unless_signalled(self._loop.batches(loader, self._meet, self._come_back)):
            yield data
            self._loop.end_batch()
            self._leave_batch(batch)

    @property
    def may_fetch(self) -> bool:
        """Whether an epoch is under way, whose batches can be asked for."""
        return self._loop.in_epoch

    def end_marked_batches(self) -> None:
        """The library asks for no more of them in this epoch."""
        self._loop.end_epoch()

    def begin_fetched_validation(self, loaders: Iterable[Any]) -> None:
        """The library is about to go through these itself: what they draw from is saved with the rest."""
        self._loop.meet_validation(loaders)

    def safe_point(self) -> None:
        """Let a signal end the training here."""
        self._safe_point()

    def leave(self) -> None:
        """The library was left by an error: give the folder back."""
        self._loop.leave()
        self._close()

    @naming_the_nearest("run.steps(loader, 1000, log_every=100)")
    def steps(self, loader: Iterable[Any], n: int, *, log_every: int = 100) -> Iterator[Any]:
        """The batches of a training without epochs: ``n`` steps, through the loader as often as it takes.

        A row of the history has the means of ``log_every`` steps, and counts as an epoch for all who count
        epochs: callbacks hear of it as one, a ``patience`` is a number of rows, and a resume point is made at
        its end, or as often as ``save_every`` says. It need not end where a pass through the loader ends.
        Rows end at multiples of ``log_every``, and at ``n``. With a larger ``n`` a finished run goes on.

        Data whose order depends on the epoch, such as ``outlast.Batches``, is given the number of the pass.

        Args:
            loader: anything that gives batches, again and again.
            n: steps in all, those of earlier starts included.
            log_every: steps of a row.

        Raises:
            ArgumentError: an argument cannot work, or the loader gives nothing.
            RunChanged: the run in the folder was trained with epochs, or with another ``log_every``.

        Example:
            >>> import outlast
            >>> run = outlast.Run(None, adapter=outlast.testing.FakeAdapter())
            >>> for batch in run.steps([1.0, 2.0, 3.0], 4, log_every=2):
            ...     run.log(loss=batch)
            >>> run.history["loss"]
            [1.5, 2.0]
        """
        n, log_every = numbers.whole(n, "n of run.steps", least=0), numbers.whole(log_every, "log_every")
        if self._loop.in_epoch:
            raise UsageError("run.steps was called inside an epoch: it takes the place of run.epochs.")
        self._rows_wanted = Rows(n, log_every)
        try:
            with closing(self._trained()) as rows:
                for _ in rows:
                    yield from self._marked(self._loop.row(loader, self._rows_wanted, *self._around()))
        finally:
            self._rows_wanted = None
            self._loop.end_steps()

    def _around(self) -> tuple[Callable[..., object], ...]:
        return self._meet, self._come_back, partial(under_way.begin, self)

    @naming_the_nearest("run.batches(loader)", "to go through two at once, run.batches(zip(a, b))")
    def batches(self, loader: Iterable[Any]) -> Iterator[Any]:
        """The loader's batches, counted. What ``run.log`` takes in them becomes a mean over the epoch.

        Generators that the loader holds are saved and restored. Call it inside ``run.epochs``. An epoch may
        go through several loaders, one after the other: they are counted on.

        Args:
            loader: anything that gives batches, in every epoch again.

        Raises:
            UsageError: it is called outside an epoch, or inside a batch: see :meth:`validation`.
            ArgumentError: it is no loader, or gives nothing, such as an iterator that was gone through
                before.

        Example:
            >>> import outlast
            >>> run = outlast.Run(None, adapter=outlast.testing.FakeAdapter())
            >>> for epoch in run.epochs(1):
            ...     for batch in run.batches([1.0, 3.0]):
            ...         run.log(loss=batch)
            >>> run.history["loss"]
            [2.0]
        """
        self._loop.check_may_begin("run.batches", loader)
        self._look_at_script(inside=True, loader=loader)
        yield from self._marked(self._loop.batches(loader, self._meet, self._come_back))

    def _marked(self, batches: Iterator[tuple[int, Any]]) -> Iterator[Any]:
        """Batches of the training, with all that is to be called around them."""
        begin, end = (self._hook(f"on_train_batch_{moment}") for moment in ("begin", "end"))
        loop, control = self._loop, self.control
        for batch, data in self._unless_signalled(batches):
            if begin is not None:
                begin(batch, {})
            yield data
            if loop.has_validated:
                self._tell_of_validation()
            if end is not None:
                end(batch, loop.last)
            loop.end_batch()
            self._leave_batch(batch)
            if control.stopping:
                break

    @naming_the_nearest("run.validation(loader)", "to go through two at once, run.validation(zip(a, b))")
    def validation(self, loader: Iterable[Any]) -> Iterator[Any]:
        """The batches of a validation, inside the batches of an epoch or after them.

        What ``run.log`` takes in it is averaged under names that begin with ``val_``; of several validations
        in an epoch the last one counts. The training's batches and means do not see it, and all random
        generators that the training uses are as before afterwards. Callbacks hear ``on_test_begin``,
        ``on_test_end`` and the hooks of its batches.

        Args:
            loader: anything that gives batches.

        Raises:
            UsageError: it is called outside an epoch, or inside another validation.
            ArgumentError: it is no loader, or gives nothing.

        Example:
            >>> import outlast
            >>> run = outlast.Run(None, adapter=outlast.testing.FakeAdapter())
            >>> for epoch in run.epochs(1):
            ...     for batch in run.batches([1.0, 3.0]):
            ...         run.log(loss=batch)
            ...         for held_out in run.validation([5.0, 7.0]):
            ...             run.log(loss=held_out)
            >>> run.history["loss"], run.history["val_loss"]
            ([2.0], [6.0])
        """
        begin, end = (self._hook(f"on_test_batch_{moment}") for moment in ("begin", "end"))
        for batch, data in self._unless_signalled(self._loop.validation(loader, self._begin_validation)):
            if begin is not None:
                begin(batch, {})
            yield data
            if end is not None:
                end(batch, self._loop.last)
            self._safe_point()
        self._tell_of_validation()

    def _begin_validation(self, loader: Any) -> None:
        self._tell_of_validation()
        self._be_ready()
        self.on_test_begin()

    def _tell_of_validation(self) -> None:
        """Let callbacks hear of a validation's end; of one that was left by ``break`` at the next moment.

        An error in the hook would be lost where Python closes an iterator that was left.
        """
        ended = self._loop.take_ended_validation()
        if ended is not None:
            self.on_test_end(ended.result() if self._heard["on_test_end"] else {})

    def _unless_signalled(self, batches: Iterator[Any]) -> Iterator[Any]:
        """If a signal ended the loader's workers too, the loader fails; report the signal, not that."""
        try:
            yield from batches
        except Exception:
            self._safe_point()
            raise

    def log(
        self, metrics: Mapping[str, Any] | None = None, *others: Never, weight: Any = 1, **named: Any
    ) -> None:
        """Take metrics of a batch (inside ``run.batches``), of the epoch, or of the run (after the loop).

        Args:
            metrics: by name, for names that are not Python identifiers.
            *others: none; each metric has a name.
            weight: of the batch in the epoch's mean, such as its size; a batch of weight 0 adds nothing.
            **named: by name. A tensor stays on its device until the epoch's end.

        Raises:
            MetricError: a value has no name, or cannot be a metric; the text names it. Nothing is taken then.
            UsageError: it is called before the loop, where no row is that the metrics could be in.
        """
        if others or not (metrics is None or hasattr(metrics, "keys")):
            raise _nameless(metrics, others)
        metrics = named if metrics is None else {**metrics, **named}  # ours alone, so it can be kept
        if self._loop.in_epoch:
            self._loop.log(metrics, weight)
        else:
            self._log_result(metrics)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()


def _nameless(first: Any, others: Sequence[Any]) -> MetricError:
    """The answer to ``run.log(0.5)`` and to ``run.log("loss", 0.5)``."""
    example, came = "run.log(loss=loss)", f"a value of type {type(first).__name__} without a name"
    if isinstance(first, str) and others:
        example = f"run.log({first}=...)" if first.isidentifier() else f"run.log({{{first!r}: ...}})"
        came = "a name and a value by their places"
    return MetricError(f"run.log takes metrics by name, {example}, but got {came}.")
