"""What of scikit-learn's estimators is kept, what is refused by name, and what a forged file cannot do."""

from __future__ import annotations

import collections
import copy
import enum
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn import config_context
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import outlast
from outlast.exceptions import ArgumentError, CapabilityError, DamagedFile, OutlastWarning, RunChanged
from outlast.frameworks.base import find_training
from outlast.frameworks.sklearn_frozen import freeze, loaded
from outlast.frameworks.sklearn_trust import COMMON, TREES, ways

rng = np.random.default_rng(0)
X = rng.random((80, 6))
Y = (X[:, 0] > 0.5).astype(int)

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:.*eta0.*:FutureWarning")


def sgd(**settings: Any) -> Any:
    return SGDClassifier(random_state=0, **settings)


def step(model: Any, x: Any, y: Any) -> None:
    model.partial_fit(x, y, classes=[0, 1])


# What skops would lose is kept, or named before the first batch.


class Holding(SGDClassifier):
    """Has something more, and learns with it."""

    def __init__(self, make: Any = None, random_state: Any = 0) -> None:
        super().__init__(random_state=random_state)
        self.make = make
        if make is not None:
            make(self)


class Viewing(SGDClassifier):
    """Has a row of its weights as an attribute, and sums it up."""

    def partial_fit(self, x: Any, y: Any, classes: Any = None) -> Any:
        super().partial_fit(x, y, classes=classes)
        if not hasattr(self, "row_"):
            self.row_, self.sum_ = self.coef_[0], 0.0
        self.sum_ += float(self.row_.sum())
        return self


def test_arrays_that_share_memory_do_so_after_a_resume() -> None:
    model, other = Viewing(random_state=0), Viewing(random_state=0)
    step(model, X, Y)
    find_training(other).load_state(find_training(model).state())
    assert np.shares_memory(other.row_, other.coef_)
    for one in (model, other):
        step(one, X, Y)
    assert other.sum_ == model.sum_ != 0


def test_an_array_with_gaps_in_its_memory_has_them_afterwards() -> None:
    model, other = sgd(), sgd()
    model.some_ = np.arange(24.0).reshape(4, 6)[::2, ::3]
    find_training(other).load_state(find_training(model).state())
    assert other.some_.strides == model.some_.strides and (other.some_ == model.some_).all()


def test_the_try_at_the_start_leaves_the_objects_of_the_model_alone(tmp_path: Path) -> None:
    model = Holding(lambda one: vars(one).update(flat_=np.zeros(3)))
    flat = model.flat_
    next(outlast.Run(tmp_path / "run", model=model).epochs(1))
    assert model.flat_ is flat


def test_an_attribute_that_is_a_parameter_too_is_refused() -> None:
    class Aliasing(SGDClassifier):
        def __init__(self, start: Any = None) -> None:
            super().__init__()
            self.start = start
            self.now_ = start

    model = Aliasing(np.zeros(3))
    with pytest.raises(CapabilityError, match="now_ is the same object as the parameter start"):
        find_training(model).state()


class Level(enum.IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (collections.deque([1], 3), "of the type deque"),
        (collections.defaultdict(int, {1: 2}), "cannot be loaded again"),
        ({True: 1, False: 2}, r"odd_\[False\]"),
        ({1: 1, "1": 2}, r"odd_\['1'\]"),
        ({(1, 2): 3}, "cannot be stored"),
        (Level.LOW, "would come back as a int"),
        (1j, "cannot be stored"),
        (np.random.PCG64(1), "of the type PCG64"),
        (np.random.SeedSequence(1), "odd_"),
        (np.ma.array([1.0], mask=[True], hard_mask=True), "hardmask"),
        (np.random.RandomState(np.random.PCG64(1)), "cannot be loaded again"),
    ],
)
def test_what_would_not_be_the_same_is_refused_by_its_name(value: Any, why: str, tmp_path: Path) -> None:
    model = Holding(lambda one: vars(one).update(odd_=value))
    with pytest.raises(CapabilityError, match=why) as caught:
        next(outlast.Run(tmp_path / "run", model=model).epochs(1))
    assert "odd_" in str(caught.value)


def test_an_array_that_is_read_only_is_refused() -> None:
    model = sgd()
    model.fixed_ = np.zeros(3)
    model.fixed_.flags.writeable = False
    with pytest.raises(CapabilityError, match="fixed_ is read-only"):
        freeze(model)


def test_what_contains_itself_is_refused_by_its_name() -> None:
    model = sgd()
    model.again_ = model
    with pytest.raises(CapabilityError, match=r"again_.*contains itself"):
        freeze(model)


