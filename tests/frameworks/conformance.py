"""One table of decisions, and the trainings through which it is run.

Each case of ``conformance.json`` is a callback's settings and a metric's values; what must come of it
was written by ``scripts/make_conformance.py``, with Keras's own classes. A new framework joins by one
line in ``TRAININGS``.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import outlast
from outlast.core.decision import Action, Decision
from outlast.core.monitor import Monitor
from outlast.core.numbers import decoded
from outlast.core.plateau import PlateauRule
from outlast.core.saving import SavingRule
from outlast.core.stopping import EarlyStoppingRule
from outlast.frameworks.base import Training as Trained
from outlast.frameworks.base import find_training
from outlast.testing import FakeAdapter, MemoryOutput

TABLE = Path(__file__).with_name("conformance.json")
MONITOR = "val_loss"


@dataclass(frozen=True)
class Case:
    """A callback and the values that it sees.

    Args:
        name: what it is about.
        callback: the class.
        settings: its arguments; a ``filepath`` is without the suffix.
        values: the metric by epoch, None where it is missing.
        first: index of the first epoch.
        expected: what must be seen; see :func:`observe`.
    """

    name: str
    callback: str
    settings: Mapping[str, Any]
    values: Sequence[float | None]
    first: int = 0
    expected: Any = None

    def logs(self, index: int) -> dict[str, float]:
        """The logs of the ``index``-th epoch that runs."""
        value = self.values[index]
        return {"loss": 0.5} if value is None else {"loss": 0.5, MONITOR: value}

    def arguments(self, suffix: str) -> dict[str, Any]:
        """The settings, with names of files as a framework wants them."""
        path = self.settings.get("filepath")
        return {**self.settings, **({} if path is None else {"filepath": path + suffix})}


def load() -> list[Case]:
    return [_case(entry) for entry in json.loads(TABLE.read_text())]


def _case(entry: dict[str, Any]) -> Case:
    seen = {
        name: [decoded(item) for item in items] if isinstance(items, list) else items
        for name, items in entry["expected"].items()
    }
    return Case(**{**entry, "values": [decoded(value) for value in entry["values"]], "expected": seen})


class Training(Protocol):
    """A framework's loop around a model of one weight, which before each epoch's end is set to epoch + 1."""

    suffix: str  # of its files

    @property
    def adapter(self) -> Trained:
        """What callbacks may do to it."""

    def run(self, callback: Any, case: Case, look: Callable[[int], None], start: int = 0) -> None:
        """Train from the ``start``-th value on; call ``look(epoch)`` after each epoch."""

    def weight(self) -> float:
        """The model's weight."""

    def rate(self) -> float:
        """The learning rate, which begins as 1."""

    @property
    def stopping(self) -> bool:
        """Whether the callback asked for the end."""

    def files(self) -> dict[str, Any]:
        """By name without suffix: the rows of a CSV, or the weight of a saved model."""


# What is looked at after each epoch. The bare rules give the same from their state.
ATTRIBUTES = {
    "EarlyStopping": ("best", "best_epoch", "wait", "stopped_epoch"),
    "ReduceLROnPlateau": ("best", "wait", "cooldown_counter"),
    "ModelCheckpoint": ("best",),
    "CSVLogger": (),
}


class Killed(Exception):
    """The end of a training that nobody hears of."""


def observe(
    training: Training, callback: Any, case: Case, start: int = 0, killed_after: int | None = None
) -> dict[str, Any]:
    """All that comes of a case in a training: lists with what was seen after each epoch, and the end.

    Args:
        training: the loop.
        callback: of the case's class.
        case: what it sees.
        start: epochs that are left out, since they were trained before.
        killed_after: epochs after which the training dies.
    """
    epochs: list[dict[str, Any]] = []

    def look(epoch: int) -> None:
        seen = {name: getattr(callback, name) for name in ATTRIBUTES[case.callback]}
        seen |= {"stop": training.stopping, "rate": training.rate()}
        if case.callback == "ModelCheckpoint":
            seen["save"] = epoch + 1 in training.files().values()
        epochs.append(seen)
        if len(epochs) == killed_after:
            raise Killed

    with suppress(Killed):
        training.run(callback, case, look, start)
    return {**columns(epochs), "weight": training.weight(), "files": training.files()}


