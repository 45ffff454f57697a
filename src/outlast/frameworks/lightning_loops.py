"""Lightning's own loops: how far they are, what was logged so far, and which schedulers they step."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from outlast.core.asking import asked


def schedulers(trainer: Any) -> list[Any]:
    """The schedulers that Lightning steps, or that the module steps itself."""
    return [config.scheduler for config in trainer.lr_scheduler_configs]


def _all(trainer: Any) -> list[Any]:
    fit = trainer.fit_loop
    inner = fit.epoch_loop
    return [fit, inner, inner.val_loop, inner.automatic_optimization, inner.manual_optimization]


def reloads(trainer: Any) -> bool:
    """Whether the next epoch begins with making the loaders again."""
    return bool(trainer.fit_loop._should_reload_train_dl)


def saved(trainer: Any) -> dict[str, Any]:
    """Where the loops are, and what a resume needs beside."""
    fit = trainer.fit_loop
    progress = fit.state_dict()
    progress["state_dict"] = {}  # of loaders, which the run has
    logged = trainer._logger_connector
    return {
        "progress": progress,
        "loaded": [_number(fit._last_train_dl_reload_epoch), _number(_validation(trainer))],
        "schedulers": [one.state_dict() for one in schedulers(trainer)],
        "metrics": dict(logged._callback_metrics),
        "results": {} if is_at_epochs_end(trainer) else _results(fit.epoch_loop._results),
    }


def _number(value: float) -> int:
    return -1 if value == float("-inf") else int(value)


def _validation(trainer: Any) -> float:
    found: float = asked(trainer.fit_loop.epoch_loop.val_loop, "_last_val_dl_reload_epoch", -1)
    return found


def put_back(trainer: Any, state: Mapping[str, Any]) -> None:
    """Have the loops be where they were, as if they had come there by themselves."""
    fit = trainer.fit_loop
    fit.load_state_dict(state["progress"])
    for loop in _all(trainer):
        loop.on_iteration_done()  # it is no restart
    train, validation = state["loaded"]
    fit._last_train_dl_reload_epoch = train
    fit.epoch_loop.val_loop._last_val_dl_reload_epoch = validation
    for one, known in zip(schedulers(trainer), state["schedulers"], strict=True):
        one.load_state_dict(known)
    trainer._logger_connector._callback_metrics = dict(state["metrics"])
    if state["results"]:
        _put_results(trainer, state["results"])
    if fit._data_fetcher is not None:
        fit._data_fetcher.fetched = fit.epoch_loop.batch_progress.current.ready


def begin_next_epoch(trainer: Any) -> None:
    """Behind a resume point at an epoch's end: do what Lightning does after its callbacks have heard of it.

    It steps the schedulers that wait for a metric, and counts the epoch.
    """
    if not is_at_epochs_end(trainer):
        return
    trainer.fit_loop.epoch_loop.update_lr_schedulers("epoch", update_plateau_schedulers=True)
    progress = trainer.fit_loop.epoch_progress
    for count in (progress.current, progress.total):
        count.completed = count.processed


def is_at_epochs_end(trainer: Any) -> bool:
    """Whether the epoch is over, and not counted yet."""
    progress = trainer.fit_loop.epoch_progress.current
    return bool(progress.processed > progress.completed)


# What was logged in the epoch so far.

_FLAGS = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "enable_graph", "add_dataloader_idx")


def _results(results: Any) -> dict[str, Any]:
    """Means and sums of what the module has logged, but not those of a torchmetrics object."""
    return {key: _of(one) for key, one in results.items() if one.is_tensor and not one.has_reset}


def _of(one: Any) -> dict[str, Any]:
    meta = one.meta
    return {
        "meta": {name: getattr(meta, name) for name in (*_FLAGS, "dataloader_idx", "metric_attribute")},
        "reduced": meta.reduce_fx.__name__,
        "sync": {"_should": meta.sync.should, "rank_zero_only": meta.sync.rank_zero_only},
        "value": one.value,
        "size": getattr(one, "cumulated_batch_size", None),
    }


def _put_results(trainer: Any, state: Mapping[str, Any]) -> None:
    results = trainer.fit_loop.epoch_loop._results
    kinds = import_module(type(results).__module__)
    results.reset()
    for key, saved in state.items():
        meta = kinds._Metadata(**saved["meta"], reduce_fx=saved["reduced"])
        meta.sync = kinds._Sync(fn=trainer.strategy.reduce, **saved["sync"])
        one = results[key] = kinds._ResultMetric(meta, True).to(saved["value"].device)
        one.value, one._update_count = saved["value"], 1
        if saved["size"] is not None:
            one.cumulated_batch_size = saved["size"]
    trainer._logger_connector._first_loop_iter = True  # or the first that is logged resets them