def test_metadata_routing_is_the_scripts() -> None:
    with config_context(enable_metadata_routing=True):
        model = sgd().set_partial_fit_request(sample_weight=True)
        find_training(model).state()


def test_a_set_of_texts_is_the_same_in_each_process() -> None:
    model = sgd()
    model.seen_ = {"b", "a", "c"}
    assert freeze(model).texts["seen_"] == freeze(copy.deepcopy(model)).texts["seen_"]
    model.seen_ = {f"w{number}" for number in range(50)}  # and comes back in another order
    freeze(model)
    model.seen_ = {"c", "a", "b", "d"} - {"d"}
    text = freeze(model).texts["seen_"]
    assert text.index("a") < text.index('\\"b') < text.index('\\"c')


class Noting(SGDClassifier):
    """Notes what it has seen in a list of the script's."""

    def __init__(self, seen: Any = None) -> None:
        super().__init__(random_state=0)
        self.seen = seen


@pytest.mark.parametrize("makes_anew", [False, True])
def test_a_list_of_the_scripts_is_filled_unless_training_made_another_one(makes_anew: bool) -> None:
    seen: list[list[int]] = [[], []]
    model, other = (Noting(one) for one in seen)
    find_training(other)
    training = find_training(model)
    if makes_anew:
        model.seen = []
    model.seen.append(7)
    find_training(other).load_state(training.state())
    assert other.seen == [7]
    assert (other.seen is seen[1]) is not makes_anew


def test_a_sparse_matrix_that_knows_that_it_is_sorted_is_the_same() -> None:
    model = sgd()
    step(model, X, Y)
    model.sparsify()
    assert model.coef_.has_canonical_format  # which it remembers
    freeze(model)


def test_an_attribute_is_called_by_its_name() -> None:
    model = sgd()
    assert find_training(model).label("state/training/weights/arrays/coef_") == "the attribute coef_"
    assert find_training(model).label("state/extra/a") == "state/extra/a"


# A forged file.


