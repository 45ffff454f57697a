"""The same decisions in every framework, in none, and by the bare rules: those of Keras's own classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.frameworks.conformance import (
    ATTRIBUTES,
    BARE,
    TRAININGS,
    Case,
    KerasFit,
    load,
    through,
)

import outlast

CASES = load()
MISSING = "ignore:.*which is not available:outlast.exceptions.OutlastWarning"


def of(kind: str) -> list[Case]:
    return [case for case in CASES if case.callback == kind]


def taken(make: Any, kind: str) -> list[Case]:
    """The cases that a training can go through, and has time for."""
    cases = of(kind)
    if hasattr(make, "lacks"):
        cases = [case for case in cases if not case.first and None not in case.values]
    return cases[:: getattr(make, "every", 1)]


def differing(cases: list[Case], outcomes: Iterator[Any]) -> list[str]:
    """The cases of which something else came than Keras makes of them."""
    found = []
    for case, outcome in zip(cases, outcomes, strict=True):
        expected = {name: case.expected[name] for name in outcome}
        if outcome != expected:
            found.append(f"{case.callback} {dict(case.settings)}, {case.name}:\n  {outcome}\n  {expected}")
    return found


@pytest.mark.filterwarnings(MISSING)
@pytest.mark.parametrize("kind", ATTRIBUTES)
@pytest.mark.parametrize("training", TRAININGS)
def test_every_training_decides_as_keras(training: str, kind: str) -> None:
    make = TRAININGS[training]
    cases = taken(make, kind)
    assert differing(cases, (through(make, case) for case in cases)) == []


@pytest.mark.parametrize("kind", [kind for kind in ATTRIBUTES if kind != "CSVLogger"])
@pytest.mark.parametrize("way", BARE)
def test_without_any_training_the_decisions_are_the_same(way: str, kind: str) -> None:
    cases = of(kind)
    assert differing(cases, (BARE[way](case) for case in cases)) == []


@pytest.mark.filterwarnings(MISSING)
def test_in_a_real_fit_the_decisions_are_the_same() -> None:
    cases = [case for kind in ATTRIBUTES for case in of(kind)[::25]]
    assert differing(cases, (through(KerasFit, case) for case in cases)) == []


@pytest.mark.filterwarnings("ignore::UserWarning")  # of a missing metric, every epoch
def test_the_table_is_what_kerass_own_classes_decide() -> None:
    import keras

    if keras.__version__.startswith("3.10."):
        pytest.skip("only with the newest Keras: an older one's classes decide otherwise in places")
    cases = [case for case in CASES if case.callback != "ModelCheckpoint"] + of("ModelCheckpoint")[::4]
    assert differing(cases, (through(TRAININGS["keras"], case, keras.callbacks) for case in cases)) == []


def test_the_table_has_stops_cuts_saves_and_restored_weights() -> None:
    assert sum(any(case.expected["stop"]) for case in of("EarlyStopping")) > 50
    assert sum(case.expected["weight"] < len(case.expected["stop"]) for case in of("EarlyStopping")) > 20
    assert sum(case.expected["rate"][-1] < 1 for case in of("ReduceLROnPlateau")) > 40
    assert sum(not all(case.expected["save"]) for case in of("ModelCheckpoint")) > 20
    assert all(case.expected["files"] for case in of("CSVLogger"))


def test_a_decision_that_differs_would_be_seen() -> None:
    class Contrary(outlast.EarlyStopping):
        def get_monitor_value(self, logs: Any) -> float | None:
            value = super().get_monitor_value(logs)
            return None if value is None else -value

    module = type("module", (), {"EarlyStopping": Contrary})
    cases = [case for case in of("EarlyStopping") if None not in case.values]
    outcomes = (through(TRAININGS["no framework"], case, module) for case in cases)
    assert len(differing(cases, outcomes)) > len(cases) / 2
