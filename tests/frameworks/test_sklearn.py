"""scikit-learn's estimators in loops of one's own, saved and gone on with; callbacks in its own fit."""

from __future__ import annotations

import copy
import io
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.cluster import MiniBatchKMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import IncrementalPCA, LatentDirichletAllocation, MiniBatchDictionaryLearning
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import Perceptron, SGDClassifier, SGDRegressor
from sklearn.naive_bayes import MultinomialNB
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import outlast
from outlast.exceptions import (
    ArgumentError,
    CapabilityError,
    DamagedFile,
    MissingExtra,
    OutlastWarning,
    RunChanged,
    UnknownArgument,
)
from outlast.frameworks.base import find_training
from outlast.frameworks.sklearn_frozen import freeze, thaw
from outlast.frameworks.sklearn_parameters import plain, put_into
from outlast.frameworks.sklearn_rates import rates
from outlast.frameworks.sklearn_trust import COMMON, TREES

rng = np.random.default_rng(0)
X = rng.random((240, 6))
Y = (X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * rng.random(240) > 0.9).astype(int)
TRAINED, HELD_OUT = slice(160), slice(160, None)
EPOCHS, SIZE = 4, 40

ESTIMATORS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: SGDClassifier(loss="log_loss", random_state=1),
    "sgd averaged": lambda: SGDClassifier(learning_rate="adaptive", eta0=0.1, average=True, random_state=1),
    "sgd without a seed": lambda: SGDClassifier(),
    "sgd with a generator": lambda: SGDClassifier(random_state=np.random.RandomState(1)),
    "regressor": lambda: SGDRegressor(random_state=1),
    "perceptron": lambda: Perceptron(random_state=1),
    "adam": lambda: MLPClassifier((4,), random_state=1),
    "adam without a seed": lambda: MLPClassifier((4,)),
    "invscaling": lambda: MLPRegressor(
        hidden_layer_sizes=(4,), solver="sgd", learning_rate="invscaling", random_state=1
    ),
    "k-means": lambda: MiniBatchKMeans(3, random_state=1),
    "bayes": lambda: MultinomialNB(),
    "pca": lambda: IncrementalPCA(2),
    "topics": lambda: LatentDirichletAllocation(2, random_state=1),
    "dictionary": lambda: MiniBatchDictionaryLearning(2, max_iter=1, random_state=1),
    "rbm": lambda: BernoulliRBM(3, random_state=1),
    "forest": lambda: RandomForestClassifier(0, warm_start=True, max_depth=3),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=0, warm_start=True, subsample=0.5),
    "histograms": lambda: HistGradientBoostingClassifier(max_iter=0, warm_start=True, early_stopping=False),
    "categories": lambda: HistGradientBoostingClassifier(
        max_iter=0, warm_start=True, early_stopping=False, categorical_features=[0]
    ),
    "columns": lambda: make_pipeline(
        ColumnTransformer([("some", StandardScaler(), [0, 1])], remainder="passthrough"), sgd()
    ),
    "adam by fit": lambda: MLPClassifier((4,), max_iter=1, warm_start=True),
}


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Stochastic Optimizer: Maximum iterations")
        warnings.filterwarnings("ignore", "This estimator was.*|.*eta0.*", FutureWarning)
        yield


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Estimators without a seed draw from NumPy's global generator."""
    np.random.seed(7)
    yield


def batches() -> Any:
    return outlast.Batches(X[TRAINED], Y[TRAINED], batch_size=SIZE, seed=2)


def step(model: Any, x: Any, y: Any) -> None:
    """One batch; the classes are told in the first call alone."""
    if hasattr(model, "predict_proba") or hasattr(model, "decision_function"):
        model.partial_fit(x, y, **({} if hasattr(model, "classes_") else {"classes": [0, 1]}))
    elif hasattr(model, "transform"):
        model.partial_fit(x)
    else:
        model.partial_fit(x, y)