def columns(epochs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Each thing by epoch; floats to six digits: Keras's rates are in float32."""
    names = epochs[0] if epochs else ()
    return {name: [_short(epoch[name]) for epoch in epochs] for name in names}


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


class KerasFit:
    """Keras's ``fit``, in whose logs the case's values stand."""

    suffix = ".keras"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reader = Reader(folder)
        self._model = _keras_model()

    def run(self, callback: Any, case: Case, look: Callable[[int], None], start: int = 0) -> None:
        import numpy as np

        def prepare(epoch: int, logs: dict[str, Any]) -> None:
            self._set_weight(epoch + 1)
            logs.clear()
            logs.update(case.logs(epoch - case.first))

        self._begin(start)
        before = outlast.LambdaCallback(on_epoch_end=prepare)
        after = outlast.LambdaCallback(on_epoch_end=lambda epoch, logs: look(epoch))
        zeros = np.zeros((1, 1), "float32")
        epochs = {"initial_epoch": case.first + start, "epochs": case.first + len(case.values)}
        with _inside(self._folder):
            self._model.fit(zeros, zeros, verbose=0, callbacks=[before, callback, after], **epochs)

    def _begin(self, start: int) -> None:
        """The model is one for all cases."""
        if start == 0:
            self._set_weight(0)
            self._model.optimizer.learning_rate = 1.0

    @property
    def adapter(self) -> Trained:
        return find_training(self._model)

    def _set_weight(self, value: float) -> None:
        import numpy as np

        self._model.set_weights([np.full((1, 1), value, "float32")])

    def weight(self) -> float:
        return float(self._model.get_weights()[0].item())

    def rate(self) -> float:
        import keras

        return float(keras.ops.convert_to_numpy(self._model.optimizer.learning_rate))

    @property
    def stopping(self) -> bool:
        return bool(self._model.stop_training)

    def files(self) -> dict[str, Any]:
        import keras

        return self._reader.read(lambda path: keras.saving.load_model(path).get_weights()[0].item())


class KerasHooks(KerasFit):
    """Keras's own ``CallbackList``, with the hooks called as ``fit`` calls them: fast on every backend."""

    def run(self, callback: Any, case: Case, look: Callable[[int], None], start: int = 0) -> None:
        import keras

        self._begin(start)
        self._model.stop_training = False
        with _inside(self._folder):
            callbacks = keras.callbacks.CallbackList([callback], model=self._model, epochs=len(case.values))
            _loop(callbacks, self._set_weight, case, look, start, lambda: self.stopping)


@cache
def _keras_model() -> Any:
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
    return model


class TorchLoop:
    """A PyTorch loop that calls a ``CallbackList``."""

    suffix = ".pt"

    def __init__(self, folder: Path) -> None:
        import torch

        self._folder = folder
        self._reader = Reader(folder)
        self.model = torch.nn.Linear(1, 1, bias=False)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1.0)
        self._list: Any = None

    def run(self, callback: Any, case: Case, look: Callable[[int], None], start: int = 0) -> None:
        with _inside(self._folder):
            self._list = outlast.CallbackList([callback], model=self.model, optimizer=self.optimizer)
            _loop(self._list, self._set_weight, case, look, start, lambda: self.stopping)

    @property
    def adapter(self) -> Trained:
        return find_training(self.model, self.optimizer)

    def _set_weight(self, value: float) -> None:
        self.model.weight.data.fill_(value)

    def weight(self) -> float:
        return float(self.model.weight.item())

    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def stopping(self) -> bool:
        return bool(self._list.stop_training)

    def files(self) -> dict[str, Any]:
        import torch

        return self._reader.read(lambda path: torch.load(path, weights_only=True)["weight"].item())


class JaxLoop:
    """A JAX loop that calls a ``CallbackList``: a state that is set, a rate that is passed to the step."""

    suffix = ".safetensors"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reader = Reader(folder)
        self._list: Any = None
        self._state, self._arguments = self._made(0.0), self._rates()

    def _made(self, value: float) -> Any:
        import jax.numpy as jnp

        return {"params": {"w": jnp.full(1, value, "float32")}, "step": 0}

    def _rates(self, rate: float = 1.0) -> dict[str, Any]:
        return {"learning_rate": rate}

    def run(self, callback: Any, case: Case, look: Callable[[int], None], start: int = 0) -> None:
        if self._list is not None:  # go on with what there is
            self._state, self._arguments = self._list.state, self._rates(self.rate())
        with _inside(self._folder):
            self._list = outlast.CallbackList([callback], state=self._state, **self._arguments)
            _loop(self._list, self._set_weight, case, look, start, lambda: self.stopping)

    @property
    def adapter(self) -> Trained:
        trained: Trained = self._list.training
        return trained

    def _set_weight(self, value: float) -> None:
        self._list.state = {**self._list.state, "params": self._made(value)["params"]}

    def weight(self) -> float:
        return float(self._list.state["params"]["w"][0])

    def rate(self) -> float:
        return float(self._list.training.learning_rates()["learning_rate"])

    @property
    def stopping(self) -> bool:
        return bool(self._list.stop_training)

    def files(self) -> dict[str, Any]:
        from safetensors.numpy import load_file

        return self._reader.read(lambda path: load_file(path)["w"].item())


