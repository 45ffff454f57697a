"""LightGBM: a Booster is trained, and a round of boosting is an epoch.

LightGBM takes the rounds to go on with by an argument alone, ``init_model``, so that a run gives them by
:func:`resume_arguments`. It has no hook at the end of a training: the last round ends it, or somebody's
``EarlyStopException``, and both are seen after a round. What a round draws from is in ``lightgbm_rounds.py``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from outlast.callbacks.early_stopping import EarlyStopping
from outlast.core.monitor import Direction
from outlast.exceptions import (
    ArgumentError,
    CapabilityError,
    MissingExtra,
    RunChanged,
    UsageError,
)
from outlast.frameworks import lightgbm_call as call
from outlast.frameworks import lightgbm_rounds as rounds
from outlast.frameworks.base import Control, Training, find_training
from outlast.frameworks.driven import Driven, MadeAgain, refuse_two_lists, told_apart
from outlast.frameworks.lightgbm_booster import (
    LINE,
    BoosterTraining,
    Results,
    RoundControl,
    check_is_ours,
    load,
    text_of,
    trees,
)
from outlast.frameworks.lightgbm_data import refuse_what_cannot_go_on

try:
    import lightgbm
    from lightgbm.callback import CallbackEnv, EarlyStopException
except ModuleNotFoundError as error:
    if error.name != "lightgbm":
        raise
    raise MissingExtra("lightgbm", extra="lightgbm", purpose="outlast.frameworks.lightgbm") from error
if tuple(map(int, lightgbm.__version__.split(".")[:2])) < (4, 6):
    raise MissingExtra("lightgbm>=4.6", extra="lightgbm", purpose="outlast.frameworks.lightgbm")

_OTHERS = "of others"  # the best round that somebody else has named


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
    return [core, BeforeAll(core), AfterRound(core)]


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
    if isinstance(run, type) or not hasattr(run, "saved_training"):
        raise ArgumentError(
            f"resume_arguments takes the run that is in the callbacks, such as outlast.Run('runs/a'), but "
            f"got {run!r:.100}."
        )
    base, saved = _as_booster(init_model), run.saved_training()
    if saved is None:
        return {"init_model": base}
    check_is_ours(saved)
    _refuse_other_base(saved["before"], base)
    booster = lightgbm.Booster(model_str=text_of(saved["weights"]["model"]))
    booster.outlast_run = os.path.realpath(run.folder)
    return {"init_model": booster}


def _as_booster(model: Any) -> Any:
    if model is None or isinstance(model, lightgbm.Booster):
        return model
    if isinstance(model, (str, os.PathLike)):
        if not os.path.isfile(model):
            raise ArgumentError(f"init_model={str(model)!r} is not a file: pass the path of a model's file.")
        return load(os.fspath(model))
    if isinstance(model, lightgbm.LGBMModel):
        if not getattr(model, "fitted_", False):
            raise ArgumentError(f"init_model is a {type(model).__name__} that is not fitted: call fit first.")
        return model.booster_
    raise ArgumentError(
        f"init_model is a {type(model).__name__}: expected a lightgbm.Booster, the path of a model's file, a "
        "fitted estimator of LightGBM's, or None."
    )


def _refuse_other_base(before: Mapping[str, Any], base: Any) -> None:
    now = "" if base is None else trees(base)
    if rounds.checksum(now) == before["trees"]:
        return
    if not before["rounds"]:
        told = "was begun without init_model, and now there is one"
    elif base is None:
        told = f"was begun on a model of {before['rounds']} rounds, and now init_model is missing"
    else:
        told = f"was begun on another init_model, of {before['rounds']} rounds"
    line = LINE.format(", init_model=..." if before["rounds"] else "")
    raise RunChanged(
        f"The run {told}. Pass what it was begun with, {line}, take another folder, or begin again with "
        "resume='never'."
    )


class InLightGBM(MadeAgain):
    """What LightGBM calls before each round, behind all others; it tells callbacks of rounds.

    Args:
        driven: the callbacks.
    """

    def __init__(self, driven: Driven) -> None:
        self.order, self.before_iteration = 10**6, True
        self._driven = driven
        self._call = call.Call()
        self._is_cv = False
        self._seeds: rounds.Seeds | None = None
        self._before = 0  # rounds that the model had before the first start
        self._results: Results = {}  # of the last and the best rounds

    def __call__(self, env: CallbackEnv) -> None:
        """Begin a round; its seeds come last, for LightGBM draws whenever somebody sets a parameter."""
        if self._driven.has_ended:  # LightGBM trains a round nevertheless
            return
        number = self._before + self._driven.next_epoch
        self._driven.begin_epoch()
        self._seed(env, number)

    def _seed(self, env: CallbackEnv, number: int | None) -> None:
        if self._seeds is not None:
            self._seeds.give(env.model, number, _trained(env.model).parameters_now())

    def look_at_data(self) -> None:
        """Refuse data with which a run could not go on, while they are as the user gave them."""
        if self._driven.is_saved:
            refuse_what_cannot_go_on()

    def begin(self, env: CallbackEnv) -> None:
        """Begin the training."""
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
        if self._driven.is_saved or self._sets_rates:
            self._seeds = rounds.Seeds(trained.parameters)
        if self._driven.has_ended:  # a finished run: its one round more is nobody's business
            self._call.before_rounds.clear()

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
                "an outlast.Callback in the Run whose on_epoch_begin calls self.model.reset_parameter(...); "
                "but leave bagging_fraction as it is, for LightGBM may crash when it changes."
            )
        if schedule is not None and self._sets_rates and not schedule.kwargs.keys().isdisjoint(rounds.RATES):
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
        given_by = getattr(self._call.begun_with, "outlast_run", None)
        if given_by and self._driven.is_saved and given_by != os.path.realpath(self._driven.run.folder):
            raise UsageError(
                f"init_model is that of another Run, in {given_by}: pass the same run to callbacks(run) and "
                "to resume_arguments(run). To go on from what it trained, pass its booster, "
                "resume_arguments(run, init_model=booster)."
            )
        if self._call.is_known:
            what = "valid_sets=[held_out] (of LGBMClassifier: eval_X=x, eval_y=y, or eval_set=[(x, y)])"
            self._driven.refuse_without_data(self._call.sets, self._call.held_out, what)
            self._driven.refuse_same_names(self._call.sets)

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

    def end_round(self, env: CallbackEnv, stop: EarlyStopException | None) -> None:
        """Tell of a round that LightGBM has trained, or take it back where none was left.

        Args:
            env: of the round.
            stop: somebody else ends the training by it.
        """
        if self._driven.has_ended:
            env.model.rollback_one_iter()
            return
        found = [tuple(one) for one in env.evaluation_result_list or ()]
        self._keep(0 if self._is_cv else env.model.current_iteration(), found)
        if stop is not None:
            self._results[_OTHERS] = stop.best_iteration + 1, [tuple(one) for one in stop.best_score]
        sets: dict[str, dict[str, Any]] = {}
        ways: dict[str, dict[str, Direction]] = {}
        for data, metric, value, higher, *deviation in found:
            sets.setdefault(data, {})[metric] = (value, *deviation) if deviation else value
            ways.setdefault(data, {})[metric] = "max" if higher else "min"
        logs, meant = self._told_apart(sets)
        if not self._is_cv:
            _trained(env.model).meanings.meet(meant)
        self._driven.tell_directions(self._told_apart(ways)[0])
        self._driven.judge_loss(logs)
        self._driven.end_epoch(logs)

    def _keep(self, count: int, found: list[tuple[Any, ...]]) -> None:
        """Keep what is known of this round, and of those that are the best so far."""
        best = {str(one.best_epoch) for one in self._stopping()}
        for epoch in self._results.keys() - best:
            del self._results[epoch]
        self._results[str(self._driven.next_epoch)] = count, found

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
        self._seed(env, None)
        self._driven.end()

    def _stopping(self) -> list[EarlyStopping]:
        ours = (one for one in self._driven.callbacks if isinstance(one, EarlyStopping))
        return [one for one in ours if one.best is not None]

    @property
    def best(self) -> EarlyStopException | None:
        """What names the best round to LightGBM; None if nobody knows one."""
        for one in self._stopping():
            count, found = self._results.get(str(one.best_epoch), (0, []))
            return EarlyStopException(one.best_epoch if self._is_cv else count - 1, found)
        if _OTHERS in self._results:
            count, found = self._results[_OTHERS]
            return EarlyStopException(count - 1, found)
        return None

    @property
    def last(self) -> list[tuple[Any, ...]]:
        """The metrics of the last round."""
        return self._results.get(str(self._driven.next_epoch - 1), (0, []))[1]


class BeforeAll:
    """What LightGBM calls before each round, before all others: it begins the training.

    Args:
        core: that is begun.
    """

    def __init__(self, core: InLightGBM) -> None:
        self.order = -(10**6)
        self.core = core

    @property
    def before_iteration(self) -> bool:
        """That it is called before a round; LightGBM asks before it makes its data of the user's."""
        self.core.look_at_data()
        return True

    def __call__(self, env: CallbackEnv) -> None:
        """Begin the training before its first round."""
        if env.iteration == env.begin_iteration:
            self.core.begin(env)


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
        cores = [one.core for one in self.everyone if isinstance(one, AfterRound)]
        others = [one for one in self.everyone if not isinstance(one, AfterRound)]
        stop = None
        if finished := next((one for one in cores if one.has_ended), None):  # no round is left
            others = [one for one in others if call.records(one)]
            last = EarlyStopException(0, finished.last).best_score  # in the form that LightGBM has
            env = CallbackEnv(
                model=env.model,
                params=env.params,
                iteration=env.iteration,
                begin_iteration=env.begin_iteration,
                end_iteration=env.end_iteration,
                evaluation_result_list=last,
            )
        try:
            for one in others:
                one(env)
        except EarlyStopException as asked:
            stop = asked
        _end_rounds(cores, env, stop)


def _end_rounds(cores: Sequence[InLightGBM], env: CallbackEnv, stop: EarlyStopException | None) -> None:
    """End a round of all lists, and the training if it is the last.

    Raises:
        EarlyStopException: the training ends: by it LightGBM learns of the best round. One without leaves
            ``best_iteration`` as it is where nobody stops the training.
    """
    for one in cores:
        one.end_round(env, stop)
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
        raise EarlyStopException(all_rounds, ended[0].last)


def _is_booster(model: Any) -> bool:
    """Whether it is one, and does not stand for those of a cross validation."""
    return isinstance(model, lightgbm.Booster)


def _trained(model: Any) -> BoosterTraining:
    found = find_training(model)
    assert isinstance(found, BoosterTraining)
    return found


def training(model: Any, optimizer: Any = None) -> Training:
    """What is trained."""
    return BoosterTraining(model)


def control(model: Any) -> Control:
    """Who runs the loop."""
    return RoundControl(model)
