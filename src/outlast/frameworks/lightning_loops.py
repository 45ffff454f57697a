"""Lightning's own loops: how far they are, what was logged so far, and which schedulers they step.

What is saved is put back as if the loops had come there by themselves. Lightning's own way to restart would
leave out a validation, or a scheduler that waits for a metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from outlast.frameworks import random_state

_NEVER = float("-inf")
_SHOWN = {"_logged_metrics": "log", "_progress_bar_metrics": "pbar"}  # beside what callbacks read


class Place:
    """Where the loops of a fit are.

    Attributes:
        is_ending: an epoch ends, and Lightning has still to log and to reset what was logged in it.
        random_waits: what was saved of the random state goes back when the next epoch begins: not inside an
            epoch, and not where it begins with making the loaders, which may draw.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """A fit begins."""
        self._before: Mapping[str, Any] = {}  # the metrics when the epoch began
        self._random: Any = None  # the random state behind the last epoch, where loaders are made after it
        self._made_in_epoch = False  # the loaders, behind that
        self.is_ending = False
        self.random_waits = False

    def begin_fit(self, trainer: Any) -> None:
        """What was saved is in place: do what Lightning does before the next epoch.

        Behind an epoch's end it steps the schedulers that wait for a metric, and counts the epoch. Inside an
        epoch that began with making the loaders, they are to be made so once more.
        """
        fit = trainer.fit_loop
        if is_at_epochs_end(trainer):
            fit.epoch_loop.update_lr_schedulers("epoch", update_plateau_schedulers=True)
            for count in (fit.epoch_progress.current, fit.epoch_progress.total):
                count.completed = count.processed
            self._note_random(trainer)
        elif self._made_in_epoch:
            fit._last_train_dl_reload_epoch = _NEVER
            random_state.restore(self._random)

    def begin_epoch(self, trainer: Any) -> None:
        """An epoch begins."""
        self._before = dict(trainer.callback_metrics)
        made = trainer.fit_loop._last_train_dl_reload_epoch
        self._made_in_epoch = self._random is not None and made == trainer.current_epoch

    @contextmanager
    def ending(self, trainer: Any) -> Iterator[None]:
        """Inside this an epoch ends."""
        self.is_ending = True
        try:
            yield
        finally:
            self.is_ending = False
        self._note_random(trainer)

    def _note_random(self, trainer: Any) -> None:
        if trainer.reload_dataloaders_every_n_epochs:
            self._random = random_state.collect()

    def logged(self, trainer: Any) -> dict[str, Any]:
        """What was logged in the epoch: Lightning keeps what was logged in one before, too."""
        metrics = trainer.callback_metrics
        return {name: value for name, value in metrics.items() if value is not self._before.get(name)}

    def cut_short(self, trainer: Any) -> str:
        """Says what a resume does not do as a training that had gone on; "" if there is nothing."""
        if not is_cut_short(trainer):
            return ""
        progress = trainer.fit_loop.epoch_loop.batch_progress
        epoch = trainer.fit_loop.epoch_progress.current.processed
        return (
            f"epoch {epoch} was ended after {progress.current.ready} of its batches, and is not gone on "
            "with: ask for as many steps from the beginning"
        )

    def resets(self, trainer: Any, metric: Any) -> bool:
        """Whether Lightning is about to reset a metric of torchmetrics, which was logged in the epoch."""
        if not is_at_epochs_end(trainer):
            return False
        logged = trainer.fit_loop.epoch_loop._results.values()
        return any(one.value is metric for one in logged if not one.is_tensor)

    def saved(self, trainer: Any) -> dict[str, Any]:
        """All of it that a resume needs."""
        fit, is_inside = trainer.fit_loop, not is_at_epochs_end(trainer)
        metrics = dict(trainer._logger_connector._callback_metrics)
        shown = _shown(trainer._logger_connector)
        return {
            "progress": {**fit.state_dict(), "state_dict": {}},  # the loaders' are the run's affair
            "loaders": [_number(one) for one in _made(trainer)],
            "kinds": kinds(trainer),
            "schedulers": [one.state_dict() for one in schedulers(trainer)],
            "metrics": metrics,
            "shown": shown,
            "before": [name for name, value in metrics.items() if value is self._before.get(name)],
            "results": _results(fit.epoch_loop._results) if is_inside else {},
            "random": self._random if is_inside and self._made_in_epoch else None,
        }

    def put_back(self, trainer: Any, state: Mapping[str, Any]) -> None:
        """Have the loops be where they were."""
        fit = trainer.fit_loop
        fit.load_state_dict(state["progress"])
        inner = fit.epoch_loop
        for loop in (fit, inner, inner.val_loop, inner.automatic_optimization, inner.manual_optimization):
            loop.on_iteration_done()  # it is no restart
        made = [_NEVER if one < 0 else one for one in state["loaders"]]
        fit._last_train_dl_reload_epoch, inner.val_loop._last_val_dl_reload_epoch = made
        for one, saved in zip(schedulers(trainer), state["schedulers"], strict=True):
            one.load_state_dict(saved)
        metrics = dict(state["metrics"])
        trainer._logger_connector._callback_metrics = metrics
        for name, values in state["shown"].items():
            setattr(trainer._logger_connector, name, dict(values))
        self._before = {name: metrics[name] for name in state["before"]}
        self._random, self._made_in_epoch = state["random"], state["random"] is not None
        self.random_waits = is_at_epochs_end(trainer) and not _reloads(trainer)
        if not self.is_ending:
            _put_results(trainer, state["results"])
        if fit._data_fetcher is not None:
            fit._data_fetcher.fetched = inner.batch_progress.current.ready


