"""Driven: callbacks in a loop that another library runs.

Each library has hooks of its own, and an object that it calls. That object tells a :class:`Driven` of epochs
(a round of boosting is one), which tells every callback, so that all hear the same, whatever the library does
between two of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib import import_module
from types import FrameType
from typing import Any

from outlast.callbacks.base import Callback
from outlast.callbacks.hooks import Hooks
from outlast.callbacks.list import CallbackList, flat, hears
from outlast.callbacks.terminate_on_nan import TerminateOnNaN
from outlast.core.asking import asked
from outlast.core.logs import Logs
from outlast.core.monitor import Direction
from outlast.core.run_state import START
from outlast.exceptions import ArgumentError, CapabilityError, UsageError

_OF_BATCHES = ("on_train_batch_begin", "on_train_batch_end")


class Driven:
    """Runs, lists and single callbacks of ours as one.

    Args:
        library: whose loop it is: the name of its module in ``outlast.frameworks``.
        *items: a ``Run``, callbacks, or lists of these.

    Attributes:
        next_epoch: that the loop has to begin, from 0.
    """

    def __init__(self, library: str, *items: Any) -> None:
        self.library = library
        self._hosts = _hosts(flat(items))
        if self.is_saved and len(self._hosts) > 1:
            raise ArgumentError(
                "A Run would not save the callbacks beside it: pass all callbacks to one Run, such as "
                "outlast.Run(folder, [outlast.EarlyStopping(), outlast.CSVLogger()]), and pass that alone."
            )
        self._epochs: int | None = None
        self._is_under_way = self._marks_batches = False
        self.next_epoch = 0

    @property
    def callbacks(self) -> list[Any]:
        """Every single callback."""
        return [one for host in self._hosts for one in host.callbacks]

    def items_elsewhere(self) -> list[Any]:
        """What a copy in another process is made of."""
        return [
            one
            for host in self._hosts
            for one in ([Elsewhere(repr(host))] if hasattr(host, "folder") else host.callbacks)
        ]

    @property
    def monitored(self) -> frozenset[str]:
        """The metrics that callbacks watch."""
        found = (asked(one, "monitor") for one in self.callbacks)
        return frozenset(one for one in found if isinstance(one, str))

    @property
    def is_saved(self) -> bool:
        """Whether a run saves the training."""
        return any(getattr(host, "folder", None) is not None for host in self._hosts)

    @property
    def saves_inside(self) -> bool:
        """Whether a run makes resume points inside an epoch."""
        return any(getattr(host, "saves_inside", False) for host in self._hosts)

    @property
    def stopping(self) -> bool:
        """Whether a callback asked for the end."""
        return any(host.stop_training for host in self._hosts)

    @property
    def has_ended(self) -> bool:
        """Whether a callback asked for the end, or no epoch is left."""
        return self.stopping or (self._epochs is not None and self.next_epoch >= self._epochs)

    def refuse_what_needs_batches(self, framework: str) -> None:
        """Refuse a callback that acts on batches, for the loop has none.

        Raises:
            CapabilityError: there is one.
        """
        for one in self.callbacks:
            if getattr(one, "save_freq", "epoch") != "epoch":
                raise CapabilityError(
                    f"{type(one).__name__}(save_freq={one.save_freq!r}) counts batches, and {framework} has "
                    "none: leave out save_freq. In Keras's fit and in loops of your own it saves so."
                )
            if type(one).__name__ == "LambdaCallback" and any(hears(one, hook) for hook in _OF_BATCHES):
                raise CapabilityError(
                    f"LambdaCallback has a hook of batches, and {framework} has none: use on_epoch_end, "
                    "which is called after each round. In Keras's fit and in loops of your own it acts."
                )

    def refuse_what_needs_a_model(self, loop: str) -> None:
        """Refuse what acts on a model, for the loop trains several at once, as a cross validation does.

        Raises:
            CapabilityError: there is such a callback, or a run.
        """
        acting = [type(one).__name__ for one in self.callbacks if isinstance(one, Callback) and one.requires]
        if who := "A Run" if self.is_saved else next(iter(acting), None):
            raise CapabilityError(
                f"{who} acts on one model, but {loop} trains several, and gives none of them back. There "
                "callbacks can stop and keep a history: EarlyStopping without restore_best_weights, History, "
                "CSVLogger, TerminateOnNaN, TimeLimit, LambdaCallback."
            )

    def refuse_without_data(self, sets: Collection[str], held_out: Collection[str], argument: str) -> None:
        """Refuse a callback that watches a metric of data that is not there.

        Args:
            sets: names of all that are evaluated.
            held_out: names of those that are not trained on.
            argument: how the library is given such data.

        Raises:
            ArgumentError: there is one.
        """
        for one in self.callbacks:
            if not (getattr(one, "needs_metric", False) or isinstance(one, TerminateOnNaN)):
                continue
            monitor = getattr(one, "monitor", "loss")
            if not sets or (monitor.startswith("val_") and not held_out):
                raise ArgumentError(
                    f"{type(one).__name__} watches {monitor}, but no {'held-out ' if sets else ''}data is "
                    f"evaluated: pass {argument}."
                )

    def refuse_same_names(self, sets: Collection[str]) -> None:
        """Refuse two sets of one name: the library would tell the metrics of one for those of the other.

        Raises:
            ArgumentError: there are two.
        """
        twice = next((name for name in sets if [*sets].count(name) > 1), None)
        if twice is not None:
            raise ArgumentError(f"two sets of data are called {twice!r}: give each a name of its own.")

    @property
    def run(self) -> Any:
        """The run that saves the training; None if there is none."""
        return next((host for host in self._hosts if getattr(host, "folder", None) is not None), None)

    def begin(
        self, model: Any, epochs: int | None, steps: int | None = None, *, marks_batches: bool = False
    ) -> None:
        """Begin a training, where a run was left if there is one.

        Args:
            model: that is trained; afterwards it is as it was saved.
            epochs: in all, those of earlier starts included; None if nobody knows.
            steps: of an epoch; None if it is one step, or nobody knows.
            marks_batches: the loop has batches, and a run fetches them.

        Raises:
            UsageError: the training before has not ended, or it is one of many that a search makes.
        """
        if self.is_saved and (search := _search()):
            raise UsageError(
                f"A Run holds one training, but {search} trains many: pass the callbacks alone, such as "
                f"outlast.frameworks.{self.library}.callbacks(outlast.EarlyStopping()), and train the best "
                "one in a Run."
            )
        if self._is_under_way and any(getattr(host, "is_running", False) for host in self._hosts):
            raise UsageError(
                "A Run is in a second training before the first has ended: give each a Run of its own."
            )
        first, self._epochs, self._is_under_way, self._marks_batches = START, epochs, True, marks_batches
        for host in self._hosts:
            host.set_model(model)
            host.set_params({"epochs": epochs, "steps": steps, "verbose": 0})
            begin = host.begin_marked if self._is_marked(host) else host.on_train_begin
            begin()
            first = max(first, getattr(host.control, "position", START))
        self.next_epoch = first.next_epoch

    def set_epochs(self, epochs: int | None) -> None:
        """It is known now how many epochs there are in all."""
        self._epochs = epochs
        for host in self._hosts:
            host.set_params({**(host.params or {}), "epochs": epochs})

    def skip(self, epochs: int) -> None:
        """So many epochs were trained before, and none of them is heard of."""
        self.next_epoch += epochs
        self.set_epochs(None if self._epochs is None else self._epochs + epochs)

    def say_inexact(self, problems: Collection[str], *, perhaps: bool = False) -> None:
        """Have the run say what a resume would not bring back, or may not; each once."""
        if self.run is not None:
            for problem in problems:
                (self.run._tell_of_loader if perhaps else self.run._tell_once)(problem)

    @property
    def controls(self) -> list[Any]:
        """Who runs the loop, as each list sees it."""
        return [host.control for host in self._hosts]

    def tell_directions(self, directions: Mapping[str, Direction | None]) -> None:
        """Tell which way metrics go, where there is no model that knows."""
        for host in self._hosts:
            host.training.directions = directions

    def begin_epoch(self) -> None:
        """The loop begins the next epoch."""
        for host in self._hosts:
            begin = host.begin_marked_epoch if self._is_marked(host) else host.on_epoch_begin
            begin(self.next_epoch)

    def _is_marked(self, host: Any) -> bool:
        return self._marks_batches and host is self.run

    def begin_batch(self, batch: int) -> None:
        """The loop begins a batch of the epoch, from 0."""
        for host in self._hosts:
            if (hear := host._hook("on_train_batch_begin")) is not None:
                hear(batch, {})

    def end_batch(self, batch: int, logs: Callable[[], Mapping[str, Any]]) -> bool:
        """The batch has ended; tells whether anybody heard.

        Args:
            batch: from 0.
            logs: gives what there is of the batch.
        """
        hearing = [hear for host in self._hosts if (hear := host._hook("on_train_batch_end")) is not None]
        found = logs() if hearing else {}
        for hear in hearing:
            hear(batch, dict(found))
        return bool(hearing)

    def begin_validation(self, loaders: Collection[Any] = ()) -> None:
        """A validation begins, which goes through these loaders."""
        self.meet_validation(loaders)
        for host in self._hosts:
            host.on_test_begin()

    def meet_validation(self, loaders: Collection[Any]) -> None:
        """Validations will go through these loaders."""
        if self.run is not None:
            self.run.begin_fetched_validation(loaders)

    def end_validation_batch(self) -> None:
        """A batch of it has ended: a signal may end the training here."""
        if self.run is not None:
            self.run.safe_point()

    def end_validation(self) -> None:
        """It has ended."""
        for host in self._hosts:
            host.on_test_end()

    def end_epoch(self, logs: Mapping[str, Any]) -> None:
        """The epoch has ended; every callback hears of it, even if one asks for the end."""
        epoch, self.next_epoch = self.next_epoch, self.next_epoch + 1
        for host in self._hosts:
            if self._is_marked(host):
                host.end_marked_batches()
            host.on_epoch_end(epoch, dict(logs))

    def judge_loss(self, logs: Mapping[str, Any]) -> None:
        """Have TerminateOnNaN, which looks at batches, look at a round, which has none.

        Args:
            logs: of the round; without data of the training's own, the loss of held-out data counts.
        """
        loss = logs.get("loss", logs.get("val_loss"))
        for one in self.callbacks:
            if isinstance(one, TerminateOnNaN) and loss is not None:
                one.on_batch_end(0, {"loss": loss})

    def ends_with_epoch(self) -> None:
        """The loop ends with the epoch at hand, as it was asked to: that is all there is to train."""
        self.set_epochs(self.next_epoch + 1)

    def leave(self) -> None:
        """An error has ended the loop."""
        self._is_under_way = False
        for host in self._hosts:
            if hasattr(host, "leave"):  # of a run
                host.leave()

    def end(self) -> None:
        """The training has ended; by somebody else, if epochs are left and no callback asked for it."""
        if not self.has_ended:
            for host in self._hosts:
                host.control.stop("something outside the callbacks stopped the training")
        self._is_under_way = False
        for host in self._hosts:
            host.on_train_end()


class MadeAgain:
    """What a library calls, where it is copied: the same object, and in another process callbacks anew.

    Estimators are cloned with what they are given, and saved with it. A copy of a ``Run`` would be a second
    one on the same folder.
    """

    _driven: Driven

    def __copy__(self) -> MadeAgain:
        return self

    def __deepcopy__(self, memo: Any) -> MadeAgain:
        return self

    def __reduce__(self) -> Any:
        return _made_again, (self._driven.library, self._driven.items_elsewhere())


def _made_again(library: str, items: Sequence[Any]) -> Any:
    return import_module(f"outlast.frameworks.{library}").callbacks(*items)[0]


class Elsewhere(Hooks):
    """Stands for a ``Run`` in a pickle or in another process: it trains nothing.

    Args:
        shown: the run, as it calls itself.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Refuse to train.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"These callbacks came out of a pickle, or into another process, and {self._shown} stayed where "
            "it was made: give the estimator callbacks with a Run of its own. A search over settings takes "
            "callbacks without a Run."
        )


