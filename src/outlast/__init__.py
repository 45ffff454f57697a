"""Training callbacks that lose nothing.

The names below are loaded when they are first used: importing outlast imports no framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outlast.callbacks.base import Callback as Callback
    from outlast.callbacks.csv_logger import CSVLogger as CSVLogger
    from outlast.callbacks.early_stopping import EarlyStopping as EarlyStopping
    from outlast.callbacks.history import History as History
    from outlast.callbacks.lambda_callback import LambdaCallback as LambdaCallback
    from outlast.callbacks.learning_rate_scheduler import (
        LearningRateScheduler as LearningRateScheduler,
    )
    from outlast.callbacks.list import CallbackList as CallbackList
    from outlast.callbacks.model_checkpoint import ModelCheckpoint as ModelCheckpoint
    from outlast.callbacks.progress_line import ProgressLine as ProgressLine
    from outlast.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau as ReduceLROnPlateau
    from outlast.callbacks.terminate_on_nan import TerminateOnNaN as TerminateOnNaN
    from outlast.callbacks.time_limit import TimeLimit as TimeLimit
    from outlast.core.decision import Decision as Decision
    from outlast.core.metrics import Metrics as Metrics
    from outlast.exceptions import OutlastError as OutlastError
    from outlast.exceptions import OutlastWarning as OutlastWarning
    from outlast.inspect.record import Best as Best
    from outlast.run.past import open_run as open_run
    from outlast.run.run import Run as Run
    from outlast.views.plots import plot_history as plot_history

__version__ = "0.1.0"

_HOMES = {
    "Best": "inspect.record",
    "Callback": "callbacks.base",
    "CallbackList": "callbacks.list",
    "CSVLogger": "callbacks.csv_logger",
    "Decision": "core.decision",
    "EarlyStopping": "callbacks.early_stopping",
    "History": "callbacks.history",
    "LambdaCallback": "callbacks.lambda_callback",
    "LearningRateScheduler": "callbacks.learning_rate_scheduler",
    "Metrics": "core.metrics",
    "ModelCheckpoint": "callbacks.model_checkpoint",
    "OutlastError": "exceptions",
    "OutlastWarning": "exceptions",
    "ProgressLine": "callbacks.progress_line",
    "ReduceLROnPlateau": "callbacks.reduce_lr_on_plateau",
    "Run": "run.run",
    "TerminateOnNaN": "callbacks.terminate_on_nan",
    "TimeLimit": "callbacks.time_limit",
    "open_run": "run.past",
    "plot_history": "views.plots",
}
_ROOMS = ("callbacks", "core", "exceptions", "frameworks", "inspect", "run", "storage", "testing", "views")

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"outlast.{_HOMES[name]}"), name)
    elif name in _ROOMS:
        value = import_module(f"outlast.{name}")
    else:
        from outlast.exceptions import nearest

        raise AttributeError(f"module 'outlast' has no attribute {name!r}.{nearest(name, __all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
