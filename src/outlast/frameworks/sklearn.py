"""scikit-learn: an estimator is trained by ``partial_fit`` or with ``warm_start``, in a loop of one's own."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from outlast.core.monitor import Direction
from outlast.exceptions import ArgumentError, CapabilityError, DamagedFile, MissingExtra, RunChanged
from outlast.frameworks.base import Capability, Control, Snapshot, Training
from outlast.frameworks.description import text
from outlast.frameworks.sklearn_files import EstimatorSave, read
from outlast.frameworks.sklearn_fit import InFit
from outlast.frameworks.sklearn_frozen import Frozen, freeze, loaded, thaw
from outlast.frameworks.sklearn_parameters import (
    OF_SCRIPT,
    cloned,
    estimators,
    hidden,
    is_estimator,
    plain,
    put_into,
    without_callbacks,
)
from outlast.frameworks.sklearn_rates import holders, rates, reasons
from outlast.frameworks.sklearn_schema import dumped, written
from outlast.frameworks.sklearn_trust import COMMON, TREES, UntrustedTypes, functions, trusted_for, ways
from outlast.frameworks.sklearn_walk import is_same_kind

try:
    import sklearn.metrics
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise
    raise MissingExtra("scikit-learn", extra="sklearn", purpose="outlast.frameworks.sklearn") from error

SKOPS = ".skops"


def callbacks(*items: Any, validation_data: Any = None, scoring: Any = None) -> list[Any]:
    """What ``set_callbacks`` of a ``LogisticRegression`` takes: an iteration of its ``fit`` is an epoch.

    In a loop of one's own with ``partial_fit`` they are not needed: pass the callbacks to
    ``outlast.Run(folder, callbacks, model=estimator)``, and go through ``run.epochs(...)``.

    A score has scikit-learn's name with ``val_`` before it, ``val_score`` if no ``scoring`` is given.
    One that begins with ``neg_`` is a loss, too: ``neg_log_loss`` gives ``val_neg_log_loss``,
    ``val_log_loss`` and ``val_loss``.

    Args:
        *items: callbacks of ours, or lists of them.
        validation_data: ``(x, y)``, held out and scored after each iteration.
        scoring: the name of a scorer of scikit-learn's, several in a list, functions of ``(estimator, x, y)``
            by name, or such a function; without it the estimator's own ``score``.

    Raises:
        ArgumentError: one is no callback, or there is no such scorer.
        CapabilityError: a ``Run`` is among them: L-BFGS cannot be gone on with. Or scikit-learn is older than
            1.9, and has no callbacks.
        MissingExtra: scikit-learn is not installed.

    Example:
        >>> import outlast
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> x, y = load_iris(return_X_y=True)
        >>> stopping = outlast.EarlyStopping("val_score", patience=1)
        >>> given = outlast.frameworks.sklearn.callbacks(stopping, validation_data=(x[::2], y[::2]))
        >>> int(LogisticRegression().set_callbacks(*given).fit(x, y).n_iter_[0]) < 20
        True

    Source: ``sklearn.callback.FitCallback``.
    """
    return [InFit(items, validation_data, scoring)]


# Parameters that count when the first batch is trained, and never again.
_LAYERS = "hidden_layer_sizes"
_FIXED = (_LAYERS, "n_clusters", "n_components")
_FIXED_OF_PERCEPTRONS = (
    *("beta_1", "beta_2", "epsilon", "learning_rate", "momentum", "nesterovs_momentum", "power_t", "solver"),
)


class _Loaded(NamedTuple):
    """The parameters as a resume has found them, until training begins.

    Args:
        texts: of the estimator now.
        made: that were saved.
        made_rates: those that are rates.
        parameters: that were saved.
        filled: those that were the script's objects still.
        rates: that were saved, if the script has others now: it has another kind of them.
    """

    texts: Mapping[str, str]
    made: Mapping[str, str]
    made_rates: Mapping[str, str]
    parameters: Any
    filled: Any
    rates: Any


class Learned(NamedTuple):
    """What an estimator knows at one moment.

    Args:
        attributes: all but the parameters.
        parameters: that training has changed.
    """

    attributes: Frozen
    parameters: Frozen


class EstimatorTraining(Training):
    """An estimator, and those in its parameters.

    Its state is what training has made, and the parameters that training has changed, such as
    ``n_estimators`` with ``warm_start``. Other parameters come from the code of each start.

    Args:
        model: the estimator.
    """

    framework = "this estimator of scikit-learn's"
    needs_optimizer = False

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._made = self._texts()  # the parameters as the script has made them
        self._made_rates = {name: text(rate) for name, rate in self._rate_parameters().items()}
        self._made_objects = {name: plain(model)[name].value for name in self._made}
        self._made_values = {
            name: copy.copy(one) if isinstance(one, (list, dict, set)) or hasattr(one, "dtype") else one
            for name, one in self._made_objects.items()
        }
        self._left_with: dict[str, str] | None = None  # as a run has left them, if that is known
        self._loaded: _Loaded | None = None
        self._checksum: int | None = None  # of what was learned, when an epoch before has ended
        self._has_told_idle = False
        self.has_told_changes = False  # as a part

    @cached_property
    def _trusted(self) -> frozenset[str]:
        """Asked for by a run before it trains: a file gets no further types by having been trained."""
        model = without_callbacks(self.model)
        made = written(dumped(model), hidden(model), {}).ways
        return trusted_for(estimators(self.model).values(), made)

    @cached_property
    def _trusted_in_files(self) -> frozenset[str]:
        """They have the parameters, too, which may be functions."""
        made = ways(dumped(without_callbacks(self.model)))
        return trusted_for(estimators(self.model).values(), made) | functions(made)

    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]
        """A rate only where it acts."""
        can: set[Capability] = {"weights", "saving", "state"}
        return frozenset(can | ({"learning_rate"} if rates(self.model) else set()))

    def require(self, capability: Capability, who: str) -> None:
        if capability != "learning_rate" or rates(self.model):
            return super().require(capability, who)
        raise CapabilityError(
            f"{who} sets the learning rate, which cannot be done here: {reasons(self.model)[0]} It can be "
            "set in SGDClassifier, SGDRegressor, Perceptron, MLPClassifier, MLPRegressor, BernoulliRBM and "
            " HistGradientBoosting."
        )

    def direction(self, metric: str) -> Direction | None:
        """What scikit-learn calls a score is better where it is higher, ``neg_log_loss`` too."""
        name = metric.removeprefix("val_")
        return "max" if name == "score" or name in sklearn.metrics.get_scorer_names() else None

    def learning_rates(self) -> dict[str, float]:
        return {name: one.read() for name, one in rates(self.model).items()}

    def set_learning_rate(self, name: str, value: float) -> None:
        found = rates(self.model)[name]
        if found.read() != value:
            found.set(value)

    def leave(self, *, known: bool = True) -> None:
        super().leave(known=known)
        self._left_with = self._texts() if known else None

    def _texts(self) -> dict[str, str]:
        """The parameters but for rates, as texts."""
        held = holders(self.model)
        return {
            name: one.text for name, one in plain(self.model).items() if (id(one.owner), one.name) not in held
        }

    def _rate_parameters(self) -> dict[str, Any]:
        """The parameters that are rates; what is in force may be in an optimizer beside them."""
        held = holders(self.model)
        return {
            name: one.value for name, one in plain(self.model).items() if (id(one.owner), one.name) in held
        }

    def description(self) -> dict[str, str]:
        return self._texts()

    def watch(self, *, loaded: bool) -> None:
        if loaded:
            self._loaded = None

    def state(self) -> Any:
        return {
            "kinds": self._kinds(),
            "weights": self._frozen().tree(),
            **self._parameters(),
            "rates": (self._loaded and self._loaded.rates) or freeze(self._rate_parameters()).tree(),
        }

    def _parameters(self) -> dict[str, Any]:
        """How the script has made the parameters, and those that are otherwise now."""
        if (
            self._loaded is not None and self._loaded.texts == self._texts()
        ):  # the user's are none of the run's
            return {name: getattr(self._loaded, name) for name in _Loaded._fields[1:5]}
        changed = self._changed().tree()
        filled = {name: True for name, one in plain(self.model).items() if self._is_scripts(name, one.value)}
        return {
            "made": self._made,
            "made_rates": self._made_rates,
            "parameters": changed,
            "filled": {name: True for name in changed["texts"] if name in filled},
        }

    def _is_scripts(self, name: str, value: Any) -> bool:
        """Whether the value of a parameter is the object that the script has made it with."""
        return value is self._made_objects.get(name)

    def _changed(self) -> Frozen:
        """The parameters that are not as the script has made them."""
        now, parameters = self._texts(), plain(self.model)
        return freeze({name: parameters[name].value for name in now if now[name] != self._made.get(name)})

    def settable(self) -> Any:
        return {"weights": self._frozen().tree()}

    def _kinds(self) -> dict[str, str]:
        found = {name: type(one) for name, one in estimators(self.model).items()}
        return {name: f"{kind.__module__}.{kind.__qualname__}" for name, kind in found.items()}

    def _frozen(self) -> Frozen:
        model = without_callbacks(self.model)
        return freeze(model, hidden(model), self._trusted)

    def check_state(self, state: Any) -> None:
        if not {"kinds", "weights", "made", "parameters", "rates", "made_rates", "filled"} <= set(state):
            raise RunChanged("what was trained here was no estimator of scikit-learn's: take another folder.")
        before, now = state["kinds"], self._kinds()
        if before != now:
            told = [", ".join(_shown(one, before, now)) for one in (before, now)]
            raise RunChanged(f"the model is another one: {told[0]} in the run, {told[1]} in this code")
        self._refuse_without_effect(state["made"])
        self._thawed(state["weights"])
        thaw(state["parameters"])
        thaw(state["rates"])

    def _thawed(self, weights: Any) -> Any:
        found = thaw(weights, self._trusted)
        if not is_same_kind(found, self.model):
            raise DamagedFile(
                f"a {type(self.model).__name__} was expected, but a {type(found).__name__} is there"
            )
        return found

    def _refuse_without_effect(self, made: Mapping[str, str]) -> None:
        clones = cloned(self.model)
        told = [
            f"{name} changed from {made[name]} to {self._made[name]}"
            for name, one in plain(self.model).items()
            if made.get(name) != self._made.get(name) and name in made and name in self._made
            if name.rpartition("__")[0] in clones
            or one.name in _FIXED
            or (one.name in _FIXED_OF_PERCEPTRONS and hasattr(one.owner, _LAYERS))
        ]
        if told:
            raise RunChanged(f"{', '.join(told)}, which has no effect on an estimator that was trained")

    def load_state(self, state: Any) -> None:
        if not self._frozen().is_as(state["weights"]):  # or a copy would be trained without need
            put_into(self.model, self._thawed(state["weights"]), generators=True)
        theirs = self._set_by_user(state["made"])
        parameters = plain(self.model)
        for name, value in thaw(state["parameters"]).items():
            if name in parameters and name not in theirs:
                parameters[name].put(value, fill=name in state["filled"])
        for name, value in thaw(state["rates"]).items():
            if name in parameters:
                parameters[name].put(value)
        others = state["made_rates"].keys() != self._made_rates.keys()
        self._loaded = _Loaded(
            self._texts(),
            state["made"],
            state["made_rates"],
            state["parameters"],
            state["filled"],
            state["rates"] if others else None,
        )

    def changed_since(self, state: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """Parameters that the script makes otherwise than when the run began, and rates, in sentences."""

        def changes(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
            both = [name for name in then if name in now and now[name] != then[name]]
            return [f"{name} changed from {then[name]} to {now[name]}" for name in both]

        return changes(state["made"], self._made), changes(state["made_rates"], self._made_rates)

    def _set_by_user(self, made: Mapping[str, str]) -> set[str]:
        """The parameters that the script makes otherwise now, or that were set since a run has ended."""
        found = {name for name, text in self._made.items() if made.get(name) != text}
        if self._left_with is not None:
            found |= {name for name, text in self._texts().items() if self._left_with.get(name) != text}
        return found

    def taken_over(self, parts: Collection[Any]) -> str:
        """Tells once that an epoch has taught the estimator nothing: another one is trained."""
        found = self._frozen()
        before, self._checksum = self._checksum, _checksum(found)
        others = any(is_estimator(one) for one in parts)
        if self._has_told_idle or others or before != self._checksum:
            return ""
        self._has_told_idle = True
        return (
            f"In this epoch the {type(self.model).__name__} that the Run has did not change. If another one "
            "is trained, such as a copy or a clone, that one is not saved, and a resume is not exact: train "
            "the object that was passed, Run(..., model=model), or pass the other one as a part, too. If it "
            "is this one, its fit has begun anew and learned the same: use partial_fit, or warm_start=True."
        )

    def label(self, place: str) -> str:
        """An attribute by its name."""
        _, here, name = place.partition("state/training/weights/")
        return f"the attribute {name.partition('/')[2]}" if here and name.partition("/")[2] else place

    def takes_any_shape(self, name: str) -> bool:
        return True

    def _copied_weights(self) -> Snapshot:
        return Snapshot(Learned(self._frozen(), self._changed()))

    def restore_weights(self, snapshot: Snapshot) -> None:
        """Put what was trained back; rates and random generators stay as they are."""
        now = self.learning_rates()
        put_into(self.model, self._thawed(snapshot.weights.attributes.tree()), generators=False)
        then = {**self._made_values, **thaw(snapshot.weights.parameters.tree())}
        parameters, texts = plain(self.model), self._texts()
        for name in (name for name in texts if name in then):
            parameters[name].put(then[name], fill=self._is_scripts(name, parameters[name].value))
        for name, rate in now.items():
            self.set_learning_rate(name, rate)

    def weights_to_arrays(self, snapshot: Snapshot) -> list[tuple[str, Any]]:
        pairs = zip(Learned._fields, snapshot.weights, strict=True)
        return [(f"{piece}/{name}", array) for piece, one in pairs for name, array in one.named_arrays()]

    def weights_from_arrays(self, pairs: Sequence[tuple[str, Any]]) -> Snapshot:
        found: dict[str, list[tuple[str, Any]]] = {piece: [] for piece in Learned._fields}
        for name, array in pairs:
            piece, _, rest = name.partition("/")
            found[piece].append((rest, array))
        return Snapshot(Learned(**{piece: Frozen.of_arrays(one) for piece, one in found.items()}))

    def suffixes(self, weights_only: bool) -> tuple[str, ...]:
        return (SKOPS,)

    def check_saving(self, weights_only: bool) -> None:
        try:
            loaded(dumped(without_callbacks(self.model)), self._trusted_in_files)
        except (DamagedFile, UntrustedTypes) as error:
            has_lambda = any(
                "<" in getattr(one.value, "__qualname__", "") for one in plain(self.model).values()
            )
            way_out = (
                " A function in its parameters must have a name in a module: write def instead of lambda."
                if has_lambda
                else " Leave out ModelCheckpoint: the run's own resume points need no such file."
            )
            raise CapabilityError(
                f"A file of this {type(self.model).__name__} could not be read again: {error}.{way_out}"
            ) from error

    def saving(self, weights_only: bool) -> EstimatorSave:
        return EstimatorSave(self.model)

    def load_file(self, path: str) -> Any:
        return read(path, self._trusted_in_files)


class FitTraining(EstimatorTraining):
    """A ``fit`` of scikit-learn's own, which is under way.

    Attributes:
        fitted: a copy of the estimator, as if the fit had ended after the iteration at hand.
    """

    framework = "scikit-learn's fit"
    _fitted: Any = None

    @property
    def model(self) -> Any:
        return super().model if self._fitted is None else self._fitted

    @property
    def fitted(self) -> Any:
        return self._fitted

    @fitted.setter
    def fitted(self, estimator: Any) -> None:
        for name in OF_SCRIPT if estimator is not None else ():
            vars(estimator).pop(name, None)
        self._fitted = estimator

    def restore_weights(self, snapshot: Snapshot) -> None:
        """Put back what an iteration has learned; how many there were is counted by scikit-learn."""
        best = thaw(snapshot.weights.attributes.tree(), self._trusted)
        for name, value in vars(best).items():
            if name.endswith("_") and not name.endswith("__"):
                setattr(super().model, name, value)


def training(model: Any, optimizer: Any = None) -> Training:
    """What is trained.

    Raises:
        ArgumentError: it is no estimator, or an optimizer was given.
    """
    if not is_estimator(model):
        raise ArgumentError(f"model must be an estimator of scikit-learn's, but is a {type(model).__name__}.")
    if optimizer:
        raise ArgumentError("An estimator of scikit-learn's has its optimizer inside: leave out optimizer=.")
    return (FitTraining if hasattr(model, "_callback_fit_ctx") else EstimatorTraining)(model)


def control(model: Any) -> Control:
    """A loop of the user's own."""
    return Control(model)


def _shown(kinds: Mapping[str, str], *both: Mapping[str, str]) -> list[str]:
    """Names of classes, with their modules only where they are needed to tell them apart."""
    shorts = [[name.rpartition(".")[2] for name in one.values()] for one in both]
    names = kinds.values() if shorts[0] == shorts[1] else [kind.rpartition(".")[2] for kind in kinds.values()]
    return [f"{place} {kind}".strip() for place, kind in zip(kinds, names, strict=True)]


def _checksum(frozen: Frozen) -> int:
    found = zlib.crc32(repr(sorted(frozen.texts.items())).encode())
    for _, array in sorted(frozen.arrays.items()):
        found = zlib.crc32(array.tobytes(), found)
    return found


def load(path: str) -> Any:
    """The estimator of a file that a run saved.

    Raises:
        CapabilityError: it has types that are not trusted.
        DamagedFile: it is not what a run saved.
    """
    return read(path, COMMON | TREES)