class JaxLoopWithOptax(JaxLoop):
    """The same with the rate in the state, in float32."""

    def _made(self, value: float) -> Any:
        import optax

        state = super()._made(value)
        transform = optax.chain(optax.clip(1.0), optax.inject_hyperparams(optax.sgd)(learning_rate=1.0))
        return {**state, "opt": transform.init(state["params"])}

    def _rates(self, rate: float = 1.0) -> dict[str, Any]:
        return {}


class SklearnLoop:
    """A loop of ``partial_fit``; its weight is the number of the samples that the estimator has seen."""

    suffix = ".skops"

    def __init__(self, folder: Path) -> None:
        from sklearn.linear_model import SGDRegressor

        self._folder = folder
        self._reader = Reader(folder)
        self.model = SGDRegressor(learning_rate="constant", eta0=1.0, random_state=0)
        self._list: Any = None

    def run(self, callback: Any, case: Case, look: Callable[[int], None], start: int = 0) -> None:
        with _inside(self._folder):
            self._list = outlast.CallbackList([callback], model=self.model)
            _loop(self._list, self._set_weight, case, look, start, lambda: self.stopping)

    @property
    def adapter(self) -> Trained:
        return find_training(self.model)

    def _set_weight(self, value: float) -> None:
        import numpy as np

        more = int(value - self.weight())
        self.model.partial_fit(np.ones((more, 1)), np.ones(more))

    def weight(self) -> float:
        return float(getattr(self.model, "t_", 1.0)) - 1

    def rate(self) -> float:
        return float(self.model.eta0)

    @property
    def stopping(self) -> bool:
        return bool(self._list.stop_training)

    def files(self) -> dict[str, Any]:
        import skops.io

        return self._reader.read(lambda path: skops.io.load(path).t_ - 1)


class XGBoostTrain:
    """XGBoost's own loop, with a metric that follows the series; its weight is the number of its rounds."""

    suffix = ".ubj"
    lacks = "a metric that is missing in a round, and rounds that begin later"

    def __init__(self, folder: Path) -> None:
        import numpy as np
        import xgboost

        self._folder = folder
        self._reader = Reader(folder)
        self._data = [xgboost.DMatrix(np.ones((1, 1)), np.ones(1)) for _ in range(2)]
        self._booster: Any = None
        self._list: Any = None

    def run(self, callback: Any, case: Case, look: Callable[[int], None], start: int = 0) -> None:
        import xgboost

        class Before(xgboost.callback.TrainingCallback):
            def after_iteration(inner, model: Any, epoch: int, evals_log: Any) -> bool:
                self._booster = model
                return False

        rounds, seen = iter(range(len(case.values))), dict[str, float]()

        def metric(predicted: Any, data: Any) -> tuple[str, float]:
            if data is self._data[0]:
                seen.update(case.logs(next(rounds)))
            return "loss", seen["loss" if data is self._data[0] else MONITOR]

        after = outlast.LambdaCallback(on_epoch_end=lambda epoch, logs: look(epoch))
        self._list = outlast.CallbackList([callback, after])
        with _inside(self._folder):
            self._booster = xgboost.train(
                {"nthread": 1, "eta": 1.0, "disable_default_eval_metric": True},
                self._data[0],
                len(case.values),
                evals=[(data, name) for data, name in zip(self._data, ("train", "val"), strict=True)],
                custom_metric=metric,
                verbose_eval=False,
                callbacks=[Before(), *outlast.frameworks.xgboost.callbacks(self._list)],
            )

    @property
    def adapter(self) -> Trained:
        return find_training(self._booster)

    def weight(self) -> float:
        return float(self._booster.num_boosted_rounds())

    def rate(self) -> float:
        return self.adapter.learning_rates()["learning_rate"]

    @property
    def stopping(self) -> bool:
        return bool(self._list.stop_training)

    def files(self) -> dict[str, Any]:
        import xgboost

        return self._reader.read(lambda path: float(xgboost.Booster(model_file=path).num_boosted_rounds()))


