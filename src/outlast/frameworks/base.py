"""What callbacks may touch of a framework, in two protocols.

A :class:`Training` is what is trained: rates, weights, state, files. A :class:`Control` is who runs the
loop: it begins, stops, goes on at a position. They are apart because frameworks combine them: in
Lightning the training is PyTorch's and the loop is Lightning's.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal, Protocol

from outlast.core.asking import has
from outlast.core.monitor import Direction
from outlast.core.run_state import START, Moment, Position
from outlast.exceptions import ArgumentError, CapabilityError, MissingExtra
from outlast.storage.output import Save

Capability = Literal["learning_rate", "weights", "saving", "state"]

_PASS = "pass model=, a Keras model or a PyTorch module, or state= with JAX"
_NEEDS: dict[Capability, tuple[str, str]] = {
    "learning_rate": (
        "a learning rate that can be set",
        "a compiled Keras model has one; so has CallbackList(model=..., optimizer=...) with PyTorch, and "
        "with JAX CallbackList(state=..., learning_rate=...), or a state with optax.inject_hyperparams",
    ),
    "weights": ("weights that can be read and put back", _PASS),
    "saving": ("a model that can be saved", _PASS),
    "state": (
        "the model",
        "Run(folder, callbacks, model=model, optimizer=optimizer), of parameters without a module "
        "model=torch.nn.ParameterDict({...}); in Keras, pass the run to fit(callbacks=[run])",
    ),
}

# Package of a model's class -> module here with its `training` and `control`. Keras comes first: on its
# torch backend a Keras model is a torch module too. So is every LightningModule.
_FRAMEWORKS = {
    **{"keras": "keras", "tf_keras": "keras", "lightning": "lightning", "pytorch_lightning": "lightning"},
    **{"torch": "torch", "xgboost": "xgboost", "lightgbm": "lightgbm"},
    "transformers": "huggingface",  # a Trainer; its models are PyTorch's
    "sklearn": "sklearn",  # last: estimators of other packages are scikit-learn's, too
}

# Endings of model files -> module here with their `load`.
_FILES = {
    **{".keras": "keras", ".h5": "keras", ".pt": "torch", ".pth": "torch"},
    **{".safetensors": "array_files", ".npz": "array_files"},
    **{".ubj": "xgboost", ".txt": "lightgbm", ".skops": "sklearn"},
}

# Packages whose versions are noted in a run, if they are imported.
PACKAGES = (
    *("keras", "jax", "torch", "lightning", "transformers", "tensorflow", "xgboost", "lightgbm"),
    "sklearn",
)


@dataclass(frozen=True)
class Snapshot:
    """Weights as they were at one moment; never changed afterwards.

    Args:
        weights: in the framework's own form: Keras's list of arrays, PyTorch's state dict.
    """

    weights: Any


class Training:
    """What is trained. This one has no model: there is nothing to save and no rate to set.

    Each framework has a subclass; ``capabilities`` lists what it can do. It holds its model weakly, so
    that one Training can be kept for each model (see :func:`find_training`); the Control holds the model.

    Args:
        model: what is trained.

    Attributes:
        run: the open run that trains the model; None if there is none. Callbacks of ours that are passed
            to the same ``fit`` look at it, to warn that they are not saved.
    """

    framework = "a loop without a model"
    is_value = False  # what is trained is a value, which the loop sets
    without_rate = "there is no model with an optimizer, and no state, yet"
    scales_schedules = False  # to set a rate scales what schedulers compute the next ones from
    rates_were_read = False  # by the loop, through its Run or CallbackList
    batches_done: Callable[[], int] | None = None  # of the epoch, as the loop counts them
    was_trained = False  # in this process, by a Run; not so where one only gave back what was saved
    cannot_rewind = ""  # why a resume cannot begin at the resume point before the newest, to be checked
    needs_optimizer = True  # beside the model, or a resume is not exact
    directions: Mapping[str, Direction | None] = MappingProxyType({})  # of metrics, where the loop tells them
    capabilities: frozenset[Capability] = frozenset()

    def __init__(self, model: Any = None) -> None:
        self._model = weakly(model)
        self._run = weakly(None)
        self._sharing = False  # inside one_copy()
        self._shared: Snapshot | None = None  # the copy that is shared there, once somebody asked
        self._left: tuple[list[Callable[[], Any]], dict[str, float], bool] | None = None

    @property
    def model(self) -> Any:
        """The model that is trained, its state readable; None if there is none."""
        return self._model()

    @property
    def optimizers(self) -> dict[str, Any]:
        """The optimizers by name."""
        return {}

    @property
    def run(self) -> Any:
        """The open run that trains the model."""
        return self._run()

    @run.setter
    def run(self, run: Any) -> None:
        self._run = weakly(run)

    def leave(self, *, known: bool = True) -> None:
        """Remember the rates that a run leaves the optimizers with.

        Args:
            known: nobody can have changed them in between; not so once training has begun, for an error
                that ends it calls no hook.
        """
        optimizers = [weakly(one) for one in self.optimizers.values()]
        self._left = optimizers, self.learning_rates(), known

    @property
    def remembered(self) -> Any:
        """What :meth:`leave` has remembered, for :meth:`remember`."""
        return self._left

    def remember(self, remembered: Any) -> None:
        """Remember that again, and nothing that came after it."""
        self._left = remembered

    @property
    def left(self) -> tuple[dict[str, float], bool] | None:
        """The rates that a run in this process left these optimizers with, and whether that is known."""
        if self._left is None:
            return None
        optimizers, rates, known = self._left
        same = [id(one) for one in self.optimizers.values()] == [id(one()) for one in optimizers]
        return (rates, known) if same else None

    def require(self, capability: Capability, who: str) -> None:
        """Check before the first batch that a callback can do its work.

        Raises:
            CapabilityError: it cannot; the text says what could.
        """
        if capability not in self.capabilities:
            need, way_out = _NEEDS[capability]
            raise CapabilityError(f"{who} needs {need}, which {self.framework} does not have: {way_out}.")

    def learning_rates(self) -> dict[str, float]:
        """The rates in force, by the name of their optimizer or group; empty if there are none."""
        return {}

    def rates_in_use(self) -> dict[str, float]:
        """Those of :meth:`learning_rates` that steps are made with, for the columns of the history."""
        return self.learning_rates()

    def set_learning_rate(self, name: str, value: float) -> None:
        """Set one of :meth:`learning_rates`."""
        raise NotImplementedError

    def sets_rates_anew(self, scheduler: Any) -> bool:
        """Whether a scheduler computes rates from the beginning, whatever they are now."""
        return False

    @contextmanager
    def one_copy(self) -> Iterator[None]:
        """Inside this, every call of :meth:`copy_weights` returns the same copy."""
        self._sharing = True
        try:
            yield
        finally:
            self._sharing, self._shared = False, None

    def weights_may_have_changed(self) -> None:
        """Have the next :meth:`copy_weights` copy again: somebody else's code ran."""
        self._shared = None

    def copy_weights(self) -> Snapshot:
        """A copy of the weights."""
        snapshot = self._shared or self._copied_weights()
        if self._sharing:
            self._shared = snapshot
        return snapshot

    def _copied_weights(self) -> Snapshot:
        raise NotImplementedError

    def restore_weights(self, snapshot: Snapshot) -> None:
        """Put weights back."""
        raise NotImplementedError

    def weights_to_arrays(self, snapshot: Snapshot) -> list[tuple[str, Any]]:
        """A snapshot as named arrays, for storage."""
        raise NotImplementedError

    def weights_from_arrays(self, pairs: Sequence[tuple[str, Any]]) -> Snapshot:
        """The inverse of :meth:`weights_to_arrays`."""
        raise NotImplementedError

    def state(self) -> Any:
        """All that later steps depend on: weights, optimizer, what the framework counts.

        Returns:
            A tree of dicts, lists, numbers and arrays (NumPy's, or ``Bits``). The arrays may be
            the live ones: copy what you keep before the next step.
        """
        raise NotImplementedError

    def check_state(self, state: Any) -> None:
        """Before anything is put back: whether :meth:`load_state` will take it.

        Raises:
            RunChanged: the model or the optimizer is not the one that was saved.
        """

    def settable(self) -> Any:
        """What a user may set between two trainings: ``weights``, ``optimizer``, as in :meth:`state`."""
        return self.state()

    def check_saving(self, weights_only: bool) -> None:
        """Before the first batch: whether :meth:`saving` can write the model.

        Raises:
            CapabilityError: it cannot; the text says why.
        """

    def take_back(self) -> None:
        """No epoch was left to train: undo what :meth:`load_state` added to what the script made."""

    def load_state(self, state: Any) -> None:
        """Put back what :meth:`state` gave.

        Raises:
            RunChanged: the model or the optimizer is not the one that was saved.
        """
        raise NotImplementedError

    def description(self) -> dict[str, str]:
        """What it is made of, by name, but for weights and rates: what tells trainings of one shape apart."""
        return {}

    @property
    def is_on_accelerator(self) -> bool:
        """Whether it computes on a device that may sum in another order each time."""
        return False

    def inexact(self, params: Mapping[str, Any]) -> list[str]:
        """What of this training a resume cannot make identical, and what would make it so."""
        return []

    def unsaved(self, parts: Collection[Any]) -> list[str]:
        """What the training depends on that is neither in :meth:`state` nor among the parts of the run."""
        return []

    def changed(self, parts: Mapping[str, Any], *, inside: bool = False) -> str:
        """Names, in a sentence, what is not saved and has changed since the last call; "" if nothing has.

        Args:
            parts: of the user's, which may hold such things too.
            inside: since the epoch before has ended, in the middle of an epoch.
        """
        return ""

    @property
    def is_built(self) -> bool:
        """Whether the model has all its weights; some get them from the first batch."""
        return True

    def takes_any_shape(self, name: str) -> bool:
        """Whether a value of the model's state, by its name there, may come back in another shape."""
        return False

    def label(self, place: str) -> str:
        """What the framework's users call a value of :meth:`state`, which has this place in a run's state."""
        return place

    def taken_over(self, parts: Collection[Any]) -> str:
        """Says, in a sentence, that others than the optimizers and the parts train since the last call."""
        return ""

    def is_amid_step(self, parts: Collection[Any]) -> bool:
        """Whether the next step of an optimizer goes on with gradients, by a count that nobody saves.

        Args:
            parts: of the user's, which may be optimizers too.
        """
        return False

    def stale(self) -> str:
        """At a save inside an epoch: says once, in a sentence, that nothing was trained since the last."""
        return ""

    def watch(self, *, loaded: bool) -> None:
        """A training begins.

        Args:
            loaded: what was saved is in place, and the first epoch begins.
        """

    def retrained(self) -> str:
        """Says once, in a sentence, that training has changed what it trains, and that no resume does so."""
        return ""

    def gradient_is_used(self) -> Callable[[Any], bool]:
        """Tells of a parameter whether a step has used its gradient; else it is carried over, and saved."""
        return lambda parameter: False

    def load_file(self, path: str) -> Any:
        """Load what :meth:`saving` wrote, as the framework's users load it."""
        raise NotImplementedError

    def suffixes(self, weights_only: bool) -> tuple[str, ...]:
        """The endings of file names that :meth:`saving` can write; the first is the usual one."""
        raise NotImplementedError

    def saving(self, weights_only: bool) -> Save:
        """How the model is written to a file."""
        raise NotImplementedError

    def direction(self, metric: str) -> Direction | None:
        """Whether the framework knows that the metric goes up or down."""
        return self.directions.get(metric)

    def comparison(self, direction: Direction) -> Callable[[Any, Any], Any]:
        """The function that compares two values, as the framework's users know it."""
        return operator.lt if direction == "min" else operator.gt


