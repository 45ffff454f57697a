"""Keras, on every backend: what is trained, and its ``fit``, which runs the loop.

Variables are matched by position, shape and type, never by path: paths count up when a notebook cell
runs twice, and change with what builds the optimizer. On JAX a model's variables are empty between
steps; whoever reads them asks the trainer to sync first.
"""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from outlast.core.asking import has
from outlast.core.monitor import Direction, direction_of
from outlast.core.run_state import START, Position
from outlast.exceptions import ArgumentError, CapabilityError, MissingExtra, RunChanged, skip_frames_of, warn
from outlast.frameworks import archives, keras_flags, keras_held, keras_layers, keras_steps, loaders, modules
from outlast.frameworks.attributes import Attribute, Attributes, told
from outlast.frameworks.base import Capability, Control, Followed, Snapshot, Training, weakly
from outlast.frameworks.batches import Batches
from outlast.frameworks.description import settings_of, text
from outlast.frameworks.keras_saving import KerasSave
from outlast.frameworks.keras_template import Template
from outlast.frameworks.keras_values import Values
from outlast.storage.format.dtypes import Bits

skip_frames_of("keras")


def training(model: Any, optimizer: Any) -> Training:
    """The Training of a Keras model, or of an object that looks like one."""
    if optimizer is not None:
        raise ArgumentError(
            "optimizer= is for PyTorch; a Keras model has its own: model.compile(optimizer=...)."
        )
    return KerasTraining(model)


def control(model: Any) -> Control:
    """The Control of ``model.fit``."""
    return KerasControl(model)


_SAFE_H5 = (3, 11, 3)  # the first Keras whose safe mode counts for HDF5, too