class LightGBMTrain:
    """LightGBM's own loop, as XGBoost's; the booster is kept, or LightGBM would cut it to the best round."""

    suffix = ".txt"
    lacks = XGBoostTrain.lacks

    def __init__(self, folder: Path) -> None:
        import lightgbm
        import numpy as np

        self._folder = folder
        self._reader = Reader(folder)
        x, y = np.arange(40.0).reshape(40, 1), np.arange(40.0)
        self._data = [
            lightgbm.Dataset(x, y, params={"verbosity": -1, "min_data_in_leaf": 1}) for _ in range(2)
        ]
        self._booster: Any = None
        self._list: Any = None

    def run(self, callback: Any, case: Case, look: Callable[[int], None], start: int = 0) -> None:
        import lightgbm

        rounds, seen = iter(range(len(case.values))), dict[str, float]()

        def metric(predicted: Any, data: Any) -> tuple[str, float, bool]:
            if data is self._data[0]:
                seen.update(case.logs(next(rounds)))
            return "loss", seen["loss" if data is self._data[0] else MONITOR], False

        def before(env: Any) -> None:
            self._booster = env.model

        settings = {"num_threads": 1, "verbosity": -1}
        after = outlast.LambdaCallback(on_epoch_end=lambda epoch, logs: look(epoch))
        self._list = outlast.CallbackList([callback, after])
        with _inside(self._folder):
            self._booster = lightgbm.train(
                {**settings, "learning_rate": 1.0, "metric": "None", "num_leaves": 3, "min_data_in_leaf": 1},
                self._data[0],
                len(case.values),
                valid_sets=self._data,
                feval=metric,
                keep_training_booster=True,
                callbacks=[before, *outlast.frameworks.lightgbm.callbacks(self._list)],
            )

    @property
    def adapter(self) -> Trained:
        return find_training(self._booster)

    def weight(self) -> float:
        return float(self._booster.current_iteration())

    def rate(self) -> float:
        return self.adapter.learning_rates()["learning_rate"]

    @property
    def stopping(self) -> bool:
        return bool(self._list.stop_training)

    def files(self) -> dict[str, Any]:
        import lightgbm

        return self._reader.read(lambda path: float(lightgbm.Booster(model_file=path).current_iteration()))


class LightningFit:
    """Lightning's ``Trainer``, around a module that sets its weight and logs the case's values."""

    suffix = ".pt"
    lacks = "epochs that begin later"

    def __init__(self, folder: Path) -> None:
        import torch

        self._folder = folder
        self._reader = Reader(folder)
        self._module = _lightning_module()
        self._list: Any = None
        self._data = torch.utils.data.DataLoader([0.0])

    def run(self, callback: Any, case: Case, look: Callable[[int], None], start: int = 0) -> None:
        import lightning
        from lightning.fabric.utilities.warnings import PossibleUserWarning

        self._module.begin(case)
        after = outlast.LambdaCallback(on_epoch_end=lambda epoch, logs: look(epoch))
        self._list = outlast.CallbackList([callback, after])
        trainer = lightning.Trainer(
            max_epochs=len(case.values),
            accelerator="cpu",
            **dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False),
            enable_checkpointing=False,
            callbacks=outlast.frameworks.lightning.callbacks(self._list),
        )
        with _inside(self._folder), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=PossibleUserWarning)  # of workers, of no validation
            trainer.fit(self._module, self._data)

    @property
    def adapter(self) -> Trained:
        trained: Trained = self._list.training
        return trained

    def weight(self) -> float:
        return float(self._module.weight.item())

    def rate(self) -> float:
        return float(self._module.optimizers().param_groups[0]["lr"])

    @property
    def stopping(self) -> bool:
        return bool(self._module.trainer.should_stop)

    def files(self) -> dict[str, Any]:
        import torch

        return self._reader.read(lambda path: torch.load(path, weights_only=True)["weight"].item())