class Followed(Protocol):
    """A framework's own loop that tells of its steps, and goes on inside an epoch.

    Attributes:
        done: batches of the epoch under way.
        lacking: batches that were trained in another process, and are not taken yet.
        drawn_ahead: names of the random generators that data draw from in another thread, so that nobody
            knows how far it is; known when the batches that were trained are taken.
    """

    done: int

    @property
    def size(self) -> int:
        """Batches of a step."""

    @property
    def lacking(self) -> int:
        """Batches that were trained, and have not come."""

    @property
    def run_is_last(self) -> bool:
        """Whether the run itself is the last callback that hears of a step."""

    @property
    def drawn_ahead(self) -> Collection[str]:
        """Names of random generators."""

    def begin(self) -> None:
        """An epoch begins."""

    def skip(self, trained: int, come_back: Callable[[], object]) -> None:
        """Take so many batches of this epoch without a step, then call ``come_back``."""

    def mute(self, callbacks: Sequence[Any], until: int) -> None:
        """Have callbacks of the loop hear nothing of the batches up to one."""

    def saved(self) -> dict[str, Any]:
        """What of the epoch is in nothing else: ``done``, and sums of the framework's metrics."""

    def put(self, saved: Mapping[str, Any]) -> None:
        """Go on from :meth:`saved`."""

    def seeds(self) -> Any:
        """What of the model an evaluation may change."""

    def put_seeds(self, saved: Any) -> None:
        """Go on from :meth:`seeds`."""

    def close(self) -> None:
        """Tell of no more steps."""


