"""XGBoost: a Booster is trained, and a round of boosting is an epoch.

What was measured, and is built upon (XGBoost 2.1 and 3.2): the random generator is one for the process and
in no model's file, so that with sampling a resume would draw other rows and columns. In a run each round is
seeded by its number instead, after the updater was made anew, for that draws once when it is made. A model's
file has its trees and not its parameters: these come from the code of each start.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from outlast.callbacks import early_stopping
from outlast.callbacks.list import is_own
from outlast.core.asking import asked
from outlast.core.monitor import Direction
from outlast.core.run_state import START, Position
from outlast.exceptions import (
    CapabilityError,
    DamagedFile,
    MissingExtra,
    RunChanged,
    UsageError,
)
from outlast.frameworks.base import Control, Snapshot, Training, find_training
from outlast.frameworks.driven import (
    Driven,
    MadeAgain,
    frame_of,
    refuse_two_lists,
    round_seed,
    told_apart,
    trained_on,
)
from outlast.frameworks.meanings import Meanings
from outlast.frameworks.memories import unsaved_memories
from outlast.storage.disk.files import Content

try:
    import xgboost
    from xgboost.callback import (
        EarlyStopping,
        EvaluationMonitor,
        LearningRateScheduler,
        TrainingCallback,
        TrainingCheckPoint,
    )
except ModuleNotFoundError as error:
    if error.name != "xgboost":
        raise
    raise MissingExtra("xgboost", extra="xgboost", purpose="outlast.frameworks.xgboost") from error

UBJ, JSON = ".ubj", ".json"

# By the beginning of its name; what XGBoost's own early stopping maximizes comes first.
_MAXIMIZED = ("auc", "aucpr", "pre", "map", "ndcg")
_MINIMIZED = (
    *("aft-nloglik", "cox-nloglik", "error", "expectile", "gamma-deviance", "gamma-nloglik", "logloss"),
    *("mae", "mape", "merror", "mlogloss", "mphe", "poisson-nloglik", "quantile", "rmse", "rmsle"),
    "tweedie-nloglik",
)
_RATE = "learning_rate"
_TRUE = (True, 1, "1", "true", "True")
# What XGBoost forgets when it sets another parameter, or loads a configuration.
_FORGOTTEN = ("process_type", "updater")
_FORGOTTEN_BY_GBLINEAR = (
    *_FORGOTTEN,
    *("alpha", "feature_selector", "lambda", "lambda_bias", "reg_alpha", "reg_lambda", "tolerance", "top_k"),
)
# Of the configuration: rates, second names, what the model counts, and what changes no model.
_NOT_DESCRIBED = frozenset(
    {
        *("disable_default_eval_metric", "eta", "learning_rate", "min_split_loss", "name", "num_trees"),
        *("reg_alpha", "reg_lambda", "updater", "updater_seq"),
    }
)


def callbacks(*items: Any, rounds: int | None = None) -> list[Any]:
    """What ``xgb.train(callbacks=...)``, ``XGBClassifier(callbacks=...)`` and ``xgb.cv`` take.

    A metric of the training's own data has XGBoost's name, such as ``logloss``; one of the last other set has
    ``val_`` before it, and of any other set the set's name: ``validation_0-logloss``. ``loss`` and
    ``val_loss`` are the last metric of each, by which XGBoost's own early stopping goes. A callback may also
    monitor a metric by the name that XGBoost prints.

    With an ``EarlyStopping`` the booster knows its best round, as with XGBoost's own: ``best_iteration``, and
    ``XGBClassifier.predict`` uses the rounds up to it. With ``restore_best_weights`` it has no others.

    In a ``Run`` a round draws from a seed of its own number, so that a resume is exact with sampling, too.
    The same seed gives another model than without a ``Run`` then.

    Args:
        *items: a ``Run``, callbacks of ours, or lists of them.
        rounds: rounds in all, where that is not ``num_boost_round``.

    Raises:
        ArgumentError: one is no callback.
        MissingExtra: XGBoost is not installed.

    Example:
        >>> import numpy as np, outlast, xgboost
        >>> x, y = np.arange(8.0).reshape(8, 1), np.arange(8.0)
        >>> train, valid = xgboost.DMatrix(x[::2], y[::2]), xgboost.DMatrix(x[1::2], y[1::2])
        >>> given = outlast.frameworks.xgboost.callbacks(outlast.EarlyStopping(patience=2, min_delta=0.5))
        >>> booster = xgboost.train(
        ...     {"nthread": 1}, train, 50, evals=[(valid, "valid")], callbacks=given, verbose_eval=False
        ... )
        >>> booster.num_boosted_rounds() < 50
        True

    Source: ``xgboost.callback.TrainingCallback``.
    """
    return [InXGBoost(Driven("xgboost", *items), rounds)]


def resume_arguments(run: Any) -> dict[str, Any]:
    """Keywords for ``xgb.train``: none, for the callbacks put the model back.

    Example:
        >>> resume_arguments(None)
        {}
    """
    return {}


class InXGBoost(MadeAgain, TrainingCallback):  # type: ignore[misc]
    """What XGBoost calls: tells callbacks of its rounds.

    Args:
        driven: the callbacks.
        rounds: rounds in all; None if ``xgb.train`` knows.
    """

    def __init__(self, driven: Driven, rounds: int | None = None) -> None:
        super().__init__()
        self._driven, self._rounds = driven, rounds
        self._call = _Call()
        self._has_begun = False  # a round, which has not ended
        self._log: Mapping[str, Mapping[str, Sequence[Any]]] = {}  # the same object for the whole training
        self._counts: dict[tuple[str, str], int] = {}  # the values that each metric has had
        self._before = 0  # rounds that the model had before the first start
        self._seed: int | None = None
        self._others_act = True  # so that the rate may be another at any time

    def before_training(self, model: Any) -> Any:
        """Begin, with what was saved in the model."""
        self._call = _Call.found()
        self._has_begun, self._log, self._counts, self._seed = False, {}, {}, None
        is_cv = _is_cv(model)
        if is_cv:
            self._driven.refuse_what_needs_a_model("xgb.cv")
        self._refuse_what_cannot_act()
        refuse_two_lists([one._driven for one in self._call.beside if isinstance(one, InXGBoost)])
        self._before = 0 if is_cv else model.num_boosted_rounds()
        if not is_cv:
            _trained(model).parameters = self._call.parameters
            _trained(model).meanings.begin(self._call.held_out_data)
        total = self._call.rounds if self._rounds is None else self._rounds
        self._driven.begin(None if is_cv else model, total)
        self._others_act = not self._call.is_known or any(
            type(one) not in _WITHOUT_MEMORY for one in self._call.beside
        )
        self._others_act |= not all(is_own(one) for one in self._driven.callbacks)
        if self._driven.is_saved and _draws(found := _configuration(model)):
            self._seed = int(found["generic_param"]["seed"])
        return model

    def _refuse_what_cannot_act(self) -> None:
        self._driven.refuse_what_needs_batches("XGBoost")
        setting = next((one for one in self._driven.callbacks if getattr(one, "sets_rates", False)), None)
        if self._driven.is_saved and self._call.parameters.get("process_type") == "update":
            raise CapabilityError(
                "A Run cannot go on with process_type='update', because XGBoost would begin with the first "
                "tree of the model again in each start: pass the callbacks without a Run."
            )
        if setting and any(isinstance(one, LearningRateScheduler) for one in self._call.beside):
            raise UsageError(
                f"{type(setting).__name__} cannot act here: xgboost.callback.LearningRateScheduler sets the "
                "learning rate in each round, whatever it is then. Leave out one of the two."
            )
        if self._call.is_known:
            held_out = [name for name in self._call.sets if name not in self._call.trained_on]
            what = "evals=[(held_out, 'valid')] (of XGBClassifier: eval_set=[(x, y)])"
            self._driven.refuse_without_data(self._call.sets, held_out, what)
            self._driven.refuse_same_names(self._call.sets)

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Begin a round, or end the training where nothing is left of it."""
        if self._driven.has_ended:
            return True
        self._look_again(model)
        if self._seed is not None:
            seed = round_seed(self._seed, self._driven.next_epoch)
            with _trained(model).kept():
                model.load_config(model.save_config())  # makes the updater anew
                model.set_param("seed", seed)
        self._driven.begin_epoch()
        self._has_begun, self._log = True, evals_log
        return False

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """End a round."""
        self._end_round(model, evals_log)
        if self._driven.stopping and _is_cv(model):
            self._name_best(model)  # by which xgb.cv cuts what it returns
        return self._driven.stopping

    def after_training(self, model: Any) -> Any:
        """End the training; callbacks put the best rounds back."""
        if self._has_begun:  # and another callback, which has stopped the training, has hidden its end
            self._end_round(model, self._log)
        self._driven.end()
        self._name_best(model)
        return model

    def _end_round(self, model: Any, log: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
        """Tell of a round: of its metrics those that have a value more than before it."""
        self._has_begun = False
        is_cv = _is_cv(model)
        self._look_again(model)
        sets: dict[str, dict[str, Any]] = {}
        for data, metrics in log.items():
            for metric, values in metrics.items():
                if len(values) > self._counts.get((data, metric), 0):
                    sets.setdefault(data, {})[metric] = values[-1]
                self._counts[data, metric] = len(values)
        logs, meant = told_apart(sets, self._call.trained_on, self._driven.monitored)
        told = {name: way for name in logs if (way := self._call.direction(name)) is not None}
        if is_cv:
            self._driven.tell_directions({**told, **{name: told.get(one) for name, one in meant.items()}})
        else:
            _trained(model).meant, _trained(model).told = meant, told
            _trained(model).meanings.meet(meant)
        self._driven.judge_loss(logs)
        self._driven.end_epoch(logs)

    def _look_again(self, model: Any) -> None:
        """Somebody else may have set the rate."""
        if self._others_act and not _is_cv(model):
            _trained(model).forget_rate()

    def _name_best(self, model: Any) -> None:
        """Have the booster know its best round, as after XGBoost's own early stopping."""
        stopping = (one for one in self._driven.callbacks if isinstance(one, early_stopping.EarlyStopping))
        known = next((one for one in stopping if one.best is not None), None)
        if known is not None:
            best = self._before + known.best_epoch
            model.set_attr(best_iteration=str(best), best_score=str(known.best))
        elif self._driven.stopping and _is_cv(model):
            model.set_attr(best_iteration=str(self._driven.next_epoch - 1))


@dataclass(frozen=True)
class _Call:
    """What is seen of the call of ``xgb.train`` or ``xgb.cv``, which tells callbacks nothing of it.

    Args:
        is_known: it was found.
        rounds: that are asked for.
        sets: the names of the sets that are evaluated.
        trained_on: those among them that are the training's own data.
        held_out_data: of which ``val_`` metrics are.
        beside: all callbacks of the call.
        features: of the data.
        parameters: of the call, the single numbers and texts among them.
        maximize: whether a metric of the user's own is better where it is higher.
        functions: the objective and the metric, if they are the user's own.
    """

    is_known: bool = False
    rounds: int | None = None
    sets: Sequence[str] = ()
    trained_on: frozenset[str] = frozenset()
    held_out_data: Any = None
    beside: Sequence[Any] = ()
    features: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    maximize: bool | None = None
    functions: Sequence[Any] = ()

    def direction(self, name: str) -> Direction | None:
        """Which way a metric of the logs goes: by XGBoost's own rule, or as the call says."""
        metric = name.removesuffix("_std").removeprefix("val_")
        metric = next((metric[len(one) + 1 :] for one in self.sets if metric.startswith(f"{one}-")), metric)
        base = metric.partition("@")[0]
        if base in _MINIMIZED:
            return "min"
        if self.maximize is not None and base not in _MAXIMIZED:  # one of the user's own
            return "max" if self.maximize else "min"
        return "max" if metric.startswith(_MAXIMIZED) else None

    @classmethod
    def found(cls) -> _Call:
        frame = frame_of("xgboost.training", "num_boost_round")
        return cls() if frame is None else cls._of(frame.f_locals)

    @classmethod
    def _of(cls, found: Mapping[str, Any]) -> _Call:
        evals = [(name, data) for data, name in found.get("evals") or ()]
        sets = evals if "evals" in found else [("train", None), ("test", None)]
        named = trained_on(sets, found["dtrain"])
        parameters = dict(found.get("params") or {})
        return cls(
            is_known=True,
            rounds=int(found["num_boost_round"]),
            sets=[name for name, _ in sets],
            trained_on=named,
            held_out_data=next((data for name, data in reversed(sets) if name not in named), None),
            parameters={
                name: plain
                for name, value in parameters.items()
                if isinstance(plain := _plain(value), (str, int, float))
            },
            maximize=found.get("maximize"),
            functions=[found.get(name) for name in ("obj", "custom_metric", "feval")],
            features=found["dtrain"].num_col(),
            beside=getattr(found.get("cb_container", found.get("callbacks_container")), "callbacks", ()),
        )


def _is_cv(model: Any) -> bool:
    """Whether it stands for the boosters of a cross validation."""
    return hasattr(model, "cvfolds")


def _plain(value: Any) -> Any:
    """A number of NumPy's as Python's; anything else as it is."""
    return value.item() if asked(value, "ndim") == 0 else value


def _configuration(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(model.save_config())["learner"]
    return found


def _of_trees(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a booster's configuration that has the trees'; dart's has one inside."""
    booster: Mapping[str, Any] = found["gradient_booster"]
    inner: Mapping[str, Any] = booster.get("gbtree", booster)
    return inner


def _rate(model: Any) -> float:
    import numpy as np

    booster = _of_trees(_configuration(model))
    found = booster.get("tree_train_param") or booster["updater"]["linear_train_param"]
    return float(np.float32(found[_RATE]))  # the text of one is no float32


def _trained(model: Any) -> BoosterTraining:
    found = find_training(model)
    assert isinstance(found, BoosterTraining)
    return found


def _texts(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The values in a part of a configuration, and in the parts of it."""
    for name, value in part.items():
        if isinstance(value, dict):
            yield from _texts(value)
        elif isinstance(value, str):
            yield name, value


def _draws(found: Mapping[str, Any]) -> bool:
    """Whether rounds draw random numbers, as a booster's configuration has it."""
    trees = _of_trees(found).get("tree_train_param")
    if found["gradient_booster"]["name"] != "gbtree" or trees is None:
        return True
    shares = [value for name, value in trees.items() if name.startswith(("subsample", "colsample"))]
    return any(float(share) != 1 for share in shares)


# The last has one, and is named as those of other frameworks are.
_WITHOUT_MEMORY = (InXGBoost, EvaluationMonitor, TrainingCheckPoint, EarlyStopping)


class BoosterTraining(Training):
    """A Booster: its rounds are its weights, and its optimizer is inside it.

    Args:
        model: the Booster.

    Attributes:
        meant: for ``loss`` and ``val_loss``, the metric that they are.
        told: which way each metric goes, as far as XGBoost or its call knows.
        parameters: that the call gave.
        meanings: what ``loss`` and ``val_`` are, in each start.
    """

    framework = "XGBoost"
    needs_optimizer = False
    capabilities = frozenset({"learning_rate", "weights", "saving", "state"})

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.meant: Mapping[str, str] = {}
        self.told: Mapping[str, Direction] = {}
        self.parameters: Mapping[str, Any] = {}
        self.meanings = Meanings()
        self._rate: float | None = None

    def learning_rates(self) -> dict[str, float]:
        if self._rate is None:
            self._rate = _rate(self.model)
        return {_RATE: self._rate}

    def set_learning_rate(self, name: str, value: float) -> None:
        if value != self.learning_rates()[_RATE]:
            self._set_rate(value)

    def _set_rate(self, value: float) -> None:
        """With what XGBoost forgets when it sets one, and nothing else: somebody may have set others."""
        is_linear = str(self.parameters.get("booster")) == "gblinear"
        names = _FORGOTTEN_BY_GBLINEAR if is_linear else _FORGOTTEN
        again = {name: self.parameters[name] for name in names if name in self.parameters}
        self.model.set_param({**again, _RATE: value})
        self.forget_rate()

    def forget_rate(self) -> None:
        """Read the rate anew when somebody asks: to read it takes longer than a small round."""
        self._rate = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Whatever is loaded or set inside, the rate and the other parameters stay."""
        rate = self.learning_rates()[_RATE]
        yield
        self._set_rate(rate)

    def direction(self, metric: str) -> Direction | None:
        return self.told.get(self.meant.get(metric, metric))

    def state(self) -> Any:
        # A model without rounds is not saved: to read it fixes what XGBoost estimates from the data.
        weights = {"model": _array(_raw(self.model) if self.model.num_boosted_rounds() else b"")}
        return {"weights": weights, "rates": self.learning_rates(), "meanings": self.meanings.state()}

    def check_state(self, state: Any) -> None:
        if not {"weights", "rates"} <= set(state):
            raise RunChanged("what was trained here was no Booster of XGBoost's: take another folder.")
        self.meanings.check(state.get("meanings", {}))
        saved = state["weights"]["model"]
        if not saved.nbytes:
            return
        try:
            booster = xgboost.Booster(model_file=bytearray(saved))
        except xgboost.core.XGBoostError as error:
            raise DamagedFile(f"the saved booster cannot be read: {str(error).splitlines()[-1]}") from error
        kinds = [_configuration(one)["gradient_booster"]["name"] for one in (booster, self.model)]
        if kinds[0] != kinds[1]:
            raise RunChanged(
                f"booster changed from {kinds[0]} to {kinds[1]}: it would be another training. Ask for "
                f"booster={kinds[0]!r}, take another folder, or begin again with resume='never'."
            )
        features = booster.num_features()
        if (now := _Call.found().features) not in (None, features):
            raise RunChanged(
                f"the saved booster was trained on {features} features, but the data has {now}: take another "
                "folder, or begin again with resume='never'."
            )

    def load_state(self, state: Any) -> None:
        self.meanings.load(state.get("meanings", {}))
        if (saved := state["weights"]["model"]).nbytes:
            self._put(bytearray(saved))
        for name, rate in state["rates"].items():
            self.set_learning_rate(name, rate)

    def description(self) -> dict[str, str]:
        found = _configuration(self.model)
        parts = [found[name] for name in ("learner_train_param", "objective", "gradient_booster")]
        said = {name: value for part in parts for name, value in _texts(part) if name not in _NOT_DESCRIBED}
        return {**said, "seed": str(found["generic_param"]["seed"])}

    def inexact(self, params: Mapping[str, Any]) -> list[str]:
        given, found = self.parameters, _configuration(self.model)
        is_ranking = found["objective"]["name"].startswith("rank:")
        draw = {"lambdarank_pair_method": is_ranking, "seed_per_iteration": _draws(found)}
        by_number = [
            f"{name}={given[name]!r} draws by XGBoost's own number of the round, which is 0 in each start"
            for name, draws in draw.items()
            if draws and given.get(name) in ("mean", *_TRUE)
        ]
        unbiased = is_ranking and given.get("lambdarank_unbiased") in _TRUE
        positions = ["the positions that lambdarank_unbiased has learned are in no model"] if unbiased else []
        call = _Call.found()
        others = {type(one).__name__ for one in call.beside if type(one) not in _WITHOUT_MEMORY}
        beside = [
            f"{name} is told of rounds from 0 on in each start, and has no evals_log from before: use a "
            "callback of outlast"
            for name in sorted(others)
        ]
        return [*by_number, *positions, *beside, *unsaved_memories(call.functions)]

    @property
    def is_on_accelerator(self) -> bool:
        return str(_configuration(self.model)["generic_param"].get("device", "cpu")) != "cpu"

    def takes_any_shape(self, name: str) -> bool:
        return True

    def _copied_weights(self) -> Snapshot:
        return Snapshot(_raw(self.model))

    def restore_weights(self, snapshot: Snapshot) -> None:
        self._put(bytearray(snapshot.weights))

    def _put(self, raw: bytearray) -> None:
        """Have the model's rounds be others; its parameters stay."""
        with self.kept():
            parameters = self.model.save_config()
            self.model.load_model(raw)
            self.model.load_config(parameters)

    def weights_to_arrays(self, snapshot: Snapshot) -> list[tuple[str, Any]]:
        return [("model", _array(snapshot.weights))]

    def weights_from_arrays(self, pairs: Iterable[tuple[str, Any]]) -> Snapshot:
        return Snapshot(dict(pairs)["model"].tobytes())

    def suffixes(self, weights_only: bool) -> tuple[str, ...]:
        return (UBJ, JSON)

    def saving(self, weights_only: bool) -> BoosterSave:
        return BoosterSave(self.model)

    def load_file(self, path: str) -> Any:
        return load(path)


@dataclass(frozen=True)
class BoosterSave:
    """Writes a booster to a file whose ending says how.

    Args:
        model: the Booster.
        form: XGBoost's name of the format, where the file's name does not tell.
    """

    model: Any
    form: str = "ubj"

    def named(self, name: str) -> BoosterSave:
        """The same for a file of that name."""
        return BoosterSave(self.model, "json" if name.endswith(JSON) else "ubj")

    def capture(self) -> Callable[[str], object]:
        """Take the model now, write it later."""
        return Content(_raw(self.model, self.form))

    def write(self, path: str) -> None:
        """Write it while training waits."""
        self.named(path).capture()(path)


class RoundControl(Control):
    """XGBoost's loop.

    Attributes:
        position: where a run goes on.
    """

    dispatchers = ("xgboost.callback", "xgboost.core", "xgboost.sklearn", "xgboost.training")
    trains_by_rounds = True
    position = START

    def resume_at(self, position: Position = START) -> None:
        self.position = position

    def beside(self) -> Sequence[Any]:
        return [one for one in _Call.found().beside if not isinstance(one, InXGBoost)]


def training(model: Any, optimizer: Any = None) -> Training:
    """What is trained."""
    return BoosterTraining(model)


def control(model: Any) -> Control:
    """Who runs the loop."""
    return RoundControl(model)


def load(path: str) -> Any:
    """The booster of a file that a run saved.

    Raises:
        DamagedFile: it is not what a run saved.
    """
    try:
        return xgboost.Booster(model_file=path)
    except xgboost.core.XGBoostError as error:
        raise DamagedFile(f"{path} is damaged: {str(error).splitlines()[-1]}", path=path) from error


def _raw(model: Any, form: str = "ubj") -> bytes:
    return bytes(model.save_raw(form))


def _array(raw: bytes) -> Any:
    import numpy as np

    return np.frombuffer(raw, "uint8")
