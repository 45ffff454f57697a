"""Rules, states and decisions are values: nobody changes one under another's feet."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from outlast.core.csv_rows import Table
from outlast.core.decision import Action, Decision, Reason
from outlast.core.monitor import Monitor
from outlast.core.plateau import PlateauRule
from outlast.core.saving import SavingRule
from outlast.core.stopping import EarlyStoppingRule, TimeLimitRule

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