class Control:
    """Who runs the loop. This one is a loop of the user's own, which asks whether to stop.

    Args:
        model: what the loop trains; held as long as the control.

    Attributes:
        dispatchers: names of modules whose functions call callbacks. A signal handler looks past their
            frames for the one that lives as long as the training.
        random_moment: when saved random state goes back: after the framework's own last draw before the
            first batch.
        trains_by_rounds: an epoch is one step, such as a round of boosting: whole when it ends, and short.
        stops_from_outside_hold: what else has ended a training ends it for good; else a later start goes on.
        stop_reason: why somebody asked for the end; None if nobody did.
    """

    stops_from_outside_hold = True
    dispatchers: tuple[str, ...] = ()
    trains_by_rounds = False
    random_moment = Moment.TRAIN_BEGIN
    stop_reason: str | None = None

    def __init__(self, model: Any = None) -> None:
        self._loop_model = model

    def attach(self) -> None:
        """The loop has given callbacks its model."""

    def begin(self) -> None:
        """Forget a stop that was asked for in an earlier training."""
        self.stop_reason = None

    def stop(self, reason: str) -> None:
        """Ask for the training's end, honoured when every callback has seen the epoch."""
        self.stop_reason = reason

    @property
    def stopping(self) -> bool:
        """Whether somebody asked for the end."""
        return self.stop_reason is not None

    def beside(self) -> Sequence[Any]:
        """All callbacks that the framework's loop calls, as far as that is known."""
        return ()

    def data(self) -> Any:
        """What the framework's loop trains on, as far as that is known."""
        return None

    @property
    def step_size(self) -> int:
        """How many batches the framework's loop takes at a time."""
        return 1

    def refused(self, callback: Any) -> str | None:
        """Why a callback of the framework's must not be in a training with a Run; None if it may."""
        return None

    def interrupt_epoch(self) -> None:
        """Bring the loop to its next hook soon: a signal wants the training to end."""

    def resume_at(self, position: Position = START) -> None:
        """Tell the framework's loop where to go on; ``START`` leaves that to its caller."""

    def follow(self, training: Training, run: Any, hear: Callable[[int, int], object]) -> Followed | None:
        """Have the framework's own loop, which has begun, tell of its steps; None if it cannot.

        Args:
            training: what it trains.
            run: the callback that asks.
            hear: called after each step, when all callbacks have heard of it, with the batches of the epoch
                so far, and those of the step; not if the run itself hears of it last.
        """
        return None

    def fill_history(self, columns: Mapping[str, Sequence[Any]], epochs: Sequence[int]) -> None:
        """Show the epochs of earlier starts where the framework's users look for them."""

    def attach_history(self, history: Any) -> None:
        """Show a History where the framework's users look for one."""

    def print(self, text: str) -> None:
        """Print a line as the framework does."""
        print(text, flush=True)


