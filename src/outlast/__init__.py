"""Keras's training callbacks for any loop, and runs that resume after a crash.

Each public name is loaded when it is first used, so ``import outlast`` imports no framework.
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
    from outlast.callbacks.learning_rate_scheduler import LearningRateScheduler as LearningRateScheduler
    from outlast.callbacks.list import CallbackList as CallbackList
    from outlast.callbacks.model_checkpoint import ModelCheckpoint as ModelCheckpoint
    from outlast.callbacks.progress_line import ProgressLine as ProgressLine
    from outlast.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau as ReduceLROnPlateau
    from outlast.callbacks.terminate_on_nan import TerminateOnNaN as TerminateOnNaN
    from outlast.callbacks.time_limit import TimeLimit as TimeLimit
    from outlast.core.decision import Decision as Decision
    from outlast.core.metrics import Metrics as Metrics
    from outlast.exceptions import ArgumentError as ArgumentError
    from outlast.exceptions import CapabilityError as CapabilityError
    from outlast.exceptions import DamagedFile as DamagedFile
    from outlast.exceptions import FileError as FileError
    from outlast.exceptions import MetricError as MetricError
    from outlast.exceptions import MissingExtra as MissingExtra
    from outlast.exceptions import OutlastError as OutlastError
    from outlast.exceptions import OutlastWarning as OutlastWarning
    from outlast.exceptions import RunChanged as RunChanged
    from outlast.exceptions import RunLocked as RunLocked
    from outlast.exceptions import TemplateError as TemplateError
    from outlast.exceptions import UnknownArgument as UnknownArgument
    from outlast.exceptions import UnknownDirection as UnknownDirection
    from outlast.exceptions import UnknownFormat as UnknownFormat
    from outlast.exceptions import UsageError as UsageError
    from outlast.frameworks.batches import Batches as Batches
    from outlast.inspect.saved_run import Best as Best
    from outlast.run.past import open_run as open_run
    from outlast.run.run import Run as Run
    from outlast.views.plots import plot_history as plot_history

__version__ = "0.1.0"

_ERRORS = """
    ArgumentError CapabilityError DamagedFile FileError MetricError MissingExtra OutlastError OutlastWarning
    RunChanged RunLocked TemplateError UnknownArgument UnknownDirection UnknownFormat UsageError
""".split()

# The module that each public name is loaded from, when it is first used.
_HOMES = dict.fromkeys(_ERRORS, "exceptions") | {
    "Batches": "frameworks.batches",
    "Best": "inspect.saved_run",
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
    "ProgressLine": "callbacks.progress_line",
    "ReduceLROnPlateau": "callbacks.reduce_lr_on_plateau",
    "Run": "run.run",
    "TerminateOnNaN": "callbacks.terminate_on_nan",
    "TimeLimit": "callbacks.time_limit",
    "open_run": "run.past",
    "plot_history": "views.plots",
}
_SUBPACKAGES = "callbacks core exceptions frameworks inspect run storage testing views".split()

# Callbacks of Keras that outlast has no version of: they work beside ours, except the first.
_KERAS_ONLY = (
    "BackupAndRestore OrbaxCheckpoint ProgbarLogger RemoteMonitor SwapEMAWeights TensorBoard".split()
)

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"outlast.{_HOMES[name]}"), name)
    elif name in _SUBPACKAGES:
        value = import_module(f"outlast.{name}")
    else:
        raise AttributeError(f"module 'outlast' has no attribute {name!r}.{_instead_of(name)}")
    globals()[name] = value
    return value


def _instead_of(name: str) -> str:
    """A hint, with a space before it, for a name that does not exist."""
    if name == "BackupAndRestore":
        return " A Run does that: pass fit outlast.Run(folder, callbacks) instead."
    if name in _KERAS_ONLY:
        return f" Use keras.callbacks.{name}, in the same list of callbacks."
    from outlast.exceptions import nearest

    return nearest(name, __all__)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
