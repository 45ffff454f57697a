"""LightGBM: a Booster is trained, and a round of boosting is an epoch.

LightGBM takes the rounds to go on with by an argument alone, ``init_model``, so that a run gives them by
:func:`resume_arguments`. It has no hook at the end of a training: the last round ends it, or somebody's
``EarlyStopException``, and both are seen after a round. What a round draws from is in ``lightgbm_rounds.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from outlast.callbacks.early_stopping import EarlyStopping
from outlast.core.monitor import Direction
from outlast.core.run_state import START, Position
from outlast.exceptions import (
    ArgumentError,
    CapabilityError,
    DamagedFile,
    MissingExtra,
    RunChanged,
    UsageError,
)
from outlast.frameworks import lightgbm_call as call
from outlast.frameworks import lightgbm_rounds as rounds
from outlast.frameworks.base import Control, Snapshot, Training, find_training
from outlast.frameworks.driven import Driven, MadeAgain, refuse_two_lists, told_apart
from outlast.storage.disk.files import Content

try:
    import lightgbm
    from lightgbm.callback import CallbackEnv, EarlyStopException
except ModuleNotFoundError as error:
    if error.name != "lightgbm":
        raise
    raise MissingExtra("lightgbm", extra="lightgbm", purpose="outlast.frameworks.lightgbm") from error
if tuple(map(int, lightgbm.__version__.split(".")[:2])) < (4, 6):
    raise MissingExtra("lightgbm>=4.6", extra="lightgbm", purpose="outlast.frameworks.lightgbm")

TEXT = ".txt"
_RATE = "learning_rate"
_LINE = (
    "lgb.train(..., callbacks=outlast.frameworks.lightgbm.callbacks(run), "
    "**outlast.frameworks.lightgbm.resume_arguments(run{}))"
)

Results = Mapping[int, Sequence[tuple[Any, ...]]]  # by epoch: set, metric, value, whether higher is better


def callbacks(*items: Any) -> list[Any]:
    """What ``lgb.train(callbacks=...)``, ``LGBMClassifier.fit(callbacks=...)`` and ``lgb.cv`` take.

    A metric of the training's own data has LightGBM's name, such as ``binary_logloss``; one of the first
    other set has ``val_`` before it, and of any further set the set's name: ``valid_1-auc``. ``loss`` and
    ``val_loss`` are the first metric of each. A callback may also monitor a metric by set and name,
    ``valid_0-auc``. LightGBM tells which way each metric goes.

    With an ``EarlyStopping`` the booster has its best round in ``best_iteration``, and no rounds after it, as
    with LightGBM's own. In a ``Run`` pass :func:`resume_arguments` too. There, and where a callback sets the
    rate, a round that samples draws from a seed of its own number and of your seeds, so that a resume is
    exact. The same seed gives another model than without a ``Run`` then.

    Args:
        *items: a ``Run``, callbacks of ours, or lists of them.

    Raises:
        ArgumentError: one is no callback.
        MissingExtra: LightGBM is not installed, or is older than 4.6.

    Example:
        >>> import lightgbm as lgb, numpy as np, outlast
        >>> x, y = np.arange(80.0).reshape(80, 1), np.arange(80.0)
        >>> train, valid = lgb.Dataset(x[::2], y[::2]), lgb.Dataset(x[1::2], y[1::2])
        >>> given = outlast.frameworks.lightgbm.callbacks(outlast.EarlyStopping(patience=2, min_delta=50))
        >>> settings = {"num_threads": 1, "verbosity": -1}
        >>> booster = lgb.train(settings, train, 500, valid_sets=[valid], callbacks=given)
        >>> booster.num_trees() == booster.best_iteration < 500
        True

    Source: ``lightgbm.callback``.
    """
    core = InLightGBM(Driven("lightgbm", *items))
    return [core, AfterRound(core)]


def resume_arguments(run: Any, init_model: Any = None) -> dict[str, Any]:
    """Keywords for ``lgb.train``, or ``fit`` of an estimator: ``init_model=`` with the rounds of the run.

    Args:
        run: the run that is in the callbacks, too.
        init_model: that the run's own rounds come after, as ``lgb.train`` takes it: a booster, a path, or an
            estimator. Pass it in each start.

    Raises:
        ArgumentError: it is no run, or no model.
        RunChanged: the run was begun on another model.

    Example:
        >>> import tempfile, outlast
        >>> resume_arguments(outlast.Run(tempfile.mkdtemp() + "/run"))
        {'init_model': None}

    Source: ``lightgbm.train(init_model=...)``.
    """
    if not hasattr(run, "saved_training"):
        raise ArgumentError(
            f"resume_arguments takes the run that is in the callbacks, such as outlast.Run('runs/a'), but "
            f"got {run!r:.100}."
        )
    base, saved = _as_booster(init_model), run.saved_training()
    if saved is None:
        return {"init_model": base}
    _check_is_ours(saved)
    _refuse_other_base(saved["before"], base)
    return {"init_model": lightgbm.Booster(model_str=_text(saved["weights"]["model"]))}


def _as_booster(model: Any) -> Any:
    if model is None or isinstance(model, lightgbm.Booster):
        return model
    if isinstance(model, (str, os.PathLike)):
        if not os.path.isfile(model):
            raise ArgumentError(f"init_model={str(model)!r} is not a file: pass the path of a model's file.")
        return load(os.fspath(model))
    if isinstance(model, lightgbm.LGBMModel):
        if not model.fitted_:
            raise ArgumentError(f"init_model is a {type(model).__name__} that is not fitted: call fit first.")
        return model.booster_
    raise ArgumentError(
        f"init_model is a {type(model).__name__}: expected a lightgbm.Booster, the path of a model's file, a "
        "fitted estimator of LightGBM's, or None."
    )


def _refuse_other_base(before: Mapping[str, Any], base: Any) -> None:
    now = "" if base is None else _trees(base)
    if rounds.checksum(now) == before["trees"]:
        return
    if not before["rounds"]:
        told = "was begun without init_model, and now there is one"
    elif base is None:
        told = f"was begun on a model of {before['rounds']} rounds, and now init_model is missing"
    else:
        told = f"was begun on another init_model, of {before['rounds']} rounds"
    line = _LINE.format(", init_model=..." if before["rounds"] else "")
    raise RunChanged(
        f"The run {told}. Pass what it was begun with, {line}, take another folder, or begin again with "
        "resume='never'."
    )


class InLightGBM(MadeAgain):
    """What LightGBM calls before each round; it tells callbacks of rounds.

    Args:
        driven: the callbacks.
    """

    def __init__(self, driven: Driven) -> None:
        self.order, self.before_iteration = 5, True
        self._driven = driven
        self._call = call.Call()
        self._is_cv = False
        self._seeds: rounds.Seeds | None = None
        self._before = 0  # rounds that the model had before the first start
        self._results: dict[int, Sequence[tuple[Any, ...]]] = {}  # of the last and the best rounds

    def __call__(self, env: CallbackEnv) -> None:
        """Begin a round, and before the first one the training."""
        if env.iteration == env.begin_iteration:
            self._begin(env)
        if self._driven.has_ended:  # a finished run; LightGBM trains a round nevertheless
            return
        if self._seeds is not None:
            self._seeds.give(env.model, env.iteration)
        self._driven.begin_epoch()

    def _begin(self, env: CallbackEnv) -> None:
        self._call = call.found(Together)
        self._is_cv, self._seeds, self._before, self._results = not _is_booster(env.model), None, 0, {}
        if self._is_cv:
            self._driven.refuse_what_needs_a_model("lgb.cv")
        self._refuse_what_cannot_act()
        refuse_two_lists([one._driven for one in self._call.beside if isinstance(one, InLightGBM)])
        total = env.end_iteration - env.begin_iteration
        if self._is_cv:
            self._driven.begin(None, total)
            return
        trained = _trained(env.model)
        trained.begin(self._call, self._results)
        self._refuse_what_the_booster_cannot(trained)
        self._driven.begin(env.model, total)
        self._before = trained.before["rounds"]
        if (self._driven.is_saved or self._sets_rates) and rounds.draws(trained.parameters):
            self._seeds = rounds.Seeds(trained.parameters)

    @property
    def _sets_rates(self) -> str:
        """The name of a callback that sets the rate; "" if there is none."""
        setting = (type(one).__name__ for one in self._driven.callbacks if getattr(one, "sets_rates", False))
        return next(setting, "")

    def _refuse_what_cannot_act(self) -> None:
        self._driven.refuse_what_needs_batches("LightGBM")
        schedule = self._call.own("_ResetParameterCallback")
        if schedule is not None and self._driven.is_saved:
            raise UsageError(
                "lightgbm.reset_parameter counts rounds from each start, so its schedule would begin again "
                "after a resume: use outlast.LearningRateScheduler for the rate, and for another parameter "
                "an outlast.Callback in the Run whose on_epoch_begin calls self.model.reset_parameter(...)."
            )
        if schedule is not None and self._sets_rates and _RATE in schedule.kwargs:
            raise UsageError(
                f"{self._sets_rates} cannot act here: lightgbm.reset_parameter sets the learning rate in "
                "each round, whatever it is then. Leave out one of the two."
            )
        if self._driven.is_saved and self._call.own("_EarlyStoppingCallback") is not None:
            raise UsageError(
                "LightGBM's own early stopping is not saved, so a Run could not go on with it: put "
                "outlast.EarlyStopping(patience=...) into the Run, and leave out lightgbm.early_stopping and "
                "early_stopping_round."
            )
        if self._call.is_known:
            what = "valid_sets=[held_out] (of LGBMClassifier: eval_set=[(x, y)])"
            self._driven.refuse_without_data(self._call.sets, self._call.held_out, what)

    def _refuse_what_the_booster_cannot(self, trained: BoosterTraining) -> None:
        if self._driven.is_saved and trained.parameters["boosting"] == "rf":
            raise CapabilityError(
                "A Run cannot go on with boosting='rf', because LightGBM continues no random forest: pass "
                "the callbacks without a Run. With bagging, boosting='gbdt' can go on."
            )
        restores = any(getattr(one, "restore_best_weights", False) for one in self._driven.callbacks)
        if restores and trained.is_dart and self._call.keeps_training:
            raise CapabilityError(
                "EarlyStopping(restore_best_weights=True) cannot act here: dart changes earlier trees, so "
                "the best rounds are put back as another model, and keep_training_booster=True keeps this "
                "one. Leave out one of the two."
            )

    def end_round(self, env: CallbackEnv) -> None:
        """Tell of a round that LightGBM has trained."""
        if self._driven.has_ended:
            env.model.rollback_one_iter()
            return
        found = env.evaluation_result_list or []
        best = {one.best_epoch for one in self._stopping()}
        for epoch in self._results.keys() - best:
            del self._results[epoch]
        self._results[self._driven.next_epoch] = [tuple(one[at] for at in range(len(one))) for one in found]
        sets: dict[str, dict[str, Any]] = {}
        ways: dict[str, dict[str, Direction]] = {}
        for data, metric, value, higher, *deviation in self._results[self._driven.next_epoch]:
            sets.setdefault(data, {})[metric] = (value, *deviation) if deviation else value
            ways.setdefault(data, {})[metric] = "max" if higher else "min"
        logs, _ = self._told_apart(sets)
        self._driven.tell_directions(self._told_apart(ways)[0])
        self._driven.end_epoch(logs)

    def _told_apart(self, sets: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, str]]:
        return told_apart(sets, self._call.trained_on, self._driven.monitored, first=True)

    @property
    def has_ended(self) -> bool:
        """Whether a callback asked for the end, or no round is left."""
        return self._driven.has_ended

    def end(self, env: CallbackEnv, *, by_others: bool) -> None:
        """End the training; callbacks put the best rounds back.

        Args:
            env: of the last round.
            by_others: it is somebody else who ends it.
        """
        if by_others and not self._is_cv:
            _trained(env.model).hold()
        if self._seeds is not None:
            self._seeds.take_back(env.model)
        self._driven.end()

    def _stopping(self) -> list[EarlyStopping]:
        ours = (one for one in self._driven.callbacks if isinstance(one, EarlyStopping))
        return [one for one in ours if one.best is not None]

    @property
    def best(self) -> EarlyStopException | None:
        """What names the best round to LightGBM; None if nobody knows one."""
        for one in self._stopping():
            return EarlyStopException(self._before + one.best_epoch, self._results.get(one.best_epoch, []))
        return None

    @property
    def last(self) -> Sequence[tuple[Any, ...]]:
        """The metrics of the last round."""
        return self._results.get(self._driven.next_epoch - 1, [])


class AfterRound:
    """What LightGBM calls after each round; see :class:`Together`.

    Args:
        core: whose rounds they are.
    """

    def __init__(self, core: InLightGBM) -> None:
        self.order, self.before_iteration = 10**6, False
        self.core = core

    def __call__(self, env: CallbackEnv) -> None:
        """End the round; where the call of ``lgb.train`` was not found, else it is not called."""
        _end_rounds([self.core], env, None)


class Together:
    """Calls all callbacks after a round, ours last, even if another one ends the training.

    Args:
        everyone: the callbacks, in LightGBM's order.
    """

    def __init__(self, everyone: list[Any]) -> None:
        self.everyone = everyone

    def __call__(self, env: CallbackEnv) -> None:
        """Tell everyone of the round."""
        stop = None
        try:
            for one in self.everyone:
                if not isinstance(one, AfterRound):
                    one(env)
        except EarlyStopException as asked:
            stop = asked
        _end_rounds([one.core for one in self.everyone if isinstance(one, AfterRound)], env, stop)


def _end_rounds(cores: Sequence[InLightGBM], env: CallbackEnv, stop: EarlyStopException | None) -> None:
    """End a round of all lists, and the training if it is the last.

    Raises:
        EarlyStopException: the training ends: by it LightGBM learns of the best round. One without leaves
            ``best_iteration`` as it is where nobody stops the training.
    """
    for one in cores:
        one.end_round(env)
    is_last = env.iteration + 1 == env.end_iteration
    ended = [one for one in cores if one.has_ended]
    if not (stop or is_last or ended):
        return
    for one in cores:
        one.end(env, by_others=not (is_last or one.has_ended))
    best = next((one.best for one in cores if one.best is not None), stop)
    if best is not None:
        raise best
    if not is_last:
        all_rounds = -1 if _is_booster(env.model) else env.iteration
        raise EarlyStopException(all_rounds, [*ended[0].last])


def _is_booster(model: Any) -> bool:
    """Whether it is one, and does not stand for those of a cross validation."""
    return isinstance(model, lightgbm.Booster)


def _trained(model: Any) -> BoosterTraining:
    found = find_training(model)
    assert isinstance(found, BoosterTraining)
    return found


class BoosterTraining(Training):
    """A Booster: its rounds are its weights, and its optimizer is inside it.

    Args:
        model: the Booster.

    Attributes:
        parameters: as the model's text has them when the training begins.
        before: rounds that the model had before the first start, and a checksum of their trees.
    """

    framework = "LightGBM"
    needs_optimizer = False
    cannot_rewind = "LightGBM takes the rounds of one resume point alone"
    capabilities = frozenset({"learning_rate", "weights", "saving", "state"})

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.parameters: Mapping[str, str] = rounds.parameters_of(model.model_to_string(num_iteration=1))
        self.before: dict[str, Any] = {"rounds": 0, "trees": ""}
        self._call = call.Call()
        self._results: dict[int, Sequence[tuple[Any, ...]]] = {}
        self._begun = ""  # the trees with which this start began
        self._has_init_score = False
        self._description: dict[str, str] = {}
        self._held: str | None = None

    def begin(self, seen: call.Call, results: dict[int, Sequence[tuple[Any, ...]]]) -> None:
        """A training begins, whose metrics of the best rounds are kept in ``results``."""
        self._call, self._results, self._held = seen, results, None
        self._begun = _trees(self.model)
        self.before = {"rounds": self.model.current_iteration(), "trees": rounds.checksum(self._begun)}
        self._has_init_score = seen.has_init_score and not self._begun  # else it is what LightGBM has set
        self._description = rounds.described(self.model.params, self.parameters)

    @property
    def is_dart(self) -> bool:
        """Whether rounds change earlier trees."""
        return self.parameters["boosting"] == "dart"

    def learning_rates(self) -> dict[str, float]:
        return {_RATE: rounds.rate_of(self.model.params, self.parameters)}

    def set_learning_rate(self, name: str, value: float) -> None:
        if value != self.learning_rates()[_RATE]:  # LightGBM draws anew whenever one is set
            self.model.reset_parameter({_RATE: value})

    def state(self) -> Any:
        text = self._held if self._held is not None else rounds.without_parameters(_whole_text(self.model))
        results = {str(epoch): [[*one[:4]] for one in found] for epoch, found in self._results.items()}
        return {
            "weights": {"model": _array(text.encode())},
            "rates": self.learning_rates(),
            "before": self.before,
            "results": results,
            "init_score": self._has_init_score,
        }

    def settable(self) -> Any:
        return {}  # a start brings its rounds as an argument, and check_state compares them

    def check_state(self, state: Any) -> None:
        _check_is_ours(state)
        saved = rounds.trees_of(_text(state["weights"]["model"]))
        if saved == self._begun:
            return
        base = ", init_model=..." if state["before"]["rounds"] else ""
        if rounds.checksum(self._begun) == state["before"]["trees"]:
            told = "LightGBM takes them by an argument alone, which is missing"
        else:
            told = "init_model is another model"
        raise RunChanged(
            f"the rounds of the run are not those that this training begins with: {told}. Pass "
            f"{_LINE.format(base)}; or begin again with resume='never'"
        )

    def load_state(self, state: Any) -> None:
        self.before = {**state["before"]}
        self._has_init_score = state["init_score"]
        self._results.clear()
        for epoch, found in state["results"].items():
            self._results[int(epoch)] = [tuple(one) for one in found]
        for name, rate in state["rates"].items():
            self.set_learning_rate(name, rate)

    def hold(self) -> None:
        """Save the rounds as they are now, even if callbacks put others back when the training ends."""
        self._held = rounds.without_parameters(_whole_text(self.model))

    def description(self) -> dict[str, str]:
        return self._description

    def inexact(self, params: Mapping[str, Any]) -> list[str]:
        found = [*rounds.inexact(self.parameters)]
        if self._call.has_positions and self.parameters["objective"] == "lambdarank":
            found.append("the biases of positions that lambdarank has learned are in no model's text")
        if self._has_init_score:
            found.append("init_score of a Dataset counts in the first start alone: LightGBM replaces it")
        return found + [
            f"what {name} remembers is not saved: use a callback of outlast"
            for name in self._call.remembering()
        ]

    @property
    def is_on_accelerator(self) -> bool:
        return self.parameters["device_type"] != "cpu"

    def takes_any_shape(self, name: str) -> bool:
        return True

    def _copied_weights(self) -> Snapshot:
        """Earlier trees stay as they are, so that their number says enough; not with dart."""
        return Snapshot(_whole_text(self.model) if self.is_dart else self.model.current_iteration())

    def restore_weights(self, snapshot: Snapshot) -> None:
        """Drop the rounds that came later; those of earlier starts LightGBM cuts off by itself."""
        if isinstance(snapshot.weights, str):
            self.model.model_from_string(snapshot.weights)
            return
        left = None
        while left != (left := self.model.current_iteration()) and left > snapshot.weights:
            self.model.rollback_one_iter()

    def weights_to_arrays(self, snapshot: Snapshot) -> list[tuple[str, Any]]:
        weights = snapshot.weights
        if isinstance(weights, str):
            return [("model", _array(weights.encode()))]
        return [("rounds", _array(str(weights).encode()))]

    def weights_from_arrays(self, pairs: Iterable[tuple[str, Any]]) -> Snapshot:
        [(name, array)] = pairs
        return Snapshot(_text(array) if name == "model" else int(_text(array)))

    def suffixes(self, weights_only: bool) -> tuple[str, ...]:
        return (TEXT,)

    def saving(self, weights_only: bool) -> BoosterSave:
        return BoosterSave(self.model)

    def load_file(self, path: str) -> Any:
        return load(path)


@dataclass(frozen=True)
class BoosterSave:
    """Writes a booster to a file, all of its rounds.

    Args:
        model: the Booster.
    """

    model: Any

    def capture(self) -> Callable[[str], object]:
        """Take the model now, write it later."""
        return Content(_whole_text(self.model).encode())

    def write(self, path: str) -> None:
        """Write it while training waits."""
        self.capture()(path)


class RoundControl(Control):
    """LightGBM's loop.

    Attributes:
        position: where a run goes on.
    """

    dispatchers = ("lightgbm.basic", "lightgbm.callback", "lightgbm.engine", "lightgbm.sklearn")
    trains_by_rounds = True
    position = START

    def resume_at(self, position: Position = START) -> None:
        self.position = position


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
        return lightgbm.Booster(model_file=path)
    except lightgbm.basic.LightGBMError as error:
        raise DamagedFile(f"{path} is damaged: {str(error).splitlines()[-1]}", path=path) from error


def _check_is_ours(state: Any) -> None:
    if not {"weights", "rates", "before"} <= set(state):
        raise RunChanged("what was trained here was no Booster of LightGBM's: take another folder.")


def _whole_text(model: Any) -> str:
    """All rounds, also those after the best."""
    return str(model.model_to_string(num_iteration=-1))


def _trees(model: Any) -> str:
    return rounds.trees_of(_whole_text(model))


def _text(array: Any) -> str:
    return str(array.tobytes().decode())


def _array(raw: bytes) -> Any:
    import numpy as np

    return np.frombuffer(raw, "uint8")