class Adapter(Training, Control):
    """Both in one object: what ``adapter=`` takes, for a framework of your own."""

    def __init__(self, model: Any = None) -> None:
        Training.__init__(self, model)
        Control.__init__(self, model)


# One Training for each model, as long as the model lives and its optimizers are the same.
_trainings: weakref.WeakKeyDictionary[Any, Training] = weakref.WeakKeyDictionary()


def find_training(model: Any, optimizer: Any = None) -> Training:
    """The Training of a model; the same one whenever it is asked for.

    Args:
        model: a Keras model, a PyTorch module, an object with ``get_weights``,
            ``set_weights`` and ``stop_training``, or None.
        optimizer: PyTorch's; one, or several in a list or a dict by name.

    Raises:
        ArgumentError: nothing fits the model.
    """
    module = _module_for(model, optimizer)
    new: Training = Training() if module is None else module.training(model, optimizer)
    try:
        known = _trainings.setdefault(model, new)
    except TypeError:  # no model, or one that cannot be held weakly
        return new
    if type(known) is not type(new) or known.optimizers != new.optimizers:
        _trainings[model] = known = new  # an optimizer that was replaced is not kept alive
    return known


def find_control(model: Any, optimizer: Any = None) -> Control:
    """The Control of a loop that trains the model; arguments and errors as in :func:`find_training`."""
    module = _module_for(model, optimizer)
    control: Control = Control(model) if module is None else module.control(model)
    return control