class KerasTraining(Training):
    """A Keras model and its optimizer."""

    framework = "this Keras model"
    capabilities: frozenset[Capability] = frozenset({"learning_rate", "weights", "saving", "state"})

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._held: dict[str, Callable[[], Any]] | None = None
        self._attributes: dict[str, Attributes] = {}  # of the model, and of each part
        self._flags = keras_flags.Flags()
        self.values = Values()
        self.templates: dict[str, Template | None] = {}  # of files, by their suffix

    @property
    def model(self) -> Any:
        """The model, its variables filled.

        On JAX the variables are empty between steps, until the trainer is asked to sync; a
        distributed torch model wraps the one that can be saved.
        """
        model = self._unwrapped
        self.values.fill(model)
        return model

    @property
    def _unwrapped(self) -> Any:
        model = self._model()
        return model.module if type(model).__name__ == "DistributedDataParallel" else model

    def require(self, capability: Capability, who: str) -> None:
        """Check that the callback can do its work with this model."""
        super().require(capability, who)
        if capability != "learning_rate":
            return
        from keras import ops

        if getattr(self._model(), "optimizer", None) is None:
            raise CapabilityError(
                f"{who} needs an optimizer, and this model has none: call model.compile(optimizer=...) first."
            )
        for optimizer in self.optimizers.values():
            if not hasattr(optimizer, "learning_rate"):
                raise CapabilityError(f'Optimizer must have a "learning_rate" attribute for {who}.')
            try:  # to set it to what it is: a schedule refuses, in whatever it is wrapped
                optimizer.learning_rate = float(ops.convert_to_numpy(optimizer.learning_rate))
            except (AttributeError, TypeError, ValueError) as error:
                raise CapabilityError(
                    "This optimizer was created with a `LearningRateSchedule` object (or a function) as its "
                    f"`learning_rate`, which {who} cannot set. Create it with a number, such as "
                    "learning_rate=1e-3, or leave the callback out."
                ) from error

    @property
    def optimizers(self) -> dict[str, Any]:
        """The model's optimizer and those that it holds in attributes, or those that they are made of.

        Equal names get their index added.
        """
        several = [
            (name or _name(one), one)
            for name, optimizer in self._optimizers().items()
            for one in getattr(optimizer, "optimizers", [optimizer])
        ]
        names = [name for name, _ in several]
        return {
            name if names.count(name) == 1 else f"{name}_{index}": one
            for index, (name, one) in enumerate(several)
        }

    def _optimizers(self) -> dict[str, Any]:
        """The model's optimizer under the name "", and the others by the attribute that holds them."""
        model = self._model()
        optimizer = getattr(model, "optimizer", None)
        main = {} if optimizer is None else {"": optimizer}
        if self._held is None:
            self._find_held(model)
        held = {place: one() for place, one in (self._held or {}).items()}
        return {**main, **{place: one for place, one in held.items() if one is not None}}

    def _find_held(self, model: Any) -> keras_held.Held:
        """Look through the model, and remember its optimizers until it is looked through again."""
        held = keras_held.held(model)
        self._held = {place: weakly(one) for place, one in held.optimizers.items()}
        return held

    def learning_rates(self) -> dict[str, float]:
        """The rates in force, by the optimizer's name."""
        from keras import ops

        return {
            name: float(ops.convert_to_numpy(optimizer.learning_rate))
            for name, optimizer in self.optimizers.items()
            if hasattr(optimizer, "learning_rate")
        }

    def rates_in_use(self) -> dict[str, float]:
        """The rates of the optimizers that have made a step; of all, if none has.

        A model that brings its own optimizers is compiled with one that nobody uses.
        """
        from keras import ops

        rates = self.learning_rates()
        if len(rates) == 1:
            return rates
        used = [name for name, one in self.optimizers.items() if int(ops.convert_to_numpy(one.iterations))]
        return {name: rate for name, rate in rates.items() if name in used} or rates

    def set_learning_rate(self, name: str, value: float) -> None:
        """Set the rate of the optimizer of that name."""
        self.optimizers[name].learning_rate = value

    def _copied_weights(self) -> Snapshot:
        """Copies of ``model.get_weights()``."""
        return Snapshot(self.model.get_weights())

    def restore_weights(self, snapshot: Snapshot) -> None:
        """Put weights back by ``model.set_weights``."""
        self.model.set_weights(snapshot.weights)

    def weights_to_arrays(self, snapshot: Snapshot) -> list[tuple[str, Any]]:
        """Named by position: paths are not unique keys (they count up in a notebook)."""
        return [(f"{index:05d}", array) for index, array in enumerate(snapshot.weights)]

    def weights_from_arrays(self, pairs: Sequence[tuple[str, Any]]) -> Snapshot:
        """The inverse of :meth:`weights_to_arrays`."""
        return Snapshot([array for _, array in sorted(pairs, key=lambda pair: pair[0])])

    def state(self) -> Any:
        """All variables: weights, seed generators, optimizers, and what the model holds besides.

        By position: paths are no keys, they count up in a notebook and change with what builds the optimizer.
        """
        model, read = self.model, self.values.look
        held = self._find_held(model)
        known = [*model.variables, *held.variables.values()]

        def saved(optimizer: Any) -> dict[str, Any]:
            arrays = [read(one) for one in optimizer.variables]
            return {"built": keras_held.built_on(optimizer, known), "variables": arrays}

        return {
            "build": [_plain(layer.get_build_config()) for layer in (model, *_layers(model))],
            "model": [read(one) for one in model.variables],
            "optimizer": saved(model.optimizer) if getattr(model, "optimizer", None) else None,
            "optimizers": {place: saved(one) for place, one in held.optimizers.items()},
            "held": {place: read(one) for place, one in held.variables.items()},
            "trainable": {} if _is_traced(model) else self._flags.changed(model),
        }

    @property
    def is_built(self) -> bool:
        """Not if TensorFlow builds it, or its optimizer, at the first batch."""
        optimizer = getattr(self.model, "optimizer", None)
        return bool(self.model.built and (optimizer is None or optimizer.built))

    def label(self, place: str) -> str:
        """With the path of the variable, since the state has a number only."""
        found = re.search(r"training/(model|optimizer/variables)/(\d+)", place)
        if not found:
            return place
        variables = (self.model if found[1] == "model" else self.model.optimizer).variables
        return f"{place}, {variables[int(found[2])].path}"

    def settable(self) -> Any:
        """The weights, without the seeds that a prediction may draw from, and the optimizer."""
        return {"model": self.model.get_weights(), "optimizer": self.state()["optimizer"]}

    def check_state(self, state: Any) -> None:
        """Compare shapes and types, after what is not built yet is built as it was."""
        model = self.model
        for layer, config in zip((model, *_layers(model)), state["build"], strict=False):
            if not layer.built and config is not None:  # TensorFlow builds at the first batch
                layer.build_from_config(config)
        _check_variables("model", model.variables, state["model"])
        held = keras_held.held(model)
        for place, variable in held.variables.items():
            if place in state["held"]:
                _check_variables(f"model's {place}", [variable], [state["held"][place]])
        known = [*model.variables, *held.variables.values()]
        for name, optimizer, saved in _saved_optimizers(model, held, state):
            if not optimizer.built and saved["built"] is not None:
                keras_held.build(name, optimizer, known, saved["built"])
            _check_variables(name, optimizer.variables, saved["variables"])

    def load_state(self, state: Any) -> None:
        """Assign all variables."""
        model = self.model
        held = keras_held.held(model)
        pairs = list(zip(model.variables, state["model"], strict=True))
        for _, optimizer, one in _saved_optimizers(model, held, state):
            pairs += zip(optimizer.variables, one["variables"], strict=True)
        pairs += [
            (one, state["held"][place]) for place, one in held.variables.items() if place in state["held"]
        ]
        for variable, array in pairs:
            self.values.assign(variable, _native(array))
        keras_flags.put(model, state.get("trainable", {}))

    def watch(self, *, loaded: bool) -> None:
        """Remember which layers are trained: where steps are traced, as they are at the first of them."""
        model = self._unwrapped
        if not loaded or _is_traced(model):
            self._flags.begin(model)

    def retrained(self) -> str:
        """Of flags that a traced step does not see."""
        model = self._unwrapped
        return self._flags.told(model) if _is_traced(model) else ""

    def description(self) -> dict[str, str]:
        """The plain attributes of the layers, by their places, and of the optimizers; and the loss.

        Keras's own ``get_config`` would import TensorFlow on every backend.
        """
        found: dict[str, str] = {}
        for index, layer in enumerate(getattr(self.model, "layers", ())):
            found |= settings_of(f"layer {index} ({type(layer).__name__})", _plain_attributes(layer))
        for index, optimizer in enumerate(self.optimizers.values()):
            place = type(optimizer).__name__ + (f" {index}" if index else "")
            found |= settings_of(place, _plain_attributes(optimizer))
        loss = getattr(self.model, "loss", None)
        return {**found, "loss": text(getattr(loss, "__name__", None) or loss)}

    @property
    def is_on_accelerator(self) -> bool:
        """Whether a variable is on another device than the CPU, as each backend names it."""
        return any("cpu" not in str(self.values.at_hand(one).device).lower() for one in self.model.variables)

    def inexact(self, params: Mapping[str, Any]) -> list[str]:
        """TensorFlow's shuffle without a seed, and its epochs of unknown length.

        ``fit`` hides its data; what came through ``run.data`` has an order of its own. A loop of one's own
        has its batches from ``run.batches``, which looks at them itself.
        """
        if next(_fits(), None) is None:
            return []
        import keras
        from keras.src.utils import rng_utils

        data = params.get("data")
        found = []
        if _hidden_order(data) and not params.get("through_run"):
            found.append(
                f"the order of the {type(data).__name__}, which fit shows nobody: give it "
                "model.fit(run.data(...), ...)"
            )
        if not (found or params.get("through_run")):
            found += _iterators_over_epochs()
        if keras.backend.backend() != "tensorflow":
            return found
        if rng_utils.get_random_seed() is None and not (found or params.get("through_run")):
            found.append(
                "the order of shuffled arrays: call keras.utils.set_random_seed(...) first, or fit "
                "run.data((x, y), batch_size=...)"
            )
        if params.get("steps") is None:
            found.append(
                "the last step of epochs of unknown length: give data that know their length, or "
                "run.data(..., steps=...)"
            )
        return found

    def changed(self, parts: Mapping[str, Any], *, inside: bool = False) -> str:
        """Of numbers and tensors in attributes of the model, its layers, and modules among the parts."""
        found: dict[str, Iterable[Attribute]] = {"": keras_layers.attributes(self._unwrapped)}
        found |= {f"{name}.": _attributes_of(part) for name, part in parts.items()}
        names = [
            f"{prefix}{name}"
            for prefix, attributes in found.items()
            for name in self._attributes.setdefault(prefix, Attributes()).changed(attributes)
        ]
        return told(
            names,
            "make it a variable, self.add_weight(trainable=False) or keras.Variable(value, trainable=False), "
            "or a part",
        )

    def load_file(self, path: str) -> Any:
        """The whole model; or this model's architecture with the weights of a weights file.

        The classes and functions of the live model are known to the loader, registered or not. What
        Keras cannot make from a file (a Lambda, a class without ``get_config``) is made from the live
        model, and gets the file's weights. Nothing in the file is run.

        Raises:
            CapabilityError: the live model cannot be copied either; the text says what can be done.
        """
        archives.check(path)
        if not path.endswith(".weights.h5"):
            own = _own_objects(self._model())
            with suppress(TypeError, ValueError, NotImplementedError):
                if own is not None or not path.endswith(".keras"):
                    return _load(path, own)
        try:
            model = _clone(self.model)
        except Exception as error:
            raise CapabilityError(
                f"Keras cannot make a second model of {type(self._model()).__name__}: {error}. Make it as "
                f"your script does, and load the weights: model.load_weights({path!r})."
            ) from error
        model.load_weights(path)
        return model

    def check_saving(self, weights_only: bool) -> None:
        """Have Keras describe the model, as it does when it saves it whole."""
        import keras

        if weights_only:
            return
        try:
            with warnings.catch_warnings():  # they come when it is saved
                warnings.simplefilter("ignore")
                keras.saving.serialize_keras_object(self._model())
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise CapabilityError(
                f"Keras cannot save this model: {reason}. Give the class a get_config(), or save its weights "
                "alone: ModelCheckpoint(save_weights_only=True)."
            ) from error

    def suffixes(self, weights_only: bool) -> tuple[str, ...]:
        """What Keras's own savers take."""
        return (".weights.h5",) if weights_only else (".keras", ".h5")

    def saving(self, weights_only: bool) -> KerasSave:
        """The whole model, or its weights."""
        return KerasSave(self, weights_only)

    def direction(self, metric: str) -> Direction | None:
        """What a compiled metric of that name says of itself.

        Source: Keras's ``MonitorCallback``: a leading ``val_`` is ignored, the last match wins.
        """
        name = metric.removeprefix("val_")
        found: Direction | None = "min" if name == "loss" else None
        for compiled in getattr(self._model(), "metrics", ()):
            if type(compiled).__name__ not in ("CompileMetrics", "MetricsList"):
                continue
            for inner in compiled.metrics:
                if inner.name == name and hasattr(inner, "_direction"):
                    found = "max" if inner._direction == "up" else "min"
        return found or self._direction_of_output(name)

    def _direction_of_output(self, name: str) -> Direction | None:
        """Of a metric of one of several outputs: an output may have any name, which tells nothing."""
        outputs = getattr(self._model(), "output_names", None) or ()
        metrics = [name.removeprefix(f"{output}_") for output in outputs if name.startswith(f"{output}_")]
        return direction_of(min(metrics, key=len)) if metrics and len(outputs) > 1 else None

    def comparison(self, direction: Direction) -> Callable[[Any, Any], Any]:
        """Keras's own operation, the one that its users find in ``monitor_op``."""
        from keras import ops

        compare: Callable[[Any, Any], Any] = ops.less if direction == "min" else ops.greater
        return compare