def grow(model: Any, x: Any = X[TRAINED], y: Any = Y[TRAINED]) -> None:
    """With ``warm_start``: two trees more, or another pass."""
    for name in {"n_estimators", "max_iter"} & model.get_params().keys():
        if not hasattr(model, "hidden_layer_sizes"):
            model.set_params(**{name: getattr(model, name) + 2})
    model.fit(x, y)


def train(
    model: Any,
    folder: Path | None,
    *items: Any,
    epochs: int = EPOCHS,
    dies: tuple[int, int] | None = None,
    look: Callable[[Any, int, int], None] = lambda run, epoch, batch: None,
    **options: Any,
) -> Any:
    """A run of ``partial_fit``, or of ``warm_start``; it dies after a batch of an epoch."""
    run = outlast.Run(folder, items, model=model, **options)
    for epoch in run.epochs(epochs):
        for batch, (x, y) in enumerate(run.batches(batches())):
            if not getattr(model, "warm_start", False):
                step(model, x, y)
            elif not batch:
                grow(model)
            np.random.random()  # a script's own draws
            look(run, epoch, run.batch)
            if dies == (epoch, run.batch):
                run.flush()
                raise Killed
        run.log(val_score=score(model))
    return run


def score(model: Any) -> float:
    if hasattr(model, "classes_") or hasattr(model, "coef_") or hasattr(model, "coefs_"):
        return float(model.score(X[HELD_OUT], Y[HELD_OUT]))
    return 0.0


def frozen(model: Any) -> Any:
    """All of an estimator, to be compared."""
    found = freeze(model, trusted=COMMON | TREES)
    arrays = {name: (str(one.dtype), one.shape, one.tobytes()) for name, one in found.arrays.items()}
    return dict(found.texts), arrays


def sgd(**settings: Any) -> Any:
    return SGDClassifier(**{"learning_rate": "constant", "eta0": 0.1, "random_state": 3} | settings)


# Exact.


@pytest.mark.parametrize("kind", [kind for kind in ESTIMATORS if kind not in ("categories", "columns")])
def test_a_run_that_was_killed_twice_ends_with_the_same_bytes_as_one_that_was_not(
    kind: str, tmp_path: Path
) -> None:
    make = ESTIMATORS[kind]
    plain = make()
    for epoch in range(EPOCHS):
        for batch, (x, y) in enumerate(batches().at(epoch)):
            if not getattr(plain, "warm_start", False):
                step(plain, x, y)
            elif not batch:
                grow(plain)
            np.random.random()
    np.random.seed(7)
    whole = make()
    train(whole, tmp_path / "whole")
    assert frozen(whole) == frozen(plain)
    by_pass = getattr(whole, "warm_start", False)
    options = {} if by_pass else {"save_every": 1}
    for dies in ((1, 1), (2, 2)):
        np.random.seed(7)
        with pytest.raises(Killed):
            train(make(), tmp_path / "killed", dies=dies, **options)
    np.random.seed(7)
    resumed = make()
    train(resumed, tmp_path / "killed", **options)
    assert frozen(resumed) == frozen(whole)


@pytest.mark.filterwarnings("error")
def test_a_resume_says_that_it_is_identical(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Killed):
        train(ESTIMATORS["adam without a seed"](), tmp_path / "run", dies=(2, 1), save_every=1)
    np.random.seed(7)
    train(ESTIMATORS["adam without a seed"](), tmp_path / "run", save_every=1)
    out = capsys.readouterr().out
    assert "identical" in out and "not identical" not in out and "would not be exact" not in out


def test_what_holds_numpys_global_generator_holds_it_after_a_resume_too(tmp_path: Path) -> None:
    train(MLPClassifier((4,)), tmp_path / "run", epochs=2)
    again = MLPClassifier((4,))
    train(again, tmp_path / "run", epochs=3)
    assert again._random_state is np.random.mtrand._rand