@cache
def _lightning_module() -> Any:
    import lightning
    import torch

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.automatic_optimization = False

        def begin(self, case: Case) -> None:
            self.case = case
            self.weight.data.fill_(0)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=1.0)

        def training_step(self, batch: Any, index: int) -> None:
            self.weight.data.fill_(self.current_epoch + 1)

        def on_train_epoch_end(self) -> None:
            logs = self.case.logs(self.current_epoch)
            self.log_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in logs.items()})

    return Module()


class HuggingFaceTrainer:
    """Hugging Face's Trainer, in whose evaluations the case's values stand."""

    suffix = ".pt"
    lacks = "a metric that is missing, and epochs that begin later"
    every = 5  # each case is a Trainer of its own, so one in five is taken

    def __init__(self, folder: Path) -> None:
        import torch

        self._folder = folder
        self._reader = Reader(folder)
        self._model = torch.nn.Linear(1, 1, bias=False)
        self._list: Any = None
        self._trainer: Any = None

    def run(self, callback: Any, case: Case, look: Callable[[int], None], start: int = 0) -> None:
        import torch
        import transformers

        values, model = iter(range(len(case.values))), self._model

        class Following(transformers.Trainer):
            def compute_loss(self, model: Any, *args: Any, **options: Any) -> Any:
                return model.weight.sum() * 0 + 0.5

            def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
                model.weight.data.fill_(self.state.epoch)
                found = {"eval_loss": case.logs(next(values))[MONITOR]}
                self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
                return found

        after = outlast.LambdaCallback(on_epoch_end=lambda epoch, logs: look(epoch))
        self._list = outlast.CallbackList([callback, after])
        optimizer = torch.optim.SGD(self._model.parameters(), lr=1.0)
        with _inside(self._folder), tempfile.TemporaryDirectory() as output:
            self._trainer = Following(
                model=self._model,
                args=transformers.TrainingArguments(
                    output_dir=output,
                    num_train_epochs=len(case.values),
                    eval_strategy="epoch",
                    save_strategy="no",
                    disable_tqdm=True,
                    report_to=[],
                    use_cpu=True,
                    remove_unused_columns=False,
                ),
                train_dataset=[{"x": 0.0}],
                eval_dataset=[{"x": 0.0}],
                optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)),
                callbacks=outlast.frameworks.huggingface.callbacks(self._list),
            )
            self._trainer.train()

    @property
    def adapter(self) -> Trained:
        return find_training(self._trainer)

    def weight(self) -> float:
        return float(self._model.weight.item())

    def rate(self) -> float:
        return float(self._trainer.optimizer.param_groups[0]["lr"])

    @property
    def stopping(self) -> bool:
        return bool(self._list.stop_training)

    def files(self) -> dict[str, Any]:
        import torch

        return self._reader.read(lambda path: torch.load(path, weights_only=True)["weight"].item())


class NoFramework:
    """A loop with neither a framework nor files."""

    suffix = ".txt"

    def __init__(self, folder: Path | None = None) -> None:
        self._fake = FakeAdapter({"w": [0.0]}, learning_rate=1.0)
        self.output = MemoryOutput()

    def run(self, callback: Any, case: Case, look: Callable[[int], None], start: int = 0) -> None:
        callbacks = outlast.CallbackList([callback], adapter=self._fake, output=self.output)
        _loop(callbacks, self._set_weight, case, look, start, lambda: self.stopping)

    @property
    def adapter(self) -> Trained:
        return self._fake

    def _set_weight(self, value: float) -> None:
        self._fake.weights["w"] = [float(value)]

    def weight(self) -> float:
        return self._fake.weights["w"][0]

    def rate(self) -> float:
        return self._fake.learning_rates()["fake"]

    @property
    def stopping(self) -> bool:
        return self._fake.stopping

    def files(self) -> dict[str, Any]:
        return {
            name.removesuffix(self.suffix): (
                _rows(data) if name.endswith(".csv") else ast.literal_eval(data.decode())["w"][0]
            )
            for name, data in self.output.files.items()
        }


def _loop(
    callbacks: Any,
    set_weight: Callable[[float], None],
    case: Case,
    look: Callable[[int], None],
    start: int,
    stopping: Callable[[], bool],
) -> None:
    """The loop of docs/callbacks.md, with Keras's hooks called by hand."""
    callbacks.on_train_begin()
    for epoch in range(case.first + start, case.first + len(case.values)):
        callbacks.on_epoch_begin(epoch)
        set_weight(epoch + 1)
        callbacks.on_epoch_end(epoch, case.logs(epoch - case.first))
        look(epoch)
        if stopping():
            break
    callbacks.on_train_end()


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    here = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