def _shown(connector: Any) -> dict[str, Any]:
    """What ``trainer.logged_metrics`` and the like are, and will be when the epoch has ended."""
    now = connector.metrics if connector.trainer._results is not None else {}
    return {name: {**getattr(connector, name), **now.get(kind, {})} for name, kind in _SHOWN.items()}


def schedulers(trainer: Any) -> list[Any]:
    """The schedulers that Lightning steps, or that the module steps itself."""
    return [config.scheduler for config in trainer.lr_scheduler_configs]


def kinds(trainer: Any) -> list[str]:
    """The classes of these."""
    return [type(one).__name__ for one in schedulers(trainer)]


def _reloads(trainer: Any) -> bool:
    """Whether the epoch that is about to begin begins with making the loaders again."""
    fit, every = trainer.fit_loop, trainer.reload_dataloaders_every_n_epochs
    return bool(every) and fit.epoch_progress.current.processed - fit._last_train_dl_reload_epoch >= every


def is_at_epochs_end(trainer: Any) -> bool:
    """Whether the epoch is over, and not counted yet."""
    progress = trainer.fit_loop.epoch_progress.current
    return bool(progress.processed > progress.completed)


def is_cut_short(trainer: Any) -> bool:
    """Whether the epoch is over before its last batch."""
    return is_at_epochs_end(trainer) and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def _made(trainer: Any) -> list[float]:
    """The epochs in which the loaders were made, of the training and of the validation."""
    fit = trainer.fit_loop
    return [fit._last_train_dl_reload_epoch, fit.epoch_loop.val_loop._last_val_dl_reload_epoch]


def _number(epoch: float) -> int:
    return -1 if epoch == _NEVER else int(epoch)


# What was logged in the epoch so far.

_FLAGS = (
    *("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph", "add_dataloader_idx"),
    *("dataloader_idx", "metric_attribute"),
)

_PYTHONS = {"max": max, "min": min, "sum": sum}  # which Lightning tells from those of torch


def _results(results: Any) -> dict[str, Any]:
    """Means and sums of what the module has logged, but not those of a torchmetrics object."""
    return {key: _of(one) for key, one in results.items() if one.is_tensor and not one.has_reset}


def _of(one: Any) -> dict[str, Any]:
    meta = one.meta
    return {
        "meta": {name: getattr(meta, name) for name in _FLAGS},
        "reduced": meta.reduce_fx.__name__,
        "is_pythons": meta.reduce_fx in _PYTHONS.values(),
        "sync": {"_should": meta.sync.should, "rank_zero_only": meta.sync.rank_zero_only},
        "value": one.value,
        "size": getattr(one, "cumulated_batch_size", None),
    }


def _put_results(trainer: Any, state: Mapping[str, Any]) -> None:
    results = trainer.fit_loop.epoch_loop._results
    kinds = import_module(type(results).__module__)
    results.reset()
    for key, saved in state.items():
        name = saved["reduced"]
        reduced = _PYTHONS[name] if saved["is_pythons"] else name
        meta = kinds._Metadata(**saved["meta"], reduce_fx=reduced)
        meta.sync = kinds._Sync(fn=trainer.strategy.reduce, **saved["sync"])
        one = results[key] = kinds._ResultMetric(meta, True).to(saved["value"].device)
        one.value, one._update_count = saved["value"], 1
        if saved["size"] is not None:
            one.cumulated_batch_size = saved["size"]
    # With True the first that is logged adds to what there is.
    trainer._logger_connector._first_loop_iter = True if state else None