def training_of_state(
    state: Any, weights: Any, learning_rate: Any, *, model: Any, optimizer: Any, adapter: Any
) -> Any:
    """What trains: of a JAX loop if a state is given, else the adapter that is given, which may be None.

    Raises:
        ArgumentError: the arguments do not go together, or the state cannot be saved.
        MissingExtra: JAX is not installed.
    """
    others = {"model": model, "optimizer": optimizer, "adapter": adapter}
    if state is not None:
        given = next((name for name, one in others.items() if one is not None), None)
        if given is not None:
            raise ArgumentError(
                f"state= and {given}= do not go together: with JAX, state= has everything in it, the "
                "optimizer's state too; with Keras and PyTorch, leave out state=."
            )
        with _missing_named("state=", "jax"):
            return _module("jax").JaxTraining(state, weights, learning_rate)
    for name, one in {"weights": weights, "learning_rate": learning_rate}.items():
        if one is not None:
            raise ArgumentError(
                f"{name}= belongs to state=, the pytree that a JAX loop trains; with Keras and PyTorch, "
                "leave it out."
            )
    return adapter


def load_file(path: str) -> Any:
    """A model's file in its framework's own form; the framework is imported now. No code in it is run.

    Raises:
        ArgumentError: no framework writes files with this ending.
        MissingExtra: the framework, or Keras's backend, is not installed.
    """
    for ending, module in _FILES.items():
        if path.endswith(ending):
            with _missing_named(f"Loading {path}", module):
                return _module(module).load(path)
    raise ArgumentError(f"{path} cannot be loaded: expected a file that ends in {' or '.join(_FILES)}.")


def _module_for(model: Any, optimizer: Any) -> Any:
    """The framework's module; None if there is nothing to train."""
    if model is None and optimizer is None:
        return None
    refuse_class("model", model)
    for name, one in optimizers_by_name(optimizer).items():
        refuse_class("optimizer" if one is optimizer else f"optimizer {name!r}", one)
    things = [model, *optimizers_by_name(optimizer).values()]
    packages = {cls.__module__.partition(".")[0] for one in things for cls in type(one).__mro__}
    for package, module in _FRAMEWORKS.items():
        if package in packages:
            _refuse_estimator(model, module)
            return _module(module)
    if all(hasattr(model, name) for name in ("get_weights", "set_weights", "stop_training")):
        return _module("keras")
    raise ArgumentError(
        f"No framework is known for a model of {type(model).__module__}.{type(model).__name__}: expected a "
        "Keras model or a PyTorch module, or an estimator of scikit-learn's. With JAX, pass state=, the "
        "pytree that the loop trains. Pass adapter= to say how it is saved and stopped, or model=None if "
        "the callbacks need only stop."
    )