class Reader:
    """Reads the files of a folder; a model that has not changed is loaded once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[str, int, int], float] = {}

    def read(self, weight: Callable[[Path], float]) -> dict[str, Any]:
        return {
            path.name if path.suffix == ".csv" else path.stem: (
                _rows(path.read_bytes()) if path.suffix == ".csv" else self._weight(path, weight)
            )
            for path in sorted(self._folder.iterdir())
        }

    def _weight(self, path: Path, weight: Callable[[Path], float]) -> float:
        found = path.stat()
        key = (path.name, found.st_mtime_ns, found.st_ino)
        if key not in self._known:
            self._known[key] = weight(path)
        return self._known[key]


def _rows(content: bytes) -> list[dict[str, str]]:
    """A CSV's rows; the rate stands in them only where a ``CallbackList`` completes the logs."""
    rows = csv.DictReader(io.StringIO(content.decode(), newline=""))
    return [{name: cell for name, cell in row.items() if "learning_rate" not in name} for row in rows]


TRAININGS: dict[str, Callable[[Path], Training]] = {
    "keras": KerasHooks,
    "torch": TorchLoop,
    "jax": JaxLoop,
    "jax with optax": JaxLoopWithOptax,
    "sklearn": SklearnLoop,
    "xgboost": XGBoostTrain,
    "lightgbm": LightGBMTrain,
    "lightning": LightningFit,
    "huggingface": HuggingFaceTrainer,
    "no framework": NoFramework,
}


def through(make: Callable[[Path], Training], case: Case, module: Any = outlast) -> dict[str, Any]:
    """What comes of a case in a training of that kind."""
    with tempfile.TemporaryDirectory() as folder:
        training = make(Path(folder))
        callback = getattr(module, case.callback)(**case.arguments(training.suffix))
        return observe(training, callback, case)


# Without any training: the decisions alone.


def by_rules(case: Case) -> dict[str, list[Any]]:
    """What the bare rules decide: values in, values out."""
    rule = RULES[case.callback](dict(case.settings))
    state, rate, epochs = rule.start(), 1.0, []
    for epoch, value in enumerate(case.values, case.first):
        rates = ({"sgd": rate},) if isinstance(rule, PlateauRule) else ()
        state, decision = rule.update(state, value, *rates, epoch=epoch)
        rate = decision.learning_rate or rate
        epochs.append(_decided(case, state, decision, rate))
        if decision.stop:
            break
    return columns(epochs)


def by_update(case: Case) -> dict[str, list[Any]]:
    """What ``update()`` decides, with no loop at all."""
    callback = getattr(outlast, case.callback)(**case.settings)
    rate, epochs = 1.0, []
    for epoch, value in enumerate(case.values, case.first):
        decision = callback.update(value, epoch=epoch, learning_rate=rate)
        rate = decision.learning_rate or rate
        epochs.append(_decided(case, callback, decision, rate))
        if decision.stop:
            break
    return columns(epochs)


def _decided(case: Case, state: Any, decision: Decision, rate: float) -> dict[str, Any]:
    seen = {name: getattr(state, name) for name in ATTRIBUTES[case.callback]}
    seen |= {"stop": decision.stop, "rate": rate}
    if case.callback == "ModelCheckpoint":
        seen["save"] = decision.action is Action.SAVE
    return seen


def _monitor(settings: dict[str, Any], min_delta: float = 0.0) -> Monitor:
    min_delta = settings.pop("min_delta", min_delta)
    return Monitor(settings.pop("monitor", MONITOR), settings.pop("mode", "auto"), min_delta)


def _stopping(settings: dict[str, Any]) -> EarlyStoppingRule:
    settings.pop("restore_best_weights", None)
    return EarlyStoppingRule(_monitor(settings), **settings)


def _plateau(settings: dict[str, Any]) -> PlateauRule:
    return PlateauRule(_monitor(settings, 1e-4), **settings)


def _saving(settings: dict[str, Any]) -> SavingRule:
    settings.pop("filepath")
    return SavingRule(_monitor(settings), **settings)


RULES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "EarlyStopping": _stopping,
    "ReduceLROnPlateau": _plateau,
    "ModelCheckpoint": _saving,
}
BARE: dict[str, Callable[[Case], dict[str, list[Any]]]] = {"rules": by_rules, "update()": by_update}