def round_seed(seed: int, number: int) -> int:
    """The seed of a round: another one for each number, and for each seed of the user's."""
    return (seed * 1_000_003 + number + 1) % 2**31


def frame_of(module: str, variable: str) -> FrameType | None:
    """The frame of the library's function that trains here, which tells callbacks little of its call.

    Args:
        module: that the function is in.
        variable: that it has, and others do not.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == module and variable in frame.f_locals:
            return frame
        frame = frame.f_back
    return None


def refuse_two_lists(lists: Sequence[Driven]) -> None:
    """Refuse a run whose library calls other callbacks of ours beside it.

    Args:
        lists: all that the library calls in one training.

    Raises:
        UsageError: there is a run among several.
    """
    if len(lists) > 1 and any(one.is_saved for one in lists):
        raise UsageError(
            "A Run and other callbacks of outlast are in the same training in lists of their own, so the "
            "Run would not save them: pass one list, with all callbacks in the Run, "
            f"callbacks=outlast.frameworks.{lists[0].library}.callbacks(run)."
        )


_TRAINED_ON = ("train", "training", "dtrain")


def trained_on(sets: Iterable[tuple[str, Any]], own: Any) -> frozenset[str]:
    """The names of the sets that are the training's own data; a copy of these is known by its name.

    Args:
        sets: the name of each, and its data.
        own: the data that is trained on.
    """
    sets = [*sets]
    named = {name for name, data in sets if data is own}
    return frozenset(named or {name for name, _ in sets if name in _TRAINED_ON})


def told_apart(
    sets: Mapping[str, Mapping[str, Any]],
    trained_on: Collection[str],
    monitored: Collection[str] = (),
    *,
    first: bool = False,
) -> tuple[dict[str, Any], dict[str, str]]:
    """The metrics of an epoch under Keras's names, and what ``loss`` and ``val_loss`` are among them.

    Args:
        sets: for each set of data its metrics by name, in the library's order; of a cross validation a mean
            and a standard deviation.
        trained_on: names of sets that are the training's own data.
        monitored: metrics that are also wanted under the library's own name, ``SET-METRIC``.
        first: whether the library's early stopping goes by the first set and metric, and not by the last.

    Example:
        >>> told_apart({"train": {"auc": 0.9}, "valid": {"auc": 0.8, "error": 0.3}}, ["train"])
        ({'auc': 0.9, 'loss': 0.9, 'val_auc': 0.8, 'val_error': 0.3, 'val_loss': 0.3},
         {'loss': 'auc', 'val_loss': 'val_error'})
    """
    logs: dict[str, Any] = {}
    meant: dict[str, str] = {}
    others = [name for name in sets if name not in trained_on]
    held_out = next(iter(others if first else reversed(others)), None)
    trained = next((name for name in sets if name in trained_on), None)
    for data, metrics in sets.items():
        prefix = {held_out: "val_", trained: ""}.get(data, f"{data}-")
        for metric, value in metrics.items():
            found = {prefix + metric: value}
            if f"{data}-{metric}" in monitored:
                found[f"{data}-{metric}"] = value
                meant[f"{data}-{metric}"] = prefix + metric
            for name, one in found.items():
                logs |= {name: one[0], f"{name}_std": one[1]} if isinstance(one, tuple) else {name: one}
        loss = prefix + "loss"
        if metrics and data in (held_out, trained) and loss not in logs:
            meant[loss] = prefix + [*metrics][0 if first else -1]
            logs[loss] = logs[meant[loss]]
    return logs, meant


_SEARCHES = tuple(
    f"sklearn.{one}"
    for one in (
        *("calibration", "ensemble", "feature_selection", "inspection", "model_selection", "multiclass"),
        "multioutput",
    )
)


def _search() -> str:
    """What of scikit-learn trains here again and again; "" if nothing does."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith(_SEARCHES):
            return name.rpartition("._")[0] or name
        frame = frame.f_back
    return ""


def _hosts(callbacks: Sequence[Any]) -> list[Any]:
    """Runs and lists as they are, and one list of the others between two of them."""
    hosts: list[Any] = []
    others: list[Any] = []
    for one in callbacks:
        if isinstance(one, CallbackList):
            hosts += [CallbackList(others)] if others else []
            hosts.append(one)
            others = []
        else:
            others.append(one)
    return [*hosts, CallbackList(others)] if others or not hosts else hosts