def _refuse_estimator(model: Any, module: str) -> None:
    """Refuse an estimator that trains boosters in its own ``fit``: there are callbacks for that."""
    if module in ("xgboost", "lightgbm") and hasattr(model, "get_params"):
        raise ArgumentError(
            f"A {type(model).__name__} has a training loop of its own, in its fit: leave out model=, and "
            f"pass callbacks=outlast.frameworks.{module}.callbacks(run)"
            f"{' to the constructor' if module == 'xgboost' else ' to fit'}. docs/{module}.md has more."
        )


def refuse_class(name: str, thing: Any) -> None:
    """Refuse a class where an object of it is needed.

    Raises:
        ArgumentError: it is a class.
    """
    if isinstance(thing, type):
        raise ArgumentError(
            f"{name} is the class {thing.__name__}: pass an object of it, {thing.__name__}(...)."
        )


def is_of_framework(cls: type) -> bool:
    """Whether a class is a framework's own, and not a subclass of the user's."""
    return cls.__module__.partition(".")[0] in _FRAMEWORKS


def data_for_fit() -> Any:
    """The module for the data of Keras's ``fit``; Keras is imported now.

    Raises:
        MissingExtra: Keras, or its backend, is not installed.
    """
    with _missing_named("run.data()", "keras"):
        return _module("keras_data")


def _module(name: str) -> Any:
    return import_module(f"outlast.frameworks.{name}")


@contextmanager
def _missing_named(purpose: str, module: str) -> Iterator[None]:
    """Name the extra, if a framework is not installed; each has one of its own name."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in PACKAGES:
            raise
        is_backend = module == "keras" != package
        instead = "set KERAS_BACKEND to a backend that is installed, before Keras is imported"
        raise MissingExtra(
            package, extra=package, purpose=purpose, instead=instead if is_backend else ""
        ) from error


def optimizers_by_name(optimizer: Any) -> dict[str, Any]:
    """The optimizers that the user gave: one, several in a list or a dict by name, or None."""
    if optimizer is None:
        return {}
    if isinstance(optimizer, Mapping):
        return dict(optimizer)
    if isinstance(optimizer, (list, tuple)):
        return {str(index): one for index, one in enumerate(optimizer)}
    return {type(optimizer).__name__.lower(): optimizer}


def weakly(thing: Any) -> Callable[[], Any]:
    """A weak reference where there can be one; None has none."""
    try:
        return weakref.ref(thing)
    except TypeError:
        return lambda: thing


_ASKED = {  # the first hook that each asks for
    "on_init_end": ("Hugging Face's Trainer", "huggingface"),
    "setup": ("Lightning's Trainer", "lightning"),
    "state_key": ("Lightning's Trainer", "lightning"),
    "on_exception": ("Lightning's Trainer", "lightning"),
}


def near_miss(kind: str, hook: str) -> str:
    """How a library is given our callbacks, if the hook is one that it asks for; "" if it is none.

    Args:
        kind: the class of the callback.
        hook: that it has not.

    Example:
        >>> near_miss("EarlyStopping", "on_init_end")[:58]
        "Hugging Face's Trainer calls other hooks than EarlyStoppin"
    """
    if hook not in _ASKED:
        return ""
    library, module = _ASKED[hook]
    return (
        f"{library} calls other hooks than {kind} has: pass "
        f"Trainer(callbacks=outlast.frameworks.{module}.callbacks(...)), with the Run or the callbacks in "
        "place of the dots."
    )


def belongs(callback: Any) -> str:
    """Where a callback that is none of ours belongs, as a sentence; "" if nobody knows."""
    if not has(callback, "on_train_epoch_end"):
        return ""
    return (
        " A callback of Lightning's belongs beside the Run: Trainer(callbacks=[theirs, "
        "*outlast.frameworks.lightning.callbacks(run)])."
    )
