"""Which saved models stay: the best, the last, and who gives way."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.keeping import KeepingRule, Kept, from_json, ranked, to_json
from outlast.core.monitor import Direction
from outlast.exceptions import ArgumentError

Values = list[float | None]


def kept(rule: KeepingRule, values: Values, direction: Direction = "min") -> list[str]:
    """The names that stay after a series of saves, each called by its epoch."""
    models: tuple[Kept, ...] = ()
    for epoch, value in enumerate(values):
        models = rule.update(models, Kept(str(epoch), epoch, None, value), direction)
    return [model.name for model in models]


@pytest.mark.parametrize(
    ("best", "last", "values", "direction", "expected"),
    [
        (1, None, [0.5, 0.4, 0.6], "min", ["1"]),
        (1, None, [0.5, 0.4, 0.6], "max", ["2"]),
        (2, None, [0.5, 0.4, 0.6], "min", ["0", "1"]),
        (2, None, [0.5, 0.4, 0.6], "max", ["0", "2"]),
        (None, 1, [0.5, 0.4, 0.6], "min", ["2"]),
        (None, 2, [0.5, 0.4, 0.6], "min", ["1", "2"]),
        (1, 1, [0.4, 0.5, 0.6], "min", ["0", "2"]),
        (1, 1, [0.6, 0.5, 0.4], "min", ["2"]),
        (1, None, [0.5, 0.5], "min", ["0"]),
        (2, None, [0.5, 0.5, 0.5], "max", ["0", "1"]),
        (1, None, [math.nan, 0.5], "min", ["1"]),
        (1, None, [math.nan, None], "min", []),
        (None, 1, [0.5, None], "min", ["1"]),
        (1, None, [-1.0, -2.0], "max", ["0"]),
        (1, None, [-1.0, -2.0], "min", ["1"]),
        (5, None, [0.5, 0.4], "min", ["0", "1"]),
    ],
)
def test_the_best_and_the_last_stay(
    best: int | None, last: int | None, values: Values, direction: Direction, expected: list[str]
) -> None:
    assert kept(KeepingRule(best, last), values, direction) == expected


@pytest.mark.parametrize("number", range(1, 8))
def test_the_last_so_many_are_kept_once_there_are_so_many(number: int) -> None:
    rule, kept = KeepingRule(keep_last=number), ()
    for epoch in range(20):
        kept = rule.update(kept, Kept(f"m{epoch}", epoch, None, None), "min")
        assert [model.epoch for model in kept] == [*range(20)][max(0, epoch + 1 - number) : epoch + 1]


def test_a_rule_without_numbers_decides_nothing() -> None:
    assert not KeepingRule().active
    assert KeepingRule(keep_best=1).active
    assert KeepingRule(keep_last=1).active
    assert kept(KeepingRule(), [0.5]) == []


@pytest.mark.parametrize("name", ["keep_best", "keep_last"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True, math.inf])
def test_other_numbers_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ArgumentError, match=name):
        KeepingRule(**{name: value})  # type: ignore[arg-type]


def test_a_model_saved_again_under_its_name_counts_once() -> None:
    rule = KeepingRule(keep_best=2)
    models = rule.update((Kept("a", 0, None, 0.5), Kept("b", 1, None, 0.4)), Kept("a", 2, None, 0.9), "min")
    assert [(model.name, model.epoch) for model in models] == [("b", 1), ("a", 2)]


def test_values_of_the_rule_and_of_the_models_do_not_change() -> None:
    for value, name in ((KeepingRule(1), "keep_best"), (Kept("a", 0, None, 1.0), "value")):
        with pytest.raises(AttributeError):
            setattr(value, name, 2)


def test_models_without_a_number_have_no_rank() -> None:
    models = [Kept("a", 0, None, 2.0), Kept("b", 1, None, None), Kept("c", 2, None, math.nan)]
    assert ranked(models, "min") == models[:1]


values = st.none() | st.floats(allow_nan=False)


@given(st.lists(st.builds(Kept, st.text(), st.integers(0), st.none() | st.integers(0), values)))
def test_models_go_through_json_unchanged(models: list[Kept]) -> None:
    assert from_json(json.loads(json.dumps(to_json(models), allow_nan=False))) == tuple(models)
