"""Loop: the batches of an epoch in a loop of one's own, its validations, and what is logged in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from outlast.core.asking import has
from outlast.core.logs import validation_name
from outlast.core.run_state import Moment
from outlast.exceptions import ArgumentError, RunChanged, UsageError
from outlast.frameworks import random_state
from outlast.run import left_loaders, settings
from outlast.run.batches import Batches, checksum
from outlast.run.fetching import Fetching, Place, checksums_of
from outlast.run.generators import Firsts, Generators
from outlast.run.inside import Begun
from outlast.run.means import Means
from outlast.run.parts import AnyPart
from outlast.run.passes import NONE, Passes, Rows

_SIZES = 16  # of first loaders that are remembered


@dataclass(frozen=True)
class Validation:
    """A validation under way, and what the training finds again after it.

    Args:
        last: what was logged in the training's batch at hand.
        random: the global random generators.
        loaders: the generators of the training's loaders.
        means: what is logged in the validation.
    """

    last: dict[str, Any]
    random: dict[str, Any]
    loaders: Sequence[Any]
    means: Means = field(default_factory=Means)


class Loop(AnyPart):
    """Counts batches, averages their metrics, and knows the loaders' own random generators.

    It is a part of the run: the next epoch's order of batches depends on those generators.

    Args:
        tell: called with what is not known of a loader, as a phrase.
        fetching: begins the loaders' iterators.

    Attributes:
        last: what was logged in the batch at hand.
        in_epoch: whether an epoch is under way, so that metrics have a row to be in.
        has_validated: whether there was a validation of whose end nobody has heard.
        fetching: begins the loaders' iterators.
    """

    name, moment = "loop", Moment.OPEN

    def __init__(
        self, tell: Callable[[str], object] = lambda text: None, fetching: Fetching | None = None
    ) -> None:
        self._tell, self.fetching = tell, fetching or Fetching(tell=tell)
        self.last: dict[str, Any] = {}
        self.in_epoch = False
        self._means = Means()
        self._in_batch = False
        self._validation: Validation | None = None  # under way
        self._ended: Validation | None = None  # of which nobody has heard
        self.has_validated = False
        self._count = self._total = 0  # batches of the epoch, and of the training
        self._generators, self._of_validations = Generators(), Generators()
        self._seen = Batches()
        self.begins_epoch = True  # no loader was used in it yet
        self.first_sizes: dict[str, list[int]] = {}  # of the first loader of each epoch, each once
        self._begun: Begun | None = None  # the loaders of the epoch, if resume points are made inside it
        self._ends_at: int | None = None  # how many batches there are when the loader at hand has ended
        self._goes_on: Mapping[str, Any] | None = None  # inside an epoch, and that is not reached yet
        self._epoch = self._turn = 0  # under way; of a loader in it
        self._passes: Passes | None = None  # of a training without epochs
        self._row_ends: frozenset[int] = frozenset()  # that were found

    def begin_epoch(self, epoch: int = 0) -> None:
        """Forget the epoch before."""
        self._epoch = epoch
        self._means, self._seen, self.begins_epoch = Means(), Batches(), True
        self.leave()
        self.in_epoch, self._count, self._ended, self._turn = True, 0, None, 0
        self.has_validated = False
        if self._begun is not None:
            self._begun = Begun()
        self._generators.begin_epoch()
        self._of_validations.begin_epoch()

    def save_inside(self) -> None:
        """From now on, resume points may be made inside an epoch."""
        self._begun, self.fetching.inside = Begun(), True

    @property
    def has_batches(self) -> bool:
        """Whether the epoch went through any."""
        return self._count > 0

    @property
    def goes_on(self) -> bool:
        """Whether an epoch is to go on inside, and the loop has not come there yet."""
        return self._goes_on is not None

    def begin_code(self) -> None:
        """The code of an epoch is about to run; it draws what it drew when the epoch was begun first."""
        if self._goes_on is not None:
            random_state.restore(self._goes_on["inside"]["start"])
        elif self._begun is not None:
            self._begun.start = random_state.collect()

    def end_batch(self) -> None:
        """The batch at hand is done, though the next is not fetched yet."""
        self._in_batch = False

    @property
    def done(self) -> int:
        """Batches of the epoch."""
        return self._count

    @property
    def is_at_end(self) -> bool:
        """Whether the batch at hand is the last that the loader said that it has, or of the row."""
        return self._count == self._ends_at

    @property
    def in_batch(self) -> bool:
        """Whether a batch of the training is at hand."""
        return self._in_batch

    def note_first(self, size: dict[str, Any], *, anew: bool) -> None:
        """Note the size of the epoch's first loader; ``anew``: those before it do not count any more."""
        self.begins_epoch = False
        known = {} if anew else self.first_sizes
        for name, value in size.items():
            values = known.get(name, [])
            if value is not None and value not in values:
                known = {**known, name: [*values, value][-_SIZES:]}
        self.first_sizes = known

    def saw(self, batches: Iterable[int]) -> None:
        """An epoch's batches, by their checksums, of a loop that fetches them itself."""
        self._seen = Batches()
        for one in batches:
            self._seen.add(one)

    def end_epoch(self) -> dict[str, Any]:
        """The epoch's metrics; none can be logged any more."""
        self.leave()
        return self._means.result()

    def leave(self) -> None:
        """No epoch is under way."""
        self.in_epoch = self._in_batch = False
        self._validation = None

    def log(self, metrics: dict[str, Any], weight: Any) -> None:
        """Take metrics; inside a batch they are part of a mean.

        Args:
            metrics: by name; a dict that nobody changes later.
            weight: of the batch.

        Raises:
            MetricError: a name or a value cannot be one of a metric.
        """
        if self._validation is not None:
            self._validation.means.add(metrics, weight)
        elif self._in_batch:
            self._means.add(metrics, weight)
        else:
            self._means.put(metrics)
            return
        self.last = {**self.last, **metrics} if self.last else metrics

    def batches(
        self,
        loader: Iterable[Any],
        meet: Callable[[Any], object],
        come_back: Callable[[], object] = lambda: None,
    ) -> Iterator[tuple[int, Any]]:
        """(index, batch) of a loader; the index goes on from one loader of the epoch to the next.

        Args:
            loader: the loader.
            meet: called with it before it is iterated.
            come_back: called when the loop has come to where the run was saved inside the epoch.

        Raises:
            UsageError: no epoch is under way, or a batch is.
            ArgumentError: the loader gives nothing, or is none.
            RunChanged: it has fewer batches than were trained.
        """
        self.check_may_begin("run.batches", loader)
        self._meet(loader, meet)
        before, trained = self._count, 0
        if self._goes_on is not None:
            iterator = self._skipped(loader, self._goes_on, come_back)
            if iterator is None:
                return
            before = -1  # what was trained of it counts
            trained = self._begun.counts[-1] if self._begun is not None else 0
        else:
            if self._begun is not None:
                self._begun.begin(loader)
            iterator = self.fetching.begin(loader, (self._epoch, self._turn))
            self._turn += 1
        length = settings.of_loader(loader)["steps"]
        self._ends_at = None if length is None else self._count + length - trained
        indices = checksums_of(iterator)
        try:
            for data in iterator:
                if self._begun is not None:  # a check that ends puts another there
                    self._begun.count(None if indices is None else indices.checksum)
                yield self._came(data)
                self._in_batch = False
        finally:
            self._in_batch = False
            self._generators.leave()
        if self._count == before:
            raise _nothing_came("run.batches", loader)

    def holds(self, value: Any) -> bool:
        """Whether a value is a generator that is saved with a loader."""
        return self._generators.holds(value)

    def _meet(self, loader: Any, meet: Callable[[Any], object]) -> None:
        self.fetching.meet(loader)
        meet(loader)
        self._generators.meet(loader)

    def _came(self, data: Any) -> tuple[int, Any]:
        self.last = {}
        self._seen.add(checksum(data))
        self._in_batch, self._count, self._total = True, self._count + 1, self._total + 1
        return self._count - 1, data

    def _skipped(
        self, loader: Any, saved: Mapping[str, Any], come_back: Callable[[], object]
    ) -> Iterator[Any] | None:
        """The rest of a loader of an epoch that goes on inside; None if all of it was trained."""
        turn, inside = self._turn, saved["inside"]
        self._turn += 1
        if turn < len(inside["counts"]) - 1:
            return None
        begun = self._begun = self._begun or Begun()
        begun.take(inside)
        known = Batches.of(saved["batches"]).first[sum(begun.counts[:-1]) :]
        return self._brought_back(loader, begun, (self._epoch, turn), come_back, known)

    def _brought_back(
        self,
        loader: Any,
        begun: Begun,
        place: Place,
        come_back: Callable[[], object],
        known: Sequence[int] = (),
    ) -> Iterator[Any]:
        """An iterator of a loader behind what was trained of it; all else is as ``come_back`` has it then.

        ``known`` are checksums of the batches that were trained, as far as there are any.
        """
        undo = begun.put_back(loader)
        trained = begun.counts[-1]
        iterator, by_index = self.fetching.begin_behind(loader, place, trained, begun.indices, known)
        put_back = begun.gone_on(loader, of_order=by_index)  # an iterator may fetch ahead
        undo()
        come_back()
        put_back()
        return iterator

    # A training without epochs.

    def begin_steps(self, wanted: Rows | None, *, anew: bool) -> int:
        """A training begins; returns how many rows it has left, if it is one without epochs.

        Args:
            wanted: how it is cut into rows; None if it has epochs.
            anew: nothing was trained before.

        Raises:
            RunChanged: what was trained before was of the other kind.
        """
        self.fetching.inside = wanted is not None or self._begun is not None
        if anew:
            self._total = 0
            self._passes, self._row_ends = None if wanted is None else Passes(), frozenset()
        if wanted is None and self._passes is None:
            return 0
        if wanted is None or self._passes is None:
            kinds = ("run.steps(...)", "epochs") if wanted is None else ("epochs", "run.steps(...)")
            raise RunChanged(
                f"This run was trained with {kinds[0]}, and cannot go on with {kinds[1]}: go on as before, "
                "or begin again with resume='never'."
            )
        return wanted.left(self._passes.step - self._passes.row)

    @property
    def step(self) -> int | None:
        """The step of the training at hand, from 0; behind the last how many there were; None without any."""
        if self._passes is not None:
            return self._passes.step - self._in_batch
        return self._total - self._in_batch if self._total or self.in_epoch else None

    def row(
        self,
        loader: Iterable[Any],
        wanted: Rows,
        meet: Callable[[Any], object],
        come_back: Callable[[], object],
        begin_pass: Callable[[int], object],
    ) -> Iterator[tuple[int, Any]]:
        """(index in the row, batch) of the steps of a row.

        Args:
            loader: gone through as often as it takes.
            wanted: how the training is cut into rows.
            meet: called with the loader before it is iterated.
            come_back: called when the loop has come to where the run was saved inside a row.
            begin_pass: called with the number of a pass before it begins or goes on.

        Raises:
            ArgumentError: the loader gives nothing, or is none.
            RunChanged: it has fewer batches than were trained.
        """
        self.check_may_begin("run.steps", loader)
        self._meet(loader, meet)
        passes = self._passes
        assert passes is not None
        begin_pass(max(passes.number, 0))
        if passes.iterator is None and passes.begun.counts:
            passes.iterator = self._pass_brought_back(loader, passes, come_back)
        end = wanted.end(passes.step - self._count, self._row_ends)
        self._ends_at = self._count + end - passes.step
        try:
            while passes.step < end:
                data, iterator = self._fetched(loader, passes, begin_pass)
                indices = checksums_of(iterator)
                passes.count(None if indices is None else indices.checksum)
                yield self._came(data)
                self._in_batch = False
        finally:
            self._in_batch = False

    def _pass_brought_back(
        self, loader: Any, passes: Passes, come_back: Callable[[], object]
    ) -> Iterator[Any]:
        place = (passes.number, 0)
        if self._goes_on is not None:
            return self._brought_back(loader, passes.begun, place, come_back)
        now = random_state.collect()  # callbacks have heard of the row's beginning: all but the pass is right
        return self._brought_back(loader, passes.begun, place, lambda: random_state.restore(now))

    def _fetched(
        self, loader: Any, passes: Passes, begin_pass: Callable[[int], object]
    ) -> tuple[Any, Iterator[Any]]:
        """The next batch, perhaps of another pass, and the iterator that gave it."""
        data = NONE if passes.iterator is None else next(passes.iterator, NONE)
        if data is NONE:
            passes.begin(loader)
            begin_pass(passes.number)
            passes.iterator = self.fetching.begin(loader, (passes.number, 0))
            data = next(passes.iterator, NONE)
        if data is NONE or passes.iterator is None:
            raise _nothing_came("run.steps", loader, passes.number)
        return data, passes.iterator

    def end_steps(self) -> None:
        """The training has ended: let its loader go."""
        if self._passes is not None:
            self._passes.iterator = None

    def validation(self, loader: Iterable[Any], begin: Callable[[Any], object]) -> Iterator[tuple[int, Any]]:
        """(index, batch) of a loader, in a scope of its own.

        What is logged in it is averaged under names of a validation. The training counts none of its
        batches, and finds all random generators as they were.

        Args:
            loader: the loader.
            begin: called with it before it is iterated.

        Raises:
            UsageError: no epoch is under way, or another validation is.
            ArgumentError: the loader gives nothing, or is none.
        """
        self.check_may_begin("run.validation", loader)
        begin(loader)
        self.fetching.meet(loader)
        self._validation = scope = Validation(
            self.last, random_state.collect(), self._generators.state(inside=True)
        )
        self.has_validated = True
        self._of_validations.meet(loader)
        batch = -1
        try:
            place = (self._epoch, -1 - self._count)  # the same wherever the run goes on
            for batch, data in enumerate(self.fetching.begin(loader, place)):
                self.last = {}
                yield batch, data
        finally:
            self._end(scope)
        if batch < 0:
            raise _nothing_came("run.validation", loader)

    def meet_validation(self, loaders: Iterable[Any]) -> None:
        """Another library goes through the loaders of its validation itself."""
        for loader in loaders:
            self._of_validations.meet(loader)
        self._of_validations.leave()

    def _end(self, scope: Validation | None) -> None:
        """End a validation, if it is under way; somebody may keep its iterator after a ``break``."""
        if scope is None or scope is not self._validation:
            return
        self._validation, self._ended, self.last = None, scope, scope.last
        self._of_validations.leave()
        self._generators.restore(scope.loaders)
        random_state.restore(scope.random)
        self._means.adopt(scope.means, validation_name)

    def take_ended_validation(self) -> Means | None:
        """What was logged in a validation, which ends now if it has not; once, for those who hear of it."""
        self._end(self._validation)
        ended, self._ended, self.has_validated = self._ended, None, False
        return None if ended is None else ended.means

    def check_may_begin(self, who: str, loader: Any) -> None:
        """Refuse a loop of batches that cannot begin here.

        Raises:
            UsageError: no epoch is under way, or a batch or a validation is.
            ArgumentError: the loader is none.
        """
        if not any(hasattr(type(loader), name) for name in ("__iter__", "__getitem__")):
            name = getattr(loader, "__name__", None) if isinstance(loader, FunctionType) else None
            raise ArgumentError(
                f"{who} takes a loader of batches, such as a DataLoader or a list, but got {loader!r:.100}"
                + (f": call it, {who}({name}())." if name else ".")
            )
        if not self.in_epoch:
            raise UsageError(
                f"{who} was called outside an epoch: use it in the loop, for epoch in run.epochs(...)."
            )
        if self._validation is not None:
            raise UsageError(
                f"{who} was called inside run.validation: leave that loop first. For two loaders side by "
                "side use run.validation(zip(a, b))."
            )
        if self._in_batch and who == "run.batches":
            loop = "run.batches" if self._passes is None else "run.steps"
            raise UsageError(
                f"run.batches was called inside a batch of {loop}. For two loaders side by side use "
                "run.batches(zip(a, b)); for a validation inside the epoch run.validation(loader); and go "
                "through a second loader inside each batch without run.batches."
            )

    def collect(self) -> dict[str, Any]:
        """What the next epoch's order of batches depends on, beside the global generators."""
        inside = self._inside()
        return {
            "loaders": self._generators.state(inside=inside is not None),
            "validation_loaders": self._of_validations.state(),
            "batches": self._seen.saved(),
            "sizes": self.first_sizes,
            "inside": inside,
            "passes": self._saved_passes(),
            "draws": self.fetching.base,
            "total": self._total if self._goes_on is None else self._goes_on.get("total", 0),
        }

    def _saved_passes(self) -> dict[str, Any] | None:
        if self._passes is None:
            return None
        if self._goes_on is not None:
            return dict(self._goes_on["passes"])
        row = {"count": self._count, "means": self._means.saved()} if self.in_epoch and self._count else None
        return self._passes.saved(row)

    def _inside(self) -> dict[str, Any] | None:
        """Where the epoch under way is; None between two epochs, and where nobody asks for that."""
        if self._goes_on is not None and self._passes is None:  # it is where it was
            return dict(self._goes_on["inside"])
        if self._begun is None or not self._begun.counts or not self.in_epoch:
            return None
        return {**self._begun.saved(), "count": self._count, "means": self._means.saved()}

    def put_back(self, saved: Mapping[str, Any]) -> None:
        """Go on from :meth:`collect`; loaders that come are recognised by what was saved of them."""
        inside = bool(saved.get("inside"))
        self._generators = Generators(saved["loaders"], tell=self._tell, inside=inside)
        self._seen = Batches.of(saved["batches"])
        self.first_sizes = saved["sizes"]
        self._of_validations = Generators(saved["validation_loaders"], tell=self._tell)
        self._total = saved.get("total", 0)
        self._goes_on = saved if saved.get("inside") else None
        self._passes, self.fetching.base = None, saved.get("draws")
        if passes := saved.get("passes"):
            self._passes = Passes()
            self._passes.take(passes)
            self._goes_on = saved if passes["row"] else None
            if not passes["row"]:
                self._row_ends |= {passes["step"]}

    def end(self) -> None:
        """All epochs are over."""
        self._generators.end()

    def hand_on(self, folder: str, shown: str) -> None:
        """Nothing is trained here: note where the finished run has left its loaders, for another run."""
        left_loaders.note(folder, shown, [*self._generators.state(), *self._of_validations.state()])

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Give the loaders that are known their states back, in the middle of a training."""
        self._generators.restore(saved["loaders"])
        self._of_validations.restore(saved.get("validation_loaders", ()))
        self._total = saved.get("total", 0)
        if inside := saved.get("inside"):
            self._begun = self._begun or Begun()
            self._begun.take(inside)
            self._restore_means(saved, inside)
        if (passes := saved.get("passes")) and self._passes is not None:
            self._passes.take(passes)
            if passes["row"]:
                self._restore_means(saved, passes["row"])

    def _restore_means(self, saved: Mapping[str, Any], of_epoch: Mapping[str, Any]) -> None:
        self._goes_on = None
        self._seen, self._means = Batches.of(saved["batches"]), Means.of(of_epoch["means"])
        self._count, self.begins_epoch, self.first_sizes = of_epoch["count"], False, saved["sizes"]

    def forget(self, firsts: Firsts) -> None:
        """Know no loader: nothing was put back.

        Args:
            firsts: how the loaders were when the run was first started.
        """
        self._generators, self._of_validations = Generators(None, firsts, self._tell), Generators()
        self._goes_on, self._total = None, 0


def _nothing_came(who: str, loader: Any, before: int = 0) -> ArgumentError:
    """The answer to a loader that gave nothing; ``before`` passes through it gave something."""
    kind = type(loader).__name__
    if before:
        once = "can be gone through once" if has(loader, "__next__") else "gives nothing a second time"
        return ArgumentError(
            f"{who} goes through its loader again and again, but this {kind} {once}: pass what it was made "
            "from, such as a list, a DataLoader, or an object whose __iter__ makes a new generator."
        )
    if has(loader, "__next__"):
        told = (
            f"this {kind} is an iterator, which can be gone through once. Pass what it was made from, "
            f"{who}(loader) instead of {who}(iter(loader)), or make a new one in each epoch."
        )
    else:
        told = f"this {kind} is empty. Pass data of at least one batch; drop_last=True can drop it."
    return ArgumentError(f"{who} got no batch from its loader: {told}")
