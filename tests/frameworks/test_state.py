"""A callback's state, through JSON into another object at any epoch, changes no later decision or weight."""

from __future__ import annotations

import json
import random
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.frameworks.conformance import ATTRIBUTES, TRAININGS, Case, Training, load, observe

import outlast

CASES = load()
MISSING = "ignore:.*which is not available:outlast.exceptions.OutlastWarning"


def interrupted(training: Training, case: Case, epochs: int) -> dict[str, Any]:
    """What comes of a case if it dies after so many epochs, and another callback goes on from the state."""
    first, second = made(case, training), made(case, training)
    before = observe(training, first, case, killed_after=epochs)
    text, arrays = stored(first, training)
    second.load_state_dict(json.loads(text))
    second.load_snapshots(
        {name: training.adapter.weights_from_arrays(pairs) for name, pairs in arrays.items()}
    )
    after = observe(training, second, case, start=epochs)
    return {name: join(before[name], after.get(name, [])) for name in before}


def join(before: Any, after: Any) -> Any:
    return before + after if isinstance(before, list) else after


def made(case: Case, training: Training) -> Any:
    return getattr(outlast, case.callback)(**case.arguments(training.suffix))


def stored(callback: Any, training: Training) -> tuple[str, dict[str, list[tuple[str, Any]]]]:
    """The two channels of state: text, and arrays that are copied as a file would."""
    arrays = {
        name: [(key, np.array(array)) for key, array in training.adapter.weights_to_arrays(snapshot)]
        for name, snapshot in callback.snapshots().items()
    }
    return json.dumps(callback.state_dict(), allow_nan=False), arrays


def that_run(kind: str) -> list[Case]:
    """Cases as long as the training was: after a stop no epoch follows."""
    cases = [case for case in CASES if case.callback == kind]
    return [replace(case, values=case.values[: len(case.expected["stop"])]) for case in cases]


@pytest.mark.filterwarnings(MISSING)
@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_after_every_epoch_another_object_goes_on_as_if_nothing_had_happened(kind: str) -> None:
    for case in that_run(kind):
        for epochs in range(1, len(case.values) + 1):
            outcome = interrupted(TRAININGS["no framework"](Path()), case, epochs)
            assert outcome == case.expected, f"{case}, after {epochs} epochs"


@pytest.mark.filterwarnings(MISSING)
@pytest.mark.parametrize("kind", ATTRIBUTES)
@pytest.mark.parametrize(
    "training",
    [name for name in TRAININGS if name != "no framework" and not hasattr(TRAININGS[name], "lacks")],
)
def test_so_it_is_with_a_frameworks_weights_and_files(training: str, kind: str) -> None:
    for index, case in enumerate(that_run(kind)[::4]):
        epochs = 1 + index % len(case.values)
        with tempfile.TemporaryDirectory() as folder:
            outcome = interrupted(TRAININGS[training](Path(folder)), case, epochs)
        assert outcome == case.expected, f"{case}, after {epochs} epochs"


@pytest.mark.parametrize("kind", [kind for kind in ATTRIBUTES if kind != "CSVLogger"])
def test_update_without_an_epoch_counts_on(kind: str) -> None:
    """Another object for each value: what it knows is the state of the one before."""
    for case in that_run(kind):
        whole = getattr(outlast, kind)(**case.settings)
        state, rate = whole.state_dict(), 1.0
        for value in case.values:
            part = getattr(outlast, kind)(**case.settings)
            part.load_state_dict(json.loads(json.dumps(state, allow_nan=False)))
            expected = whole.update(value, learning_rate=rate)
            decision = part.update(value, learning_rate=rate)
            assert decision.to_json() == expected.to_json(), case
            state, rate = part.state_dict(), decision.learning_rate or rate


@pytest.mark.parametrize(
    "callback",
    [
        outlast.EarlyStopping("warmth"),
        outlast.ReduceLROnPlateau("warmth"),
        outlast.ModelCheckpoint("m.pt", "warmth", save_best_only=True),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_the_direction_that_was_found_is_part_of_the_state(callback: Any) -> None:
    callback.load_state_dict({**callback.state_dict(), "direction": "max"})
    callback.update(1.0)
    callback.update(2.0)
    assert (callback.best, callback.state_dict()["direction"]) == (2.0, "max")


@pytest.mark.parametrize(
    ("callback", "state"),
    [
        (outlast.EarlyStopping(), {"best": 1.0, "warmth": 3}),
        (outlast.ReduceLROnPlateau(), {"stopped_epoch": 3}),
        (outlast.ModelCheckpoint("m.keras"), {"wait": 3}),
        (outlast.TimeLimit(60), {"best": 1.0}),
        (outlast.TerminateOnNaN(), {"best": 1.0}),
    ],
)
def test_the_state_of_something_else_is_refused(callback: Any, state: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"not the state of a {type(callback).__name__}: it has "):
        callback.load_state_dict(state)


def test_infinity_and_arrays_of_a_history_survive() -> None:
    history = outlast.History()
    history.epoch = [0, 1]
    history.history = {"loss": [float("inf"), 0.5], "f1": [np.array([0.5, np.inf]), [float("-inf")]]}
    text = json.dumps(history.state_dict(), allow_nan=False)
    other = outlast.History()
    other.load_state_dict(json.loads(text))
    assert other.epoch == [0, 1]
    assert other.history == {"loss": [np.inf, 0.5], "f1": [[0.5, np.inf], [-np.inf]]}


def test_nan_of_a_history_survives_in_arrays_too() -> None:
    history = outlast.History()
    history.history = {"loss": [np.nan], "f1": [np.array([np.nan, 1.0])]}
    text = json.dumps(history.state_dict(), allow_nan=False)
    other = outlast.History()
    other.load_state_dict(json.loads(text))
    assert repr(other.history) == "{'loss': [nan], 'f1': [[nan, 1.0]]}"


def test_the_time_of_a_time_limit_goes_on() -> None:
    from outlast.testing import FakeClock, drive

    first = drive(outlast.TimeLimit(100), [{}] * 3, clock=FakeClock(20))
    second = outlast.TimeLimit(100)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    stops: list[outlast.Decision] = []
    drive(second, [{}] * 9, clock=FakeClock(20), listen=stops.append)
    assert [decision.epoch for decision in stops if decision.stop] == [1]


def test_keras_generator_that_a_resume_makes_leaves_pythons_random_state_as_it_was_saved() -> None:
    keras = pytest.importorskip("keras")
    from keras.src.backend.common import global_state

    from outlast.frameworks import random_state

    name = "global_seed_generator"
    before = global_state.get_global_attribute(name)
    try:
        keras.random.uniform((1,))
        random.seed(7)
        saved = random_state.collect()
        following = random.random()
        global_state.set_global_attribute(name, None)  # as in a process that has none yet
        random_state.restore(saved)
        assert random.random() == following
    finally:
        global_state.set_global_attribute(name, before)


def test_tensorflows_global_generator_is_saved_if_there_is_one() -> None:
    tf = pytest.importorskip("tensorflow")
    from outlast.frameworks import random_state

    tf.random.set_global_generator(tf.random.Generator.from_seed(3))
    saved = random_state.collect()
    following = tf.random.get_global_generator().normal((2,)).numpy().tolist()
    tf.random.set_global_generator(tf.random.Generator.from_seed(5))
    random_state.restore(saved)
    assert tf.random.get_global_generator().normal((2,)).numpy().tolist() == following
