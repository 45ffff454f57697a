"""When training stops: epoch by epoch, each boundary from both sides."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outlast.core.decision import Action, Decision, Reason
from outlast.core.monitor import Monitor
from outlast.core.stopping import (
    EarlyStoppingRule,
    EarlyStoppingState,
    TimeLimitRule,
    TimeLimitState,
    invalid_loss,
)
from outlast.exceptions import ArgumentError, UnknownDirection

INF, NAN = math.inf, math.nan
LOSS = Monitor("loss")
UP = Monitor("score", "max")


def run(rule: EarlyStoppingRule, values: list[float | None], first: int = 0) -> list[Decision]:
    """The decisions on a series of values, whether or not one of them stops."""
    state, decisions = rule.start(), []
    for epoch, value in enumerate(values, first):
        state, decision = rule.update(state, value, epoch=epoch)
        decisions.append(decision)
    return decisions


def stops(rule: EarlyStoppingRule, values: list[float | None], first: int = 0) -> int | None:
    """The first epoch that stops."""
    return next((d.epoch for d in run(rule, values, first) if d.stop), None)


def waits(rule: EarlyStoppingRule, values: list[float | None]) -> list[int]:
    return [decision.values["wait"] for decision in run(rule, values)]


def reasons(rule: EarlyStoppingRule, values: list[float | None]) -> list[str]:
    return [decision.reason.name.lower() for decision in run(rule, values)]


@pytest.mark.parametrize(
    ("patience", "values", "epoch"),
    [
        (0, [1.0, 1.0], 1),
        (1, [1.0, 1.0], 1),
        (2, [1.0, 1.0], None),
        (2, [1.0, 1.0, 1.0], 2),
        (3, [1.0, 1.0, 1.0], None),
        (3, [1.0, 1.0, 1.0, 1.0], 3),
        (2, [3.0, 2.0, 2.0, 1.0, 1.0, 1.0], 5),
        (0, [3.0, 2.0, 1.0], None),
        (INF, [1.0] * 9, None),
        (2, [1.0, None, 1.0, None, 1.0], 4),
        (2, [1.0, NAN, NAN], 2),
        (2, [NAN, 1.0, 0.9, 0.8, 0.9, 0.9], 5),
        (2, [NAN, NAN, NAN], 1),
        (2, [INF, INF, INF], 2),
        (2, [INF, 1.0, INF, INF], 3),
    ],
)
def test_it_stops_when_patience_epochs_did_not_improve(
    patience: float, values: list[float | None], epoch: int | None
) -> None:
    assert stops(EarlyStoppingRule(LOSS, patience), values) == epoch


def test_the_first_epoch_never_stops_but_a_later_one_may_be_the_first_seen() -> None:
    rule = EarlyStoppingRule(LOSS, patience=0)
    state = replace(rule.start(), best=1.0, direction="min")
    assert not rule.update(state, 2.0, epoch=0)[1].stop
    assert rule.update(state, 2.0, epoch=1)[1].stop


def test_a_metric_that_should_rise_stops_when_it_falls() -> None:
    assert stops(EarlyStoppingRule(UP, 1), [1.0, 2.0, 3.0, 2.9]) == 3
    assert stops(EarlyStoppingRule(UP, 1), [3.0, 2.0]) == 1


def test_min_delta_must_be_exceeded() -> None:
    rule = EarlyStoppingRule(Monitor("loss", min_delta=0.25), patience=1)
    assert stops(rule, [1.0, 0.75]) == 1
    assert stops(rule, [1.0, 0.7, 0.4]) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 2.0, 0.5, 2.0], [0, 1, 2, 0, 1]),
        ([1.0, None, 2.0, None], [0, 0, 1, 1]),
        ([NAN, 2.0, NAN], [1, 0, 1]),
    ],
)
def test_wait_counts_the_epochs_since_the_best_that_had_the_metric(
    values: list[float | None], expected: list[int]
) -> None:
    assert waits(EarlyStoppingRule(LOSS, patience=9), values) == expected


def test_the_best_value_and_its_epoch_are_kept() -> None:
    decisions = run(EarlyStoppingRule(LOSS, patience=9), [3.0, 2.0, 2.0, NAN, 1.5, 1.75])
    assert [d.values["best"] for d in decisions] == [3.0, 2.0, 2.0, 2.0, 1.5, 1.5]
    assert [d.values["best_epoch"] for d in decisions] == [0, 1, 1, 1, 4, 4]


def test_with_a_baseline_the_count_starts_anew_only_when_it_is_beaten() -> None:
    rule = EarlyStoppingRule(LOSS, patience=9, baseline=1.0)
    assert waits(rule, [3.0, 2.0, 1.0, 0.9, 0.95, 0.8]) == [1, 2, 3, 0, 1, 0]


def test_min_delta_counts_against_the_baseline_too() -> None:
    rule = EarlyStoppingRule(Monitor("loss", min_delta=0.25), patience=9, baseline=1.0)
    assert waits(rule, [0.75]) == [1]
    assert waits(rule, [0.74]) == [0]


def test_an_improvement_never_stops_even_if_the_baseline_is_not_beaten() -> None:
    rule = EarlyStoppingRule(LOSS, patience=1, baseline=0.0)
    assert stops(rule, [5.0, 4.0, 3.0, 2.0]) is None
    assert stops(rule, [5.0, 4.0, 4.0]) == 2


def test_epochs_before_the_start_are_not_judged() -> None:
    rule = EarlyStoppingRule(LOSS, patience=1, start_from_epoch=2)
    decisions = run(rule, [1.0, 9.0, 9.0, 9.0])
    assert [d.values["wait"] for d in decisions] == [0, 0, 0, 1]
    assert [d.values["best"] for d in decisions] == [None, None, 9.0, 9.0]
    assert [d.stop for d in decisions] == [False, False, False, True]


def test_the_reasons_tell_the_cases_apart() -> None:
    rule = EarlyStoppingRule(LOSS, patience=3, start_from_epoch=1)
    assert reasons(rule, [9.0, 2.0, 1.0, NAN, None, 1.0, 1.0]) == [
        "warming_up",
        "first_value",
        "improved",
        "not_a_number",
        "missing",
        "no_improvement",
        "patience",
    ]


def test_a_missing_metric_is_missing_in_the_warm_up_too() -> None:
    assert reasons(EarlyStoppingRule(LOSS, start_from_epoch=1), [None]) == ["missing"]


def test_the_values_of_a_decision_are_those_after_it() -> None:
    _, improved = run(EarlyStoppingRule(LOSS, patience=2), [2.0, 1.0])
    assert improved == Decision(
        "EarlyStopping",
        Action.CONTINUE,
        Reason.IMPROVED,
        1,
        None,
        {
            "monitor": "loss",
            "value": 1.0,
            "best": 1.0,
            "best_epoch": 1,
            "wait": 0,
            "patience": 2,
            "previous": 2.0,
        },
    )


@pytest.mark.parametrize(
    ("rule", "values", "sentence"),
    [
        (
            EarlyStoppingRule(LOSS, 1, start_from_epoch=3),
            [0.5],
            "Epoch 1: EarlyStopping continues: epochs before 3 are not judged",
        ),
        (
            EarlyStoppingRule(LOSS, 3),
            [0.5],
            "Epoch 1: EarlyStopping continues: loss is 0.5, the first value seen",
        ),
        (
            EarlyStoppingRule(LOSS, 3),
            [0.5, 0.25],
            "Epoch 2: EarlyStopping continues: loss improved from 0.5 to 0.25",
        ),
        (
            EarlyStoppingRule(LOSS, 3),
            [0.5, 0.75],
            "Epoch 2: EarlyStopping continues: loss is 0.75, no better than 0.5 (1 of 3 epochs)",
        ),
        (
            EarlyStoppingRule(LOSS, 2),
            [0.5, 0.75, 0.75],
            "Epoch 3: EarlyStopping stops: loss has not improved on 0.5 for 2 epochs",
        ),
        (
            EarlyStoppingRule(LOSS, 2),
            [NAN, NAN],
            "Epoch 2: EarlyStopping stops: loss has not been a number for 2 epochs",
        ),
        (
            EarlyStoppingRule(LOSS, 9, stopping_threshold=0.5),
            [1.0, 0.25],
            "Epoch 2: EarlyStopping stops: loss is 0.25, better than stopping_threshold=0.5",
        ),
        (
            EarlyStoppingRule(LOSS, 9, stopping_threshold=0.1, divergence_threshold=5),
            [1.0, 9.0],
            "Epoch 2: EarlyStopping stops: loss is 9, worse than divergence_threshold=5",
        ),
    ],
)
def test_the_sentence_says_when_who_what_and_why(
    rule: EarlyStoppingRule, values: list[float | None], sentence: str
) -> None:
    assert run(rule, values)[-1].sentence == sentence


@pytest.mark.parametrize(
    ("monitor", "thresholds", "value", "reason"),
    [
        (LOSS, {"stopping_threshold": 0.5}, 0.5, None),
        (LOSS, {"stopping_threshold": 0.5}, 0.49, Reason.REACHED),
        (LOSS, {"stopping_threshold": 0.5}, 0.51, None),
        (LOSS, {"stopping_threshold": 0.5}, NAN, None),
        (UP, {"stopping_threshold": 0.5}, 0.5, None),
        (UP, {"stopping_threshold": 0.5}, 0.51, Reason.REACHED),
        (UP, {"stopping_threshold": 0.5}, 0.49, None),
        (LOSS, {"divergence_threshold": 9.0}, 9.0, None),
        (LOSS, {"divergence_threshold": 9.0}, 9.1, Reason.DIVERGED),
        (LOSS, {"divergence_threshold": 9.0}, INF, Reason.DIVERGED),
        (LOSS, {"divergence_threshold": 9.0}, 8.9, None),
        (LOSS, {"divergence_threshold": 9.0}, NAN, None),
        (UP, {"divergence_threshold": 0.1}, 0.1, None),
        (UP, {"divergence_threshold": 0.1}, 0.09, Reason.DIVERGED),
        (UP, {"divergence_threshold": 0.1}, 0.11, None),
        (LOSS, {"stopping_threshold": 0.0}, -1.0, Reason.REACHED),
        (LOSS, {"divergence_threshold": 0.0}, 1.0, Reason.DIVERGED),
    ],
)
def test_thresholds_stop_at_once_and_strictly_beyond_them(
    monitor: Monitor, thresholds: dict[str, float], value: float, reason: Reason | None
) -> None:
    rule = EarlyStoppingRule(monitor, patience=9, **thresholds)
    state, decision = rule.update(rule.start(), value, epoch=0)
    assert decision.stop is (reason is not None)
    assert reason is None or decision.reason is reason
    assert state.stopped_epoch == 0


def test_a_stop_is_remembered_with_its_epoch_and_no_other() -> None:
    rule = EarlyStoppingRule(LOSS, patience=1)
    state, _ = rule.update(rule.start(), 1.0, epoch=3)
    assert state == EarlyStoppingState(1.0, 3, 0, 0, "min")
    state, _ = rule.update(state, 1.0, epoch=4)
    assert state == EarlyStoppingState(1.0, 3, 1, 4, "min")


def test_a_missing_value_changes_nothing_but_the_direction() -> None:
    rule = EarlyStoppingRule(UP)
    state, decision = rule.update(rule.start(), None, epoch=7)
    assert state == EarlyStoppingState(direction="max")
    assert (decision.action, decision.reason, decision.epoch) == (Action.CONTINUE, Reason.MISSING, 7)


def test_a_direction_that_was_settled_is_kept() -> None:
    rule = EarlyStoppingRule(Monitor("temperature"))
    state = replace(rule.start(), direction="max")
    assert rule.update(state, 1.0, epoch=0)[0].direction == "max"
    with pytest.raises(UnknownDirection, match="EarlyStopping monitors 'temperature'"):
        rule.update(rule.start(), 1.0, epoch=0)


def test_the_defaults_are_those_of_keras() -> None:
    rule = EarlyStoppingRule()
    assert rule.monitor == Monitor("val_loss", "auto", 0.0, "abs")
    assert (rule.patience, rule.baseline, rule.start_from_epoch) == (0, None, 0)
    assert (rule.stopping_threshold, rule.divergence_threshold) == (None, None)
    assert rule.start() == EarlyStoppingState(None, 0, 0, 0, None)


@pytest.mark.parametrize(
    "settings",
    [
        {"patience": 2.5},
        {"patience": -1},
        {"start_from_epoch": -1},
        {"baseline": "low"},
        {"stopping_threshold": NAN},
        {"divergence_threshold": "high"},
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(settings: dict[str, Any]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(ArgumentError, match=f"^{name} must be .*, but is {value!r}"):
        EarlyStoppingRule(LOSS, **settings)


def test_settings_become_plain_numbers() -> None:
    half = np.float32(0.5)
    rule = EarlyStoppingRule(
        LOSS, np.int64(2), half, 1.0, half, half  # type: ignore[arg-type]
    )  # fmt: skip
    kinds = (type(rule.patience), type(rule.start_from_epoch), type(rule.baseline))
    assert kinds == (int, int, float)
    assert (type(rule.stopping_threshold), type(rule.divergence_threshold)) == (float, float)


# A stop of earlier settings holds if the present ones would stop there too.
@pytest.mark.parametrize(
    ("then", "now", "values", "holds"),
    [
        ({"patience": 2}, {"patience": 2}, [1.0, 2.0, 2.0], True),
        ({"patience": 2}, {"patience": 1}, [1.0, 2.0, 2.0], True),
        ({"patience": 2}, {"patience": 3}, [1.0, 2.0, 2.0], False),
        ({"stopping_threshold": 0.5}, {"stopping_threshold": 0.5}, [0.25], True),
        ({"stopping_threshold": 0.5}, {"stopping_threshold": 0.25}, [0.25], False),
        ({"stopping_threshold": 0.5}, {"patience": 0}, [0.25], False),
        ({"divergence_threshold": 5.0}, {"divergence_threshold": 6.0}, [7.0], True),
        ({"divergence_threshold": 5.0}, {"divergence_threshold": 7.0}, [7.0], False),
        ({"divergence_threshold": 5.0}, {}, [7.0], False),
        ({"divergence_threshold": 5.0}, {"patience": 1}, [1.0, 7.0], True),
        ({"divergence_threshold": 5.0}, {"patience": 2}, [1.0, 7.0], False),
        ({"stopping_threshold": 0.5}, {"patience": 0}, [1.0, 0.25], False),
        ({"patience": 2}, {"patience": 2}, [NAN, NAN], True),
        ({"patience": 2}, {"patience": 3}, [NAN, NAN], False),
    ],
)
def test_a_stop_holds_if_it_would_be_decided_again(
    then: dict[str, Any], now: dict[str, Any], values: list[float], holds: bool
) -> None:
    rule = EarlyStoppingRule(LOSS, **{"patience": 9, **then})
    state = rule.start()
    for epoch, value in enumerate(values):
        state, decision = rule.update(state, value, epoch=epoch)
    assert decision.stop
    assert EarlyStoppingRule(LOSS, **{"patience": 9, **now}).still_stops(state, decision) is holds


def test_a_stop_that_rests_on_no_value_holds() -> None:
    decision = Decision("EarlyStopping", Action.STOP, Reason.MISSING, 3)
    assert EarlyStoppingRule(LOSS, patience=9).still_stops(EarlyStoppingState(), decision)


@pytest.mark.parametrize(
    ("seconds", "stop"),
    [([29.9], False), ([30.0], True), ([30.1], True), ([10.0, 10.0], False), ([10.0, 10.0, 10.0], True)],
)
def test_the_time_limit_stops_when_the_time_is_used_up(seconds: list[float], stop: bool) -> None:
    rule = TimeLimitRule(30)
    state = rule.start()
    assert state == TimeLimitState(0.0)
    for epoch, each in enumerate(seconds):
        state, decision = rule.update(state, each, epoch=epoch)
    assert decision.stop is stop
    assert decision.action is (Action.STOP if stop else Action.CONTINUE)
    assert (decision.reason, decision.epoch) == (Reason.TIME, len(seconds) - 1)
    assert decision.values == {"elapsed": sum(seconds), "limit": 30}
    assert decision.callback == "TimeLimit"
    assert rule.still_stops(state) is stop
    assert not TimeLimitRule(31).still_stops(state)


@pytest.mark.parametrize("seconds", [0, -1, NAN, "60", None])
def test_a_time_limit_is_more_than_nothing(seconds: Any) -> None:
    with pytest.raises(ArgumentError, match=rf"^seconds must be .*, but is {seconds!r}\.$"):
        TimeLimitRule(seconds)


@pytest.mark.parametrize("seconds", [1e-9, 0.5, 1, np.float32(2)])
def test_a_short_time_limit_is_allowed(seconds: Any) -> None:
    kept = TimeLimitRule(seconds).seconds
    assert (kept, type(kept)) == (seconds, float)


@pytest.mark.parametrize(
    ("loss", "stop"), [(NAN, True), (INF, True), (-INF, True), (1e300, False), (0.0, False)]
)
def test_a_loss_that_is_not_finite_stops(loss: float, stop: bool) -> None:
    decision = invalid_loss(loss, epoch=2, batch=7)
    assert decision.stop is stop
    assert decision.action is (Action.STOP if stop else Action.CONTINUE)
    assert (decision.callback, decision.epoch, decision.batch) == ("TerminateOnNaN", 2, 7)
    assert decision.sentence.startswith("Epoch 3, batch 8: TerminateOnNaN ")
    assert decision.because == f"loss is {loss:.6g}"


def test_a_rule_that_begins_anew_holds_no_stop_of_old() -> None:
    values = {"value": 1.0, "best": 0.5}
    decision = Decision("EarlyStopping", Action.STOP, Reason.PATIENCE, 3, values=values)
    rule = EarlyStoppingRule(patience=0)
    assert rule.still_stops(rule.start(), decision) is False
