"""When a model is saved."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from outlast.core.decision import Action, Decision, Reason
from outlast.core.monitor import Monitor
from outlast.core.saving import SavingRule, SavingState
from outlast.exceptions import ArgumentError, UnknownDirection

INF, NAN = math.inf, math.nan
LOSS = Monitor("loss")
BEST = SavingRule(LOSS, save_best_only=True)


def run(rule: SavingRule, values: list[float | None], saved: bool = True) -> list[Decision]:
    state, decisions = rule.start(), []
    for epoch, value in enumerate(values):
        state, decision = rule.update(state, value, epoch=epoch, saved=saved)
        decisions.append(decision)
    return decisions


def saves(rule: SavingRule, values: list[float | None]) -> list[bool]:
    return [decision.save for decision in run(rule, values)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0, 2.0, 2.0, 2.5, 1.0], [True, True, False, False, True]),
        ([NAN, 1.0, NAN, 0.5], [False, True, False, True]),
        ([INF, INF, 1.0], [True, False, True]),
        ([1.0, None, 0.5], [True, False, True]),
    ],
)
def test_the_best_is_saved_when_it_is_strictly_better(
    values: list[float | None], expected: list[bool]
) -> None:
    assert saves(BEST, values) == expected


def test_a_metric_that_should_rise_is_judged_so() -> None:
    rule = SavingRule(Monitor("score", "max"), save_best_only=True)
    assert saves(rule, [1.0, 2.0, 1.5]) == [True, True, False]


@pytest.mark.parametrize(("first", "save"), [(0.5, False), (0.4, True), (0.6, False)])
def test_the_first_save_must_beat_the_initial_threshold(first: float, save: bool) -> None:
    rule = SavingRule(LOSS, save_best_only=True, initial_value_threshold=0.5)
    assert rule.start() == SavingState(best=0.5)
    assert saves(rule, [first]) == [save]


def test_every_epoch_is_saved_whatever_the_metric_is() -> None:
    rule = SavingRule(Monitor("temperature"))
    state, decision = rule.update(rule.start(), None, epoch=4)
    assert state == SavingState()
    assert decision == Decision(
        "ModelCheckpoint", Action.SAVE, Reason.EVERY_EPOCH, 4, None, {"monitor": "temperature"}
    )


def test_a_missing_metric_overwrites_nothing_but_an_empty_place_is_filled() -> None:
    for saved, action, reason in [
        (True, Action.SKIP, Reason.MISSING),
        (False, Action.SAVE, Reason.NOTHING_SAVED),
    ]:
        state, decision = BEST.update(SavingState(best=0.5), None, epoch=0, saved=saved)
        assert (decision.action, decision.reason) == (action, reason)
        assert state.best == 0.5


def test_unless_told_otherwise_something_is_saved_already() -> None:
    assert not BEST.update(BEST.start(), None, epoch=0)[1].save


def test_the_reasons_tell_the_cases_apart() -> None:
    assert [d.reason for d in run(BEST, [2.0, 1.0, NAN, 1.0, None])] == [
        Reason.FIRST_VALUE,
        Reason.IMPROVED,
        Reason.NOT_A_NUMBER,
        Reason.NOT_BETTER,
        Reason.MISSING,
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2.0, 1.0], {"monitor": "loss", "value": 1.0, "previous": 2.0, "best": 1.0}),
        ([2.0, 3.0], {"monitor": "loss", "value": 3.0, "best": 2.0}),
        ([2.0, None], {"monitor": "loss", "value": None, "best": 2.0}),
    ],
)
def test_the_values_say_what_it_was_compared_with(
    values: list[float | None], expected: dict[str, Any]
) -> None:
    assert run(BEST, values)[-1].values == expected


@pytest.mark.parametrize(
    ("values", "saved", "sentence"),
    [
        ([2.0], True, "saves the model: loss is 2, the first value seen"),
        ([2.0, 1.0], True, "saves the model: loss improved from 2 to 1"),
        ([2.0, 3.0], True, "keeps the saved model: loss is 3, no better than 2"),
        ([NAN], True, "keeps the saved model: loss is nan, which never counts as better"),
        ([None], True, "keeps the saved model: loss is not among the metrics"),
        ([None], False, "saves the model: loss is not among the metrics, and nothing is saved yet"),
    ],
)
def test_the_sentence_says_what_is_done_and_why(
    values: list[float | None], saved: bool, sentence: str
) -> None:
    assert run(BEST, values, saved)[-1].sentence == f"Epoch {len(values)}: ModelCheckpoint {sentence}"


@pytest.mark.parametrize(
    ("batch", "scalar", "reason", "because"),
    [
        (None, True, Reason.EVERY_EPOCH, "every epoch is saved"),
        (7, True, Reason.EVERY_BATCHES, "5 batches after the last save"),
        (None, False, Reason.NOT_SCALAR, "loss is not a single number, so every epoch is saved"),
    ],
)
def test_an_unconditional_save_has_its_reason_too(
    batch: int | None, scalar: bool, reason: Reason, because: str
) -> None:
    decision = SavingRule(LOSS, save_freq=5).unconditional(2, batch, scalar=scalar)
    assert (decision.callback, decision.action, decision.reason) == ("ModelCheckpoint", Action.SAVE, reason)
    assert (decision.epoch, decision.batch, decision.because) == (2, batch, because)
    assert ("batches" in decision.values) is (batch is not None)


# Batches as they are counted: those of one epoch after the other's.
@pytest.mark.parametrize(
    ("freq", "epochs", "due"),
    [
        (1, [[0, 1]], [(0, 0), (0, 1)]),
        (2, [[0, 1, 2, 3, 4]], [(0, 1), (0, 3)]),
        (5, [list(range(8))] * 3, [(0, 4), (1, 1), (1, 6), (2, 3)]),
        (3, [[0], [0], [0], [0]], [(2, 0)]),
        (4, [[1, 3, 5], [1, 3, 5]], [(0, 3), (1, 1), (1, 5)]),
        (4, [[2, 5, 8]], [(0, 5)]),
        (3, [[0, 1], [1, 3]], [(1, 1)]),
        (100, [[0, 1, 2]], []),
    ],
)
def test_batches_are_counted_across_epochs_and_steps_of_several(
    freq: int, epochs: list[list[int]], due: list[tuple[int, int]]
) -> None:
    rule = SavingRule(save_freq=freq)
    state, found = rule.start(), []
    for epoch, batches in enumerate(epochs):
        for batch in batches:
            state, is_due = rule.count(state, batch)
            if is_due:
                found.append((epoch, batch))
    assert found == due


def test_the_rest_after_a_save_is_dropped() -> None:
    rule = SavingRule(save_freq=4)
    assert rule.count(SavingState(batches=3, last_batch=1), 3) == (SavingState(batches=0, last_batch=3), True)
    assert rule.count(SavingState(batches=1, last_batch=1), 3) == (
        SavingState(batches=3, last_batch=3),
        False,
    )


def test_every_epoch_means_that_no_batch_is_due() -> None:
    assert SavingRule().count(SavingState(batches=10**9, last_batch=1), 2)[1] is False


def test_the_batch_of_a_decision_is_the_one_that_was_judged() -> None:
    rule = SavingRule(LOSS, save_best_only=True, save_freq=2)
    _, decision = rule.update(rule.start(), 1.0, epoch=1, batch=3)
    assert (decision.epoch, decision.batch) == (1, 3)
    _, decision = replace(rule, save_best_only=False).update(rule.start(), 1.0, epoch=1, batch=3)
    assert (decision.batch, decision.reason) == (3, Reason.EVERY_BATCHES)


def test_a_direction_that_was_settled_is_kept_and_needed_only_for_the_best() -> None:
    rule = SavingRule(Monitor("temperature"), save_best_only=True)
    state = SavingState(best=1.0, direction="max")
    state, decision = rule.update(state, 2.0, epoch=0)
    assert (state, decision.save) == (SavingState(best=2.0, direction="max"), True)
    with pytest.raises(UnknownDirection, match="ModelCheckpoint monitors 'temperature'"):
        rule.update(rule.start(), 1.0, epoch=0)


def test_the_defaults_are_those_of_keras() -> None:
    rule = SavingRule()
    assert rule.monitor == Monitor("val_loss", "auto", 0.0, "abs")
    assert (rule.save_best_only, rule.save_freq, rule.initial_value_threshold) == (False, "epoch", None)
    assert rule.start() == SavingState(None, 0, None, None)


@pytest.mark.parametrize("freq", [0, -1, 2.0, True, False, None, "batch", "5", [1]])
def test_a_frequency_is_epoch_or_a_number_of_batches(freq: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        SavingRule(save_freq=freq)
    assert str(caught.value).startswith(
        f"Unrecognized save_freq: {freq!r}. Expected save_freq are 'epoch' or integer values"
    )
    assert "Did you mean" not in str(caught.value)


def test_a_typo_in_the_frequency_is_told() -> None:
    with pytest.raises(ArgumentError, match=r"Did you mean 'epoch'\?"):
        SavingRule(save_freq="epochs")


def test_settings_become_plain_numbers_so_that_the_state_is_json() -> None:
    rule = SavingRule(
        save_best_only=True,
        save_freq=np.int64(5),  # type: ignore[arg-type]
        initial_value_threshold=np.float32(0.5),  # type: ignore[arg-type]
    )
    assert (type(rule.save_freq), type(rule.initial_value_threshold)) == (int, float)
    assert json.dumps(asdict(rule.start())) == (
        '{"best": 0.5, "batches": 0, "last_batch": null, "direction": null}'
    )


@pytest.mark.parametrize("threshold", [NAN, "low", [1]])
def test_a_threshold_is_a_number(threshold: Any) -> None:
    with pytest.raises(ArgumentError, match="initial_value_threshold must be a number"):
        SavingRule(initial_value_threshold=threshold)