def test_a_generator_that_the_script_shares_with_the_estimator_is_the_same_object(tmp_path: Path) -> None:
    def made(dies: tuple[int, int] | None) -> Any:
        shared = np.random.RandomState(5)
        model = MLPClassifier((4,), random_state=shared)
        look = lambda run, epoch, batch: shared.random_sample(3)  # noqa: E731
        train(model, tmp_path / ("whole" if dies is None else "killed"), dies=dies, look=look, save_every=1)
        return model, shared

    whole, expected = made(None)
    with pytest.raises(Killed):
        made((3, 2))
    shared = np.random.RandomState(5)
    model = MLPClassifier((4,), random_state=shared)
    train(
        model,
        tmp_path / "killed",
        look=lambda run, epoch, batch: shared.random_sample(3),
        save_every=1,
    )
    assert model._random_state is shared
    assert shared.random_sample() == expected.random_sample()
    assert frozen(model)[1].keys() == frozen(whole)[1].keys()
    assert [one.tobytes() for one in model.coefs_] == [one.tobytes() for one in whole.coefs_]


def test_a_pipeline_by_hand_goes_on_with_the_scripts_own_steps(tmp_path: Path) -> None:
    def trained(dies: tuple[int, int] | None, folder: str) -> Any:
        scaler, model = StandardScaler(), sgd()
        pipeline = make_pipeline(scaler, model)
        run = outlast.Run(tmp_path / folder, model=pipeline, save_every=1)
        for epoch in run.epochs(4):
            for x, y in run.batches(batches()):
                step(model, scaler.partial_fit(x).transform(x), y)
                if dies == (epoch, run.batch):
                    run.flush()
                    raise Killed
        assert pipeline[0] is scaler and pipeline[1] is model
        return pipeline

    whole = trained(None, "whole")
    with pytest.raises(Killed):
        trained((2, 1), "killed")
    assert frozen(trained(None, "killed")) == frozen(whole)


def test_an_estimator_beside_the_model_is_saved_as_a_part(tmp_path: Path) -> None:
    def trained(dies: tuple[int, int] | None, folder: str) -> Any:
        scaler, model = StandardScaler(), sgd()
        run = outlast.Run(tmp_path / folder, model=model, scaler=scaler, save_every=1)
        for epoch in run.epochs(4):
            for x, y in run.batches(batches()):
                step(model, scaler.partial_fit(x).transform(x), y)
                if dies == (epoch, run.batch):
                    run.flush()
                    raise Killed
        return scaler, model

    whole = trained(None, "whole")
    with pytest.raises(Killed):
        trained((2, 1), "killed")
    again = trained(None, "killed")
    assert [frozen(one) for one in again] == [frozen(one) for one in whole]
    with pytest.raises((RunChanged, CapabilityError), match="another one: StandardScaler in the run"):
        outlast.Run(tmp_path / "killed", model=sgd(), scaler=IncrementalPCA(2))


