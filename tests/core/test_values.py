"""Rules, states and decisions are values: nobody changes one under another's feet."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, asdict, fields
from typing import Any

import numpy as np
import pytest

from outlast.core.csv_rows import Table
from outlast.core.decision import Action, Decision, Reason
from outlast.core.keeping import KeepingRule
from outlast.core.monitor import Monitor
from outlast.core.plateau import PlateauRule
from outlast.core.saving import SavingRule
from outlast.core.stopping import EarlyStoppingRule, TimeLimitRule
from outlast.exceptions import ArgumentError

RULES: list[Any] = [EarlyStoppingRule(), PlateauRule(), SavingRule(), TimeLimitRule(60)]
VALUES = [
    *RULES,
    *(rule.start() for rule in RULES),
    Monitor(),
    Table(","),
    Decision("Some", Action.CONTINUE, Reason.MISSING, 0),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_cannot_be_changed(value: Any) -> None:
    name = fields(value)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, getattr(value, name))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_a_rule_gives_the_same_answer_to_the_same_question(rule: Any) -> None:
    first, second = (ask(rule, rule.start()) for _ in range(2))
    assert first == second


def ask(rule: Any, state: Any) -> Any:
    if isinstance(rule, PlateauRule):
        return rule.update(state, 0.5, {"sgd": 0.1}, epoch=3)
    return rule.update(state, 0.5, epoch=3)


MONITOR: Any = {
    "name": np.str_("val_loss"),
    "mode": np.str_("max"),
    "min_delta": np.float32(0.5),
    "threshold_mode": np.str_("rel"),
}
NUMPYS: list[tuple[Any, dict[str, Any]]] = [
    (Monitor, MONITOR),
    (
        EarlyStoppingRule,
        {
            "monitor": Monitor(**MONITOR),
            "patience": np.int64(3),
            "baseline": np.float32(0.5),
            "start_from_epoch": np.int8(2),
            "stopping_threshold": np.float64(0.25),
            "divergence_threshold": np.array(9.0),
        },
    ),
    (
        PlateauRule,
        {
            "monitor": Monitor(**MONITOR),
            "factor": np.float32(0.5),
            "patience": np.int64(3),
            "cooldown": np.uint8(1),
            "min_lr": np.float64(0.25),
        },
    ),
    (
        SavingRule,
        {
            "monitor": Monitor(**MONITOR),
            "save_best_only": np.True_,
            "save_freq": np.int64(7),
            "initial_value_threshold": np.float32(0.5),
        },
    ),
    (KeepingRule, {"keep_best": np.int64(2), "keep_last": np.int32(1)}),
    (TimeLimitRule, {"seconds": np.int64(60)}),
]


@pytest.mark.parametrize(("rule", "settings"), NUMPYS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_rule_made_with_numpys_numbers_holds_pythons_own(rule: Any, settings: dict[str, Any]) -> None:
    assert {field.name for field in fields(rule)} == set(settings), "each setting is tried"
    configuration = asdict(rule(**settings))
    assert json.loads(json.dumps(configuration, allow_nan=False)) == configuration
    assert configuration == asdict(rule(**{name: python(value) for name, value in settings.items()}))


def python(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


@pytest.mark.parametrize("flag", [2, "no", None])
def test_save_best_only_is_true_or_false(flag: Any) -> None:
    with pytest.raises(ArgumentError, match=f"^save_best_only must be True or False, but is {flag!r}"):
        SavingRule(save_best_only=flag)


@pytest.mark.parametrize("freq", [np.True_, np.float64(2), np.str_("epochs")])
def test_a_save_freq_of_numpy_that_is_no_whole_number_is_refused(freq: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        SavingRule(save_freq=freq)
    assert f"Unrecognized save_freq: {freq!r}. " in str(caught.value)