def called(name: str, module: str, *arguments: Any) -> str:
    """The schema of something that is made by a call."""
    items = [
        {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": json.dumps(one)}
        for one in arguments
    ]
    content = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": items}
    return json.dumps(
        {
            "__class__": name,
            "__module__": module,
            "__loader__": "ConstructorFromReduceNode",
            "content": content,
        }
    )


CALLS: list[Any] = []


def noted(*arguments: Any) -> None:
    CALLS.append(arguments)


@pytest.mark.parametrize(
    ("name", "module"),
    [("noted", __name__), ("check_array", "sklearn.utils.validation"), ("partial", "functools")],
)
def test_a_function_that_the_script_holds_is_not_called_by_a_file(name: str, module: str) -> None:
    model = make_pipeline(FunctionTransformer(noted), sgd())
    state = find_training(model).state()
    state["weights"]["texts"]["verbose"] = called(name, module, "x")
    with pytest.raises(CapabilityError, match="not trusted"):
        find_training(model).load_state(state)
    assert not CALLS


def test_a_file_with_a_function_is_loaded_and_calls_nothing(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(noted), sgd())
    path = str(tmp_path / "model.skops")
    find_training(model).saving(False).write(path)
    assert find_training(model).load_file(path)[0].func is noted
    assert not CALLS


def test_a_function_is_trusted_in_one_object_only() -> None:
    node = {"__loader__": "FunctionNode", "__module__": "m", "__id__": 7}
    schema = {**node, "__class__": "f", "content": [{**node, "__class__": "g"}], "protocol": 2}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("schema.json", json.dumps(schema))
    with pytest.raises(DamagedFile, match="said to be both"):
        ways(buffer.getvalue())


def test_trees_are_trusted_in_what_has_trees() -> None:
    model, other, forest = sgd(), sgd(), RandomForestClassifier(2).fit(X, Y)
    state = find_training(other).state()
    model.tree_ = forest.estimators_[0].tree_
    forged = {**state, "weights": freeze(model, trusted=COMMON | TREES).tree()}
    with pytest.raises(CapabilityError, match=r"not trusted: sklearn\.tree"):
        find_training(other).check_state(forged)


@pytest.mark.parametrize("root", [None, [1], {"a": 1}, MultinomialNB()])
def test_another_object_than_the_model_is_damage(root: Any) -> None:
    model = sgd()
    state = find_training(model).state()
    with pytest.raises(DamagedFile, match="SGDClassifier was expected"):
        find_training(model).check_state({**state, "weights": freeze(root).tree()})


def test_an_attribute_that_hides_a_method_is_damage() -> None:
    model = sgd()
    state = find_training(model).state()
    texts = state["weights"]["texts"]
    texts["predict"] = texts.pop("verbose").replace("null", "1")
    with pytest.raises(DamagedFile, match="predict hides a method"):
        find_training(model).check_state(state)


def test_a_sparse_matrix_that_points_outside_is_damage() -> None:
    model = sgd()
    step(model, X, Y)
    model.sparsify()
    model.coef_.indices[:] = 10**6
    with pytest.raises(DamagedFile, match="indices"):
        loaded(skops.io.dumps(model), COMMON)


# Rates and parameters.


def test_a_rate_that_was_lowered_in_a_loop_of_fits_stays_lowered(tmp_path: Path) -> None:
    def trained(epochs: int) -> Any:
        model = MLPClassifier((4,), max_iter=1, warm_start=True, learning_rate_init=0.01, random_state=0)
        run = outlast.Run(tmp_path / "run", model=model)
        for epoch in run.epochs(epochs):
            if epoch == 0:
                run.learning_rate = 0.001
            model.fit(X, Y)
        return model

    trained(2)
    assert trained(3).learning_rate_init == 0.001
    assert trained(3).learning_rate_init == 0.001  # it was finished


@pytest.mark.parametrize("meta", [OneVsRestClassifier, OneVsOneClassifier, MultiOutputClassifier])
def test_what_trains_clones_has_no_rate_and_no_parameters_that_act(meta: Any, tmp_path: Path) -> None:
    def made(alpha: float = 0.1) -> Any:
        return meta(SGDClassifier(alpha=alpha, learning_rate="constant", eta0=0.1))

    model, other = made(), made(0.5)
    with pytest.raises(CapabilityError, match="trains clones of the SGDClassifier"):
        next(outlast.Run(tmp_path / "run", [outlast.ReduceLROnPlateau("val_score")], model=model).epochs(1))
    state = find_training(model).state()
    with pytest.raises(RunChanged, match=r"estimator__alpha changed from 0\.1 to 0\.5"):
        find_training(other).check_state(state)


def test_a_rate_that_no_callback_can_set_is_saved_as_a_parameter() -> None:
    model, other = (GradientBoostingClassifier(learning_rate=0.1) for _ in range(2))
    find_training(model)
    model.learning_rate = 0.05
    find_training(other).load_state(find_training(model).state())
    assert other.learning_rate == 0.05
    assert find_training(other).description()["learning_rate"] == "0.05"


def test_another_parameter_of_a_part_is_said_and_another_rate_is_refused(tmp_path: Path) -> None:
    def trained(epochs: int, **settings: Any) -> Any:
        model, second = sgd(), SGDClassifier(learning_rate="constant", **{"eta0": 0.1, **settings})
        run = outlast.Run(tmp_path / "run", model=model, second=second)
        for _ in run.epochs(epochs):
            step(model, X, Y)
            step(second, X, Y)

    trained(1)
    with pytest.warns(OutlastWarning, match=r"alpha changed from 0\.0001 to 0\.5"):
        trained(2, alpha=0.5)
    with pytest.raises(CapabilityError, match=r"eta0 changed from 0\.1 to 5\.0"):
        trained(3, eta0=5.0)


def test_another_rate_of_a_perceptron_can_be_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained(epochs: int, rate: float) -> Any:
        model = MLPClassifier((4,), learning_rate_init=rate, random_state=0)
        run = outlast.Run(tmp_path / "run", model=model, accept_changes=["learning_rate"])
        for _ in run.epochs(epochs):
            step(model, X, Y)
        return model

    trained(1, 0.1)
    assert trained(2, 0.5)._optimizer.learning_rate_init == 0.5
    assert "not be exact" not in capsys.readouterr().out


def test_a_rate_that_is_gone_can_be_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def trained(epochs: int, **settings: Any) -> None:
        model = SGDClassifier(**settings)
        run = outlast.Run(tmp_path / "run", model=model, accept_changes=["learning_rate"])
        for _ in run.epochs(epochs):
            step(model, X, Y)

    trained(1, learning_rate="constant", eta0=0.1)
    trained(2, learning_rate="optimal")
    assert "not be exact" not in capsys.readouterr().out


@pytest.mark.parametrize("package", ["xgboost", "lightgbm"])
def test_an_estimator_whose_own_fit_takes_callbacks_is_told_so(package: str, tmp_path: Path) -> None:
    name = {"xgboost": "XGBClassifier", "lightgbm": "LGBMClassifier"}[package]
    kind = type(name, (), {"__module__": f"{package}.sklearn", "get_params": None, "set_params": None})
    with pytest.raises(ArgumentError, match=rf"outlast\.frameworks\.{package}\.callbacks"):
        find_training(kind())