def test_an_estimator_of_another_package_is_no_part(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    with pytest.raises(UnknownArgument, match="an estimator of scikit-learn's"):
        outlast.Run(tmp_path / "run", model=sgd(), other=xgboost.XGBClassifier())


def test_a_generator_in_the_estimator_is_not_named_as_unsaved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = np.random.RandomState(0)
    model = sgd(random_state=shared)
    for _ in (run := outlast.Run(tmp_path / "run", model=model)).epochs(1):
        for x, y in run.batches(batches()):
            step(model, x + 0.01 * shared.random_sample(x.shape), y)
    assert "starts over" not in capsys.readouterr().out


def test_what_is_logged_and_decided_is_the_same(tmp_path: Path) -> None:
    def items() -> list[Any]:
        return [
            outlast.EarlyStopping("val_score", patience=3, restore_best_weights=True),
            outlast.ModelCheckpoint(monitor="val_score", save_best_only=True),
            outlast.ReduceLROnPlateau("val_score", patience=1, factor=0.5),
            outlast.CSVLogger(),
        ]

    whole = train(sgd(), tmp_path / "whole", *items(), epochs=15, save_every=1)
    for dies in ((1, 1), (3, 0)):
        with pytest.raises(Killed):
            train(sgd(), tmp_path / "killed", *items(), epochs=15, dies=dies, save_every=1)
    again = train(sgd(), tmp_path / "killed", *items(), epochs=15, save_every=1)
    assert whole.stopped and again.stopped == whole.stopped
    assert again.history.rows == whole.history.rows
    assert len({row["learning_rate"] for row in whole.history.rows}) > 1
    assert frozen(again.model) == frozen(whole.model)
    assert (tmp_path / "killed" / "history.csv").read_bytes() == (
        tmp_path / "whole" / "history.csv"
    ).read_bytes()
    assert frozen(again.load_best()) == frozen(whole.load_best())


# Parameters and rates.


def test_a_parameter_that_training_changes_goes_on_from_where_it_was(tmp_path: Path) -> None:
    model = RandomForestClassifier(2, warm_start=True, random_state=0)
    train(model, tmp_path / "run", epochs=2)
    again = RandomForestClassifier(2, warm_start=True, random_state=0)
    train(again, tmp_path / "run", epochs=3)
    assert again.n_estimators == len(again.estimators_) == 8


def test_a_parameter_that_the_script_sets_otherwise_counts_and_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(sgd(), tmp_path / "run", epochs=1)
    again = sgd(alpha=0.5)
    train(again, tmp_path / "run", epochs=2)
    out = capsys.readouterr().out
    assert again.alpha == 0.5
    assert "alpha changed from 0.0001 to 0.5" in out and "would not be exact" not in out
    third = sgd(alpha=0.5)
    train(third, tmp_path / "run", epochs=3)
    assert third.alpha == 0.5 and "alpha changed" not in capsys.readouterr().out


def test_a_seed_that_becomes_a_generator_stays_one(tmp_path: Path) -> None:
    train(sgd(), tmp_path / "run", epochs=1)
    shared = np.random.RandomState(0)
    again = sgd(random_state=shared)
    train(again, tmp_path / "run", epochs=2)
    assert again.random_state is shared


def test_a_parameter_that_is_set_between_two_trainings_of_a_run_counts(tmp_path: Path) -> None:
    model = sgd()
    run = train(model, tmp_path / "run", epochs=1)
    model.alpha = 0.5
    for _ in run.epochs(2):
        for x, y in run.batches(batches()):
            step(model, x, y)
    assert model.alpha == 0.5
    again = sgd()
    train(again, tmp_path / "run", epochs=3)
    assert again.alpha == 0.5


def test_a_parameter_that_training_changed_before_an_error_goes_back(tmp_path: Path) -> None:
    model = RandomForestClassifier(2, warm_start=True, random_state=0)

    def fail(run: Any, epoch: int, batch: int) -> None:
        if epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        train(model, tmp_path / "run", look=fail)
    train(model, tmp_path / "run", epochs=3)
    assert model.n_estimators == len(model.estimators_) == 8


@pytest.mark.parametrize(
    ("before", "now", "name"),
    [
        (MLPClassifier((4,)), MLPClassifier((5,)), "hidden_layer_sizes"),
        (MLPClassifier((4,)), MLPClassifier((4,), beta_1=0.5), "beta_1"),
        (MiniBatchKMeans(3), MiniBatchKMeans(4), "n_clusters"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_parameter_that_has_no_effect_any_more_is_refused(
    before: Any, now: Any, name: str, tmp_path: Path
) -> None:
    train(before, tmp_path / "run", epochs=1)
    with pytest.raises(RunChanged, match=f"{name} changed .*no effect"):
        train(now, tmp_path / "run", epochs=2)


def test_another_rate_is_refused_and_may_be_accepted(tmp_path: Path) -> None:
    train(sgd(), tmp_path / "run", epochs=1)
    with pytest.raises(RunChanged, match=r"learning_rate changed from 0.1 to 0.5"):
        train(sgd(eta0=0.5), tmp_path / "run", epochs=2)
    model = sgd(eta0=0.5)
    train(model, tmp_path / "run", epochs=2, accept_changes=["learning_rate"])
    assert model.eta0 == 0.5


def test_another_estimator_is_refused(tmp_path: Path) -> None:
    train(SGDClassifier(random_state=0), tmp_path / "run", epochs=1)
    with pytest.raises(RunChanged, match="SGDClassifier in the run, MultinomialNB in this code"):
        train(MultinomialNB(), tmp_path / "run", epochs=2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: sgd(),
        lambda: sgd(learning_rate="invscaling"),
        lambda: sgd(learning_rate="adaptive"),
        lambda: SGDRegressor(random_state=0),
        lambda: Perceptron(random_state=0),
        lambda: MLPClassifier((4,), random_state=0),
        lambda: MLPClassifier((4,), solver="sgd", random_state=0),
        lambda: MLPClassifier((4,), solver="sgd", learning_rate="invscaling", random_state=0),
        lambda: BernoulliRBM(3, random_state=0),
    ],
)
def test_a_rate_that_is_set_acts_in_the_next_batch(make: Callable[[], Any]) -> None:
    """A rate of almost nothing changes almost nothing; that it was read before makes no difference."""
    model = make()
    step(model, X[:40], Y[:40])
    name, rate = next(iter(rates(model).items()))
    rate.set(1e-12)
    assert rates(model)[name].read() == 1e-12
    learned = (
        "coefs_" if hasattr(model, "coefs_") else "components_" if hasattr(model, "transform") else "coef_"
    )
    if hasattr(model, "_optimizer"):  # momentum goes on by itself
        for one in getattr(model._optimizer, "velocities", []):
            one[:] = 0
    before = copy.deepcopy(getattr(model, learned))
    step(model, X[40:80], Y[40:80])
    after = getattr(model, learned)
    pairs = zip(before, after, strict=True)
    assert all(np.allclose(one, other, atol=1e-9, rtol=0) for one, other in pairs)


def test_a_rate_acts_on_the_next_trees_of_histograms_alone() -> None:
    model = ESTIMATORS["histograms"]()
    grow(model)
    before = model.decision_function(X)
    next(iter(rates(model).values())).set(1e-9)
    grow(model)
    assert np.allclose(model.decision_function(X), before, atol=1e-6)


def test_a_rate_counts_in_a_loop_of_fits_too() -> None:
    model = ESTIMATORS["adam by fit"]()
    grow(model)
    rates(model)["mlpclassifier"].set(1e-12)
    before = copy.deepcopy(model.coefs_)
    grow(model)
    assert all(np.allclose(one, other, atol=1e-9) for one, other in zip(before, model.coefs_, strict=True))


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (SGDClassifier(), "SGDClassifier\\(learning_rate='optimal'\\) computes its rate itself"),
        (MultinomialNB(), "MultinomialNB has no learning rate"),
        (MLPClassifier(solver="lbfgs"), "solver='lbfgs'"),
        (GradientBoostingClassifier(), "one rate for all its trees"),
        (make_pipeline(StandardScaler(), SGDClassifier()), "SGDClassifier\\(learning_rate='optimal'"),
    ],
    ids=lambda one: "" if isinstance(one, str) else type(one).__name__,
)
@pytest.mark.parametrize("kind", ["ReduceLROnPlateau", "LearningRateScheduler"])
def test_a_callback_of_rates_is_refused_before_the_start_where_no_rate_acts(
    kind: str, model: Any, why: str, tmp_path: Path
) -> None:
    one = {
        "ReduceLROnPlateau": outlast.ReduceLROnPlateau("val_score"),
        "LearningRateScheduler": outlast.LearningRateScheduler(lambda epoch: 0.1),
    }[kind]
    began = []
    with pytest.raises(CapabilityError, match=why):
        train(model, tmp_path / "run", one, look=lambda *_: began.append(1))
    assert not began


def test_of_a_pipeline_each_step_has_its_rate_by_its_name() -> None:
    pipeline = make_pipeline(StandardScaler(), sgd())
    assert find_training(pipeline).learning_rates() == {"sgdclassifier": 0.1}
    find_training(pipeline).set_learning_rate("sgdclassifier", 0.2)
    assert pipeline[1].eta0 == 0.2


# Weights and files.


def test_the_best_comes_back_into_the_same_object_and_the_rate_stays(tmp_path: Path) -> None:
    model = sgd()
    values, seen = iter([0.5, 0.9, 0.1, 0.2, 0.3]), []

    def look(run: Any, epoch: int, batch: int) -> None:
        seen.append((epoch, model.coef_.copy(), model.t_))

    stopping = outlast.EarlyStopping("quality", mode="max", patience=2, restore_best_weights=True)
    plateau = outlast.ReduceLROnPlateau("quality", mode="max", patience=1, factor=0.5)
    run = outlast.Run(tmp_path / "run", [stopping, plateau], model=model)
    for epoch in run.epochs(5):
        for x, y in run.batches(batches()):
            step(model, x, y)
        look(run, epoch, 0)
        run.log(quality=next(values))
    assert len(seen) == 4 and stopping.best_epoch == 1
    assert model.coef_.tobytes() == seen[1][1].tobytes() and model.t_ == seen[1][2]
    assert model.eta0 == 0.025


@pytest.mark.parametrize("best", [0, 1])
def test_the_best_has_the_parameters_that_it_had(best: int, tmp_path: Path) -> None:
    model = RandomForestClassifier(2, warm_start=True, random_state=0)
    stopping = outlast.EarlyStopping("quality", mode="max", patience=2, restore_best_weights=True)
    for epoch in (run := outlast.Run(tmp_path / "run", [stopping], model=model)).epochs(6):
        model.n_estimators += 2 * (epoch > 0)
        model.fit(X, Y)
        run.log(quality=float(epoch == best))
    assert model.n_estimators == len(model.estimators_) == 2 + 2 * best


def test_a_file_is_read_by_skops_and_by_load_best(tmp_path: Path) -> None:
    model = sgd()
    run = train(
        model, tmp_path / "run", outlast.ModelCheckpoint(monitor="val_score", save_best_only=True), epochs=1
    )
    assert frozen(skops.io.load(tmp_path / "run" / "best.skops")) == frozen(model)
    assert frozen(run.load_best()) == frozen(model)
    assert frozen(outlast.open_run(tmp_path / "run").load_best()) == frozen(model)


@pytest.mark.parametrize("kind", ["adam", "invscaling", "forest", "histograms"])
def test_files_of_estimators_with_types_that_skops_does_not_trust_are_loaded(
    kind: str, tmp_path: Path
) -> None:
    model = ESTIMATORS[kind]()
    run = train(
        model, tmp_path / "run", outlast.ModelCheckpoint(monitor="val_score", save_best_only=True), epochs=1
    )
    assert frozen(run.load_best()) == frozen(model)


def test_a_file_without_a_run(tmp_path: Path) -> None:
    path = tmp_path / "best.skops"
    model = sgd()
    listed = outlast.CallbackList([outlast.ModelCheckpoint(str(path), "val_score")], model=model)
    listed.on_train_begin()
    step(model, X, Y)
    listed.on_epoch_end(0, {"val_score": 0.5})
    assert frozen(skops.io.load(path)) == frozen(model)


def test_a_checkpoint_with_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"\.skops"):
        train(sgd(), tmp_path / "run", outlast.ModelCheckpoint("best.pt", "val_score"))


