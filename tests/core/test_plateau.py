"""When the learning rate is cut, and to what: epoch by epoch, each boundary from both sides."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outlast.core.decision import Action, Decision, Reason
from outlast.core.monitor import Monitor
from outlast.core.plateau import PlateauRule, PlateauState
from outlast.exceptions import ArgumentError, UnknownDirection

INF, NAN = math.inf, math.nan
LOSS = Monitor("loss")


def run(rule: PlateauRule, values: list[float | None], rate: float = 1.0) -> list[tuple[Decision, float]]:
    """The decisions on a series of values, and the rate after each."""
    state, seen = rule.start(), []
    for epoch, value in enumerate(values):
        state, decision = rule.update(state, value, {"sgd": rate}, epoch=epoch)
        rate = decision.values.get("learning_rate", {}).get("sgd", rate)
        seen.append((decision, rate))
    return seen


def rates(rule: PlateauRule, values: list[float | None], rate: float = 1.0) -> list[float]:
    return [after for _, after in run(rule, values, rate)]


def cuts(rule: PlateauRule, values: list[float | None]) -> list[int]:
    return [d.epoch for d, _ in run(rule, values) if d.action is Action.REDUCE]


FLAT: list[float | None] = [1.0] * 10


@pytest.mark.parametrize(
    ("patience", "cooldown", "values", "expected"),
    [
        (0, 0, FLAT[:4], [1, 2, 3]),
        (1, 0, FLAT[:4], [1, 2, 3]),
        (2, 0, FLAT[:7], [2, 4, 6]),
        (2, 1, FLAT[:7], [2, 4, 6]),
        (2, 2, FLAT[:9], [2, 5, 8]),
        (2, 3, FLAT, [2, 6]),
        (1, 2, FLAT[:6], [1, 3, 5]),
        (1, INF, FLAT, [1]),
        (INF, 0, FLAT, []),
        (2, 0, [1.0, 1.0, 0.5, 0.5, 0.5], [4]),
        (2, 0, [1.0, None, 1.0, None, 1.0], [4]),
        (2, 0, [1.0, NAN, NAN], [2]),
        (2, 0, [NAN, 1.0, 0.9, 0.8, 0.9, 0.9], [5]),
        (2, 0, [NAN, NAN], [1]),
        (2, 0, [INF, INF, INF], [2]),
        (3, 0, [3.0, 2.0, 1.0, 1.0, 1.0, 1.0], [5]),
    ],
)
def test_the_rate_is_cut_when_patience_epochs_did_not_improve(
    patience: float, cooldown: float, values: list[float | None], expected: list[int]
) -> None:
    assert cuts(PlateauRule(LOSS, 0.5, patience, cooldown), values) == expected


def test_a_metric_that_should_rise_is_judged_so() -> None:
    rule = PlateauRule(Monitor("score", "max"), patience=1)
    assert cuts(rule, [1.0, 2.0, 3.0, 3.0, 2.0]) == [3, 4]


def test_an_improvement_in_the_rest_counts() -> None:
    rule = PlateauRule(LOSS, 0.5, patience=1, cooldown=3)
    seen = run(rule, [2.0, 2.0, 1.0, 1.0, 1.0])
    assert [d.values["best"] for d, _ in seen] == [2.0, 2.0, 1.0, 1.0, 1.0]
    assert [d.values["cooldown"] for d, _ in seen] == [0, 0, 2, 1, 0]
    assert [d.values["wait"] for d, _ in seen] == [0, 1, 0, 0, 1]


def test_the_rest_forgets_how_long_it_waited() -> None:
    state = PlateauState(best=1.0, wait=3, cooldown_counter=2, direction="min")
    after, _ = PlateauRule(LOSS).update(state, 1.0, {}, epoch=5)
    assert after == PlateauState(best=1.0, wait=0, cooldown_counter=1, direction="min")


def test_the_reasons_tell_the_cases_apart() -> None:
    rule = PlateauRule(LOSS, 0.5, patience=2, cooldown=2, min_lr=0.5)
    values: list[float | None] = [2.0, 1.0, NAN, 1.0, None, 1.0, 1.0, 1.0]
    assert [d.reason.name.lower() for d, _ in run(rule, values)] == [
        "first_value",
        "improved",
        "not_a_number",
        "plateau",
        "missing",
        "cooling_down",
        "no_improvement",
        "at_minimum",
    ]


def test_every_reason_is_its_own() -> None:
    assert len(list(Reason)) == len(Reason.__members__)


def test_the_rate_falls_by_the_factor_and_never_below_the_least() -> None:
    rule = PlateauRule(LOSS, 0.25, patience=1, min_lr=0.1)
    assert rates(rule, FLAT[:5]) == [1.0, 0.25, 0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("rate", "min_lr", "cut"),
    [
        (0.5, 0.5, False),
        (0.5, 0.25, True),
        (0.25, 0.5, False),
        (float(np.float32(0.05)), 0.05, False),
        (float(np.nextafter(np.float32(0.05), np.float32(1))), 0.05, True),
        (float(np.nextafter(np.float32(0.05), np.float32(0))), 0.05, False),
        (0.05, 0.05, False),
        (float(np.nextafter(0.05, 1)), 0.05, True),
        (0.5, 0.0, True),
        (0.5, 1e300, False),
        (0.5, -1e300, True),
    ],
)
def test_a_rate_at_the_least_in_its_own_precision_is_not_cut(rate: float, min_lr: float, cut: bool) -> None:
    rule = PlateauRule(LOSS, 0.5, patience=1, min_lr=min_lr)
    state = PlateauState(best=1.0, direction="min")
    _, decision = rule.update(state, 1.0, {"sgd": rate}, epoch=1)
    assert (decision.action is Action.REDUCE) is cut
    assert (decision.reason is Reason.AT_MINIMUM) is not cut
    assert ("min_lr" in decision.values) is not cut


def test_at_the_least_rate_the_count_goes_on() -> None:
    rule = PlateauRule(LOSS, 0.5, patience=1, cooldown=5, min_lr=1.0)
    seen = run(rule, FLAT[:4])
    assert [d.values["wait"] for d, _ in seen] == [0, 1, 2, 3]
    assert [d.values["cooldown"] for d, _ in seen] == [0, 0, 0, 0]


def test_several_rates_are_cut_on_the_one_condition_but_those_at_the_least_stay() -> None:
    rule = PlateauRule(LOSS, 0.5, patience=1, cooldown=4, min_lr=0.25)
    state = PlateauState(best=1.0, direction="min")
    after, decision = rule.update(state, 1.0, {"a": 1.0, "b": 0.25, "c": 0.375}, epoch=1)
    assert decision.values["learning_rate"] == {"a": 0.5, "c": 0.25}
    assert decision.learning_rate == {"a": 0.5, "c": 0.25}
    assert after == PlateauState(1.0, 0, 4, "min")
    after, decision = rule.update(state, 1.0, {"a": 0.25, "b": 0.25}, epoch=1)
    assert decision.reason is Reason.AT_MINIMUM
    assert after == PlateauState(1.0, 1, 0, "min")


def test_without_known_rates_it_says_only_that_it_is_time() -> None:
    rule = PlateauRule(LOSS, 0.5, patience=1, cooldown=4)
    after, decision = rule.update(PlateauState(best=1.0, direction="min"), 1.0, {}, epoch=1)
    assert (decision.action, decision.reason) == (Action.REDUCE, Reason.PLATEAU)
    assert decision.learning_rate is None
    assert after == PlateauState(1.0, 0, 4, "min")


def test_the_values_of_a_cut_say_how_long_it_waited() -> None:
    _, _, (decision, _) = run(PlateauRule(LOSS, 0.5, patience=2, cooldown=3), FLAT[:3])
    assert decision == Decision(
        "ReduceLROnPlateau",
        Action.REDUCE,
        Reason.PLATEAU,
        2,
        None,
        {
            "monitor": "loss",
            "value": 1.0,
            "best": 1.0,
            "wait": 2,
            "patience": 2,
            "cooldown": 0,
            "learning_rate": {"sgd": 0.5},
        },
    )


def test_an_improvement_says_what_it_improved_on() -> None:
    _, (decision, _) = run(PlateauRule(LOSS), [2.0, 1.0])
    assert decision.values == {
        "monitor": "loss",
        "value": 1.0,
        "best": 1.0,
        "wait": 0,
        "patience": 10,
        "cooldown": 0,
        "previous": 2.0,
    }


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (FLAT[:2], "Epoch 2: ReduceLROnPlateau continues: loss is 1, no better than 1 (1 of 2 epochs)"),
        (
            FLAT[:4],
            "Epoch 4: ReduceLROnPlateau continues: cooldown after the last cut: "
            "1 epoch left, including this one",
        ),
        (
            FLAT[:6],
            "Epoch 6: ReduceLROnPlateau continues: "
            "loss has not improved for 2 epochs, and the rate is at min_lr=0.5",
        ),
    ],
)
def test_the_sentence_says_when_who_what_and_why(values: list[float | None], sentence: str) -> None:
    rule = PlateauRule(LOSS, 0.5, patience=2, cooldown=2, min_lr=0.5)
    assert run(rule, values)[-1][0].sentence == sentence


def test_where_the_metric_never_was_a_number_the_cut_says_so() -> None:
    decision = run(PlateauRule(LOSS, 0.5, patience=2), [NAN, NAN])[-1][0]
    assert (decision.action, decision.reason) == (Action.REDUCE, Reason.NEVER_A_NUMBER)
    assert decision.because == "loss has not been a number for 2 epochs"


def test_the_sentence_of_a_cut_names_the_new_rate() -> None:
    rule = PlateauRule(LOSS, 0.5, patience=2)
    sentence = run(rule, FLAT[:3])[-1][0].sentence
    assert sentence.startswith("Epoch 3: ReduceLROnPlateau cuts the learning rate to 0.5: loss ")
    assert sentence.endswith("1 for 2 epochs")


def test_a_missing_value_changes_nothing_but_the_direction() -> None:
    rule = PlateauRule(Monitor("score", "max"))
    state = PlateauState(1.0, 3, 2, None)
    after, decision = rule.update(state, None, {"sgd": 1.0}, epoch=7)
    assert after == replace(state, direction="max")
    assert (decision.action, decision.reason, decision.epoch) == (Action.CONTINUE, Reason.MISSING, 7)


def test_a_direction_that_was_settled_is_kept() -> None:
    rule = PlateauRule(Monitor("temperature"))
    after, _ = rule.update(PlateauState(direction="max"), 1.0, {}, epoch=0)
    assert after.direction == "max"
    with pytest.raises(UnknownDirection, match="ReduceLROnPlateau monitors 'temperature'"):
        rule.update(rule.start(), 1.0, {}, epoch=0)


def test_the_defaults_are_those_of_keras() -> None:
    rule = PlateauRule()
    assert rule.monitor == Monitor("val_loss", "auto", 1e-4, "abs")
    assert (rule.factor, rule.patience, rule.cooldown, rule.min_lr) == (0.1, 10, 0, 0.0)
    assert rule.start() == PlateauState(None, 0, 0, None)


@pytest.mark.parametrize("factor", [1.0, 1, 1.5, INF])
def test_a_factor_that_does_not_reduce_is_refused_in_the_words_of_keras(factor: float) -> None:
    with pytest.raises(ArgumentError) as caught:
        PlateauRule(factor=factor)
    assert str(caught.value) == (
        f"ReduceLROnPlateau does not support a factor >= 1.0. Received factor={factor}. "
        "The learning rate is multiplied by it: use a number between 0 and 1, such as 0.5."
    )


@pytest.mark.parametrize("factor", [0, 0.0, -0.5, "half", NAN])
def test_a_factor_is_a_number_above_0(factor: Any) -> None:
    with pytest.raises(ArgumentError, match=rf"^factor must .*, but is {factor!r}\.$"):
        PlateauRule(factor=factor)


@pytest.mark.parametrize("factor", [1e-9, 0.999999])
def test_any_factor_between_is_allowed(factor: float) -> None:
    assert PlateauRule(factor=factor).factor == factor


@pytest.mark.parametrize("settings", [{"patience": 2.5}, {"cooldown": -1}, {"min_lr": "small"}])
def test_a_setting_that_cannot_work_is_refused_by_name(settings: dict[str, Any]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(ArgumentError, match=f"^{name} must be .*, but is {value!r}"):
        PlateauRule(**settings)


def test_settings_become_plain_numbers() -> None:
    rule = PlateauRule(LOSS, np.float32(0.5), np.int64(1), 2.0, np.float32(0.25))  # type: ignore[arg-type]
    kinds = [type(value) for value in (rule.factor, rule.patience, rule.cooldown, rule.min_lr)]
    assert kinds == [float, int, int, float]