def _is_traced(model: Any) -> bool:
    """Whether the code of a step runs only when it is compiled, at the first batch."""
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(model, keras.Model):  # an object that looks like a model
        return False
    return keras.backend.backend() != "torch" and not model.run_eagerly


def _attributes_of(part: Any) -> Iterable[Attribute]:
    if keras_layers.layers(part):
        return keras_layers.attributes(part)
    return modules.attributes(part) if modules.is_module(part) else ()


def _callers() -> Iterator[FrameType]:
    """The frames of Keras's own functions that are being executed, the innermost first."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("keras."):
            yield frame
        frame = frame.f_back


def _hidden_order(data: Any) -> bool:
    """Whether the order or the draws of data that ``fit`` was given depend on what only they know."""
    import keras

    base = keras.utils.PyDataset
    if isinstance(data, Batches):  # the run says which epoch it is
        return False
    if isinstance(data, base):
        hooks = ("on_epoch_begin", "on_epoch_end")
        return data.workers > 1 or any(getattr(type(data), hook) is not getattr(base, hook) for hook in hooks)
    if hasattr(data, "element_spec") or hasattr(data, "__next__"):  # a tf.data.Dataset, a generator
        return True
    return bool(loaders.generators(data)) if hasattr(data, "batch_sampler") else False


def _iterators_over_epochs() -> list[str]:
    """With ``steps_per_epoch``, fit takes the next epoch from the iterator of the one before.

    Where an epoch is a pass through the data, that is a new one; PyTorch's draws when it is made, which is
    before the epoch that uses it.
    """
    import keras

    fit = next(_fits(), None)
    steps = None if fit is None else fit.f_locals.get("steps_per_epoch")
    if fit is None or not steps:
        return []
    data: Any = fit.f_locals.get("x")
    batch_size = fit.f_locals.get("batch_size") or 32
    length = data.num_batches if isinstance(data, keras.utils.PyDataset) else None
    if has(data, "shape") and data.shape:
        length = -(-data.shape[0] // batch_size)
    if length == steps and keras.backend.backend() != "torch":
        return []
    return [
        "the order with steps_per_epoch, with which fit goes on with the iterator of the epoch before: leave "
        "out steps_per_epoch, or give fit run.data(..., steps=...)"
    ]


def _fits() -> Iterator[FrameType]:
    """The calls of ``fit`` that are being executed, the innermost first."""
    return (one for one in _callers() if one.f_code.co_name == "fit")


def callbacks(*items: Any) -> Any:
    """A ready list of callbacks for ``fit``, ``evaluate`` or ``predict``, in which a batch costs less.

    Keras's own list takes a pool of threads for each batch, or waits for the metrics if one callback
    listens. That takes longer than a small step does. Here a callback is called if it listens, on the
    training's thread, and a metric becomes a number when somebody reads it. The progress line is drawn ten
    times a second. All else is as in a plain list: the same callbacks, in the same order, with the same logs.
    A plain list becomes such a one as soon as a callback of ours, or a ``Run``, is in it; so make one for
    Keras's own callbacks alone.

    Args:
        *items: a ``Run``, callbacks of ours, of Keras's or your own, or lists of them.

    Raises:
        ArgumentError: one is no callback.
        MissingExtra: Keras is not installed.

    Example:
        >>> import keras, numpy as np, outlast
        >>> model = keras.Sequential([keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> fast = outlast.frameworks.keras.callbacks(outlast.EarlyStopping("loss", patience=2))
        >>> x = np.ones((8, 2), "float32")
        >>> history = model.fit(x, x[:, :1], epochs=3, verbose=0, callbacks=fast)
        >>> history.epoch
        [0, 1, 2]

    Source: ``keras.callbacks.CallbackList``.
    """
    from outlast.callbacks.list import flat

    given = flat(items)
    try:
        import keras

        from outlast.frameworks.keras_list import FastCallbackList
    except ModuleNotFoundError as error:
        if error.name != "keras":  # such as the backend, which Keras tells best
            raise
        raise MissingExtra("keras", extra="keras", purpose="A list for Keras's fit") from error
    try:
        return FastCallbackList(given)
    except (AttributeError, TypeError) as error:
        warn(
            f"Keras {keras.__version__} does not take the faster list ({error}), so this is a plain one: the "
            "training is the same, and a batch costs what it costs in Keras."
        )
        return given


class KerasControl(Control):
    """``model.fit``, which reads ``stop_training`` after the callbacks of every epoch."""

    dispatchers = ("keras.src.callbacks",)

    def attach(self) -> None:
        """Have the list that ``fit`` has made cost no more than it must."""
        from outlast.frameworks.keras_list import quicken

        for frame in _callers():
            quicken(frame.f_locals.get("self"))

    def begin(self) -> None:
        """Forget a stop of an earlier training, whoever asked for it."""
        super().begin()
        self._loop_model.stop_training = False

    def stop(self, reason: str) -> None:
        """Set ``stop_training``."""
        super().stop(reason)
        self._loop_model.stop_training = True

    @property
    def stopping(self) -> bool:
        """Whether anybody, a callback of Keras's included, asked for the end."""
        return bool(getattr(self._loop_model, "stop_training", False))

    def beside(self) -> Sequence[Any]:
        """The callbacks of ``fit``.

        Its list hands itself to none of them, so it is looked for among the callers.
        """
        lists = (getattr(frame.f_locals.get("self"), "callbacks", None) for frame in _callers())
        return next((one for one in lists if isinstance(one, list)), ())

    def data(self) -> Any:
        """The argument ``x`` of ``fit``, looked for among the callers, too."""
        return next((one.f_locals.get("x") for one in _fits()), None)

    @property
    def step_size(self) -> int:
        """The model's ``steps_per_execution``."""
        return int(getattr(self._loop_model, "steps_per_execution", 1) or 1)

    def refused(self, callback: Any) -> str | None:
        """Keras's own way to go on after a crash tells ``fit`` another epoch to begin with."""
        if type(callback).__name__ != "BackupAndRestore":
            return None
        return "leave it out: the Run goes on where a killed training was, and both cannot say where that is"

    def interrupt_epoch(self) -> None:
        """Leave the batches of training or validation; the next hook does the rest."""
        self._loop_model.stop_training = True
        self._loop_model.stop_evaluating = True

    def resume_at(self, position: Position = START) -> None:
        """Set what ``fit`` reads right after ``on_train_begin``; it is private, and the only way."""
        if hasattr(self._loop_model, "_initial_epoch"):
            self._loop_model._initial_epoch = position.next_epoch or None

    def follow(self, training: Training, run: Any, hear: Callable[[int, int], object]) -> Followed | None:
        """Follow the call of ``fit`` that has begun the training."""
        fit = next(_fits(), None)
        if fit is None or not isinstance(training, KerasTraining):
            return None
        return keras_steps.Steps(fit, training.values, self.beside(), run, hear)

    def fill_history(self, columns: Mapping[str, Sequence[Any]], epochs: Sequence[int]) -> None:
        """Fill Keras's own History; it empties its epochs, not its values, when training begins."""
        history = getattr(self._loop_model, "history", None)
        if history is not None:
            rates_last = sorted(columns, key=lambda name: name.startswith("learning_rate"))
            history.history = {name: list(columns[name]) for name in rates_last}
            history.epoch = list(epochs)

    def attach_history(self, history: Any) -> None:
        """Set ``model.history``, as Keras's own History does."""
        self._loop_model.history = history

    def print(self, text: str) -> None:
        """Print through Keras, which may be set to log instead."""
        from keras.src.utils import io_utils

        io_utils.print_msg(text)


def load(path: str) -> Any:
    """A whole model; no code in the file is run, unless Keras was set to trust every file.

    Raises:
        DamagedFile: it would take more memory than its own length.
        TypeError, ValueError: Keras cannot make it without the user's code; a note says what can be done.
    """
    try:
        return _load(path)
    except (TypeError, ValueError, NotImplementedError) as error:
        error.add_note(
            "outlast: if the model has classes or functions of yours, give them to Keras: "
            f"keras.saving.load_model({path!r}, custom_objects={{...}}). If the file has weights alone, "
            "make the model as your script does, and load them: model.load_weights(path)."
        )
        raise


def _load(path: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The same, with classes and functions that the file names."""
    import keras

    if path.endswith(".h5") and _version(keras.__version__) < _SAFE_H5:
        raise CapabilityError(
            f"Keras {keras.__version__} runs code in {path} if there is any: if you trust the file, load it "
            "with keras.saving.load_model, or install a newer Keras."
        )
    archives.check(path)
    return keras.saving.load_model(path, custom_objects=dict(custom_objects or {}), safe_mode=True)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(".")[:3] if one.isdecimal())


def _plain_attributes(thing: Any) -> dict[str, Any]:
    """What tells how a layer or an optimizer was made; a function by its name."""
    found = {}
    for name, value in vars(thing).items():
        value = getattr(value, "__name__", value) if inspect.isfunction(value) else value
        if name[0] != "_" and name not in ("name", "built") and isinstance(value, (bool, int, float, str)):
            found[name] = value
    return found


def _own_objects(model: Any) -> dict[str, Any] | None:
    """The classes and functions of the user's that the model is made of, by name; None if two share one."""
    parts = [model, *_layers(model), getattr(model, "loss", None), *getattr(model, "metrics", ())]
    parts += [getattr(model, "optimizer", None)]
    values = [value for part in parts if hasattr(part, "__dict__") for value in vars(part).values()]
    objects: list[Any] = [*map(type, parts), *filter(inspect.isfunction, (*parts, *values))]
    own = [one for one in objects if one.__module__.partition(".")[0] not in ("keras", "builtins")]
    found = {one.__name__: one for one in own}
    return found if all(found[one.__name__] is one for one in own) else None


def _layers(model: Any) -> list[Any]:
    inner = [layer for layer in getattr(model, "layers", ()) if layer is not model]
    return [one for layer in inner for one in (layer, *_layers(layer))]


def _clone(model: Any) -> Any:
    """A model of the same architecture, whose layers call the same functions as the live one's.

    A layer that cannot be made again is shared if it has no weights. The copy is compiled if it can be.
    """
    import keras

    def cloned(layer: Any) -> Any:
        if hasattr(layer, "layers"):
            return _clone(layer)
        try:
            return layer.__class__.from_config(_live_config(layer))
        except Exception:
            if layer.weights:
                raise
            return layer

    with keras.saving.custom_object_scope(_own_objects(model) or {}):
        if not (hasattr(model, "operations") or isinstance(model, keras.Sequential)):
            copy = type(model).from_config(model.get_config())
            copy.build_from_config(model.get_build_config())
            return copy
        compiled, model.compiled = model.compiled, False  # a loss that has no name cannot be compiled by it
        try:
            copy = keras.models.clone_model(model, clone_function=cloned)
        finally:
            model.compiled = compiled
        if compiled:
            with suppress(Exception):
                copy.compile_from_config(model.get_compile_config())
        return copy


def _live_config(layer: Any) -> dict[str, Any]:
    """A layer's configuration, with the functions that it calls instead of their names."""
    config: dict[str, Any] = layer.get_config()
    live = {name: getattr(layer, name, None) for name in config}
    return {name: live[name] if inspect.isfunction(live[name]) else value for name, value in config.items()}


def _name(optimizer: Any) -> str:
    """Its name, without the number that Keras adds to each further one that a process makes."""
    name = str(getattr(optimizer, "name", "optimizer"))
    kind, _, number = name.rpartition("_")
    is_numbered = number.isdecimal() and kind.replace("_", "") == type(optimizer).__name__.lower()
    return kind if is_numbered else name


def _saved_optimizers(model: Any, held: keras_held.Held, state: Any) -> list[tuple[str, Any, Any]]:
    """Each optimizer that is there and was saved, with its name and with what was saved of it."""
    there = {"": getattr(model, "optimizer", None), **held.optimizers}
    saved = {"": state["optimizer"], **state["optimizers"]}
    return [
        (f"optimizer {place}".rstrip(), one, saved[place])
        for place, one in there.items()
        if one is not None and saved.get(place) is not None
    ]


def _check_variables(part: str, variables: Sequence[Any], arrays: Sequence[Any]) -> None:
    """Compare shapes and types by position, before anything is assigned."""
    differences = [
        f"{getattr(variable, 'path', part)}: {array.dtype} {tuple(array.shape)} in the run, "
        f"{_dtype(variable)} {tuple(variable.shape)} in this code"
        for variable, array in zip(variables, map(_native, arrays), strict=False)
        if tuple(variable.shape) != tuple(array.shape) or _dtype(variable) != str(array.dtype)
    ]
    if len(variables) != len(arrays):
        differences.append(f"{len(arrays)} variables in the run, {len(variables)} in this code")
    if differences:
        raise RunChanged(f"the {part} is another one: " + "; ".join(differences[:5]))


def _dtype(variable: Any) -> str:
    """The type that a variable's numbers have: JAX keeps 64 bits as 32, whatever the variable says."""
    import keras

    holder = variable.value if isinstance(variable, keras.Variable) else variable
    name: str = keras.utils.standardize_dtype(holder.dtype)
    return name


def _plain(config: Any) -> Any:
    """Without Keras's own kinds of lists and dicts, which a loaded model has in it."""
    if isinstance(config, Mapping):
        return {name: _plain(value) for name, value in config.items()}
    return [_plain(one) for one in config] if isinstance(config, (list, tuple)) else config


def _native(array: Any) -> Any:
    return array.numpy() if isinstance(array, Bits) else array