@pytest.mark.parametrize("cut", [10, 200])
def test_a_damaged_file_is_named(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "m.skops"
    path.write_bytes(skops.io.dumps(sgd())[:-cut])
    with pytest.raises(DamagedFile, match=r"m\.skops"):
        outlast.frameworks.sklearn.load(str(path))


# Types that are trusted.


class Own(SGDClassifier):
    """A subclass of the user's."""


class Odd:
    """An object of the user's."""


class Growing(SGDClassifier):
    """Gets an object of a type of the user's while it is trained."""

    def partial_fit(self, x: Any, y: Any, classes: Any = None) -> Any:
        self.odd_ = Odd()
        return super().partial_fit(x, y, classes=classes)


def test_a_class_of_ones_own_is_trusted_since_the_model_is_one(tmp_path: Path) -> None:
    settings = {"learning_rate": "constant", "eta0": 0.1, "random_state": 0}
    train(
        Own(**settings),
        tmp_path / "run",
        outlast.ModelCheckpoint(monitor="val_score", save_best_only=True),
        epochs=1,
    )
    again = Own(**settings)
    run = train(
        again, tmp_path / "run", outlast.ModelCheckpoint(monitor="val_score", save_best_only=True), epochs=2
    )
    assert type(run.load_best()) is Own
    with pytest.raises(CapabilityError, match=r"not trusted: .*Own\. .*skops\.io\.load"):
        outlast.open_run(tmp_path / "run").load_best()


def test_what_is_not_trusted_is_not_saved_but_named(tmp_path: Path) -> None:
    with pytest.raises(CapabilityError, match=r"not trusted: .*Odd"):
        train(Growing(), tmp_path / "run", epochs=1)


def test_a_forged_state_runs_no_code(tmp_path: Path) -> None:
    model = sgd()
    state = find_training(model).state()
    forged = json.loads(state["weights"]["texts"][""])
    forged["__module__"], forged["__class__"] = "subprocess", "Popen"
    state["weights"]["texts"][""] = json.dumps(forged)
    with pytest.raises(CapabilityError, match=r"not trusted: subprocess\.Popen"):
        find_training(model).load_state(state)


def test_a_file_that_could_not_be_read_again_is_refused_before_the_start(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(lambda x: x), sgd())
    run = outlast.Run(tmp_path / "run", [outlast.ModelCheckpoint(monitor="val_score")], model=model)
    with pytest.raises(CapabilityError, match="def instead of lambda"):
        next(run.epochs(1))


def test_the_list_of_trusted_types_is_fixed() -> None:
    assert {name.rpartition(".")[2] for name in COMMON | TREES} == {
        *("AdamOptimizer", "SGDOptimizer", "Tree", "TreePredictor"),
        *("Bunch", "_RemainderColsList", "check_array", "dtype"),
        *("csc_array", "csc_matrix", "csr_array", "csr_matrix"),
    }


def test_functions_come_from_the_script_and_need_not_be_trusted(tmp_path: Path) -> None:
    def made() -> Any:
        return make_pipeline(FunctionTransformer(lambda x: x * 2), sgd())

    def trained(epochs: int) -> Any:
        pipeline = made()
        run = outlast.Run(tmp_path / "run", model=pipeline)
        for _ in run.epochs(epochs):
            for x, y in run.batches(batches()):
                step(pipeline[1], pipeline[0].transform(x), y)
        return pipeline

    trained(1)
    again = trained(2)
    assert again[1].t_ == 321 and again[0].transform(np.ones(1)) == 2


# What is equal is equal.


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_an_estimator_is_the_same_after_it_was_stored_and_put_into_another(kind: str) -> None:
    model, other = ESTIMATORS[kind](), ESTIMATORS[kind]()
    x = np.c_[np.arange(len(X)) % 4, X]  # the first one has categories
    for _ in range(2):
        if hasattr(model, "partial_fit"):
            step(model, x, Y)
        else:
            grow(model, x, Y)
    first = freeze(model, trusted=COMMON | TREES)
    put_into(other, thaw(first.tree(), COMMON | TREES), generators=True)
    for name, one in plain(model).items():
        plain(other)[name].put(one.value)
    assert frozen(other) == frozen(model)
    assert not hasattr(other, "_sklearn_version")


def test_a_sparse_matrix_is_stored() -> None:
    model = sgd()
    step(model, X, Y)
    model.sparsify()
    other = thaw(freeze(model).tree())
    assert (other.coef_ != model.coef_).nnz == 0
    assert frozen(other) == frozen(model)


def test_arrays_keep_their_order_in_memory() -> None:
    model = sgd()
    model.array_ = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    model.same_ = model.array_
    other = thaw(freeze(model).tree())
    assert other.array_.flags.f_contiguous and other.same_ is other.array_


def test_what_was_learned_after_the_state_is_gone_when_it_is_put_back() -> None:
    model = sgd()
    training = find_training(model)
    state = training.state()
    step(model, X, Y)
    training.load_state(state)
    assert not hasattr(model, "coef_") and not hasattr(model, "t_")


# Loops.


def test_an_interrupted_perceptron_ends_after_the_batch(tmp_path: Path) -> None:
    """Its own fit takes a KeyboardInterrupt for a wish to end, and goes on; the run does not."""
    done = []

    def look(run: Any, epoch: int, batch: int) -> None:
        done.append((epoch, batch))
        if (epoch, batch) == (1, 1):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(ESTIMATORS["adam"](), tmp_path / "run", look=look, save_every=1)
    assert done[-1] == (1, 1)


def test_a_loop_that_trains_another_object_is_told_so_once(tmp_path: Path) -> None:
    model = sgd()
    other = clone(model)
    run = outlast.Run(tmp_path / "run", model=model)
    with pytest.warns(OutlastWarning, match="SGDClassifier that the Run has did not change") as told:
        for _ in run.epochs(3):
            for x, y in run.batches(batches()):
                step(other, x, y)
    assert len(told) == 1


def test_a_generator_that_the_data_share_with_the_estimator(tmp_path: Path) -> None:
    class Shuffled:
        """Batches in an order that a generator draws in each epoch."""

        def __init__(self, generator: Any) -> None:
            self.generator = generator

        def __iter__(self) -> Iterator[Any]:
            for index in self.generator.permutation(8):
                yield X[index * 20 :][:20], Y[index * 20 :][:20]

    def trained(folder: str, dies: tuple[int, int] | None = None) -> Any:
        shared = np.random.RandomState(5)
        model = SGDClassifier(random_state=shared)
        run = outlast.Run(tmp_path / folder, model=model, save_every=1)
        data = Shuffled(shared)
        for epoch in run.epochs(4):
            for x, y in run.batches(data):
                step(model, x, y)
                if dies == (epoch, run.batch):
                    run.flush()
                    raise Killed
        return model

    whole = trained("whole")
    for dies in ((1, 3), (2, 0)):
        with pytest.raises(Killed):
            trained("killed", dies)
    assert frozen(trained("killed")) == frozen(whole)


def test_nan_stops_the_training(tmp_path: Path) -> None:
    run = train(
        sgd(),
        tmp_path / "run",
        outlast.TerminateOnNaN(),
        look=lambda run, epoch, batch: run.log(loss=float("nan")),
    )
    assert "loss is nan" in run.stopped


def test_a_score_is_better_where_it_is_higher(tmp_path: Path) -> None:
    model = sgd()
    for name in ("val_score", "score", "val_neg_log_loss", "val_r2"):
        assert find_training(model).direction(name) == "max"
    assert find_training(model).direction("val_loss") is None


def test_a_typo_in_the_monitor_is_said(tmp_path: Path) -> None:
    with pytest.warns(OutlastWarning, match="Did you mean 'val_score'"):
        train(sgd(), tmp_path / "run", outlast.EarlyStopping("val_scor", mode="max"), epochs=2)


def test_an_optimizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="leave out optimizer"):
        outlast.Run(tmp_path / "run", model=sgd(), optimizer=object())


def test_a_missing_package_is_named_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("skops")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "skops", None)
    with pytest.raises(MissingExtra, match=r"outlast\[sklearn\]"):
        freeze(sgd())


def test_the_gaps_between_the_fields_of_trees_are_not_stored() -> None:
    """They hold whatever was in memory: two dumps would differ, and tell of it."""
    model = RandomForestClassifier(3, random_state=0).fit(X, Y)
    raw = freeze(model, trusted=COMMON | TREES).arrays["estimators_.0.tree_.nodes"].tobytes()
    nodes = np.load(io.BytesIO(raw))
    records = raw[-nodes.nbytes :]
    gaps = np.frombuffer(records, "uint8").reshape(len(nodes), nodes.itemsize)[:, 57:]
    assert nodes.dtype.names[-1] == "missing_go_to_left" and nodes.dtype.fields["missing_go_to_left"][1] == 56
    assert not gaps.any()
