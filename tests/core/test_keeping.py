"""Which saved models are kept: the best, the last, or both."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from outlast.core.keeping import KeepingRule, Kept, from_json, ranked, to_json
from outlast.core.monitor import Direction
from outlast.exceptions import ArgumentError

NAN, INF = math.nan, math.inf


def model(name: str, value: float | None = None) -> Kept:
    return Kept(name, 0, None, value)


def kept_after(rule: KeepingRule, values: list[float | None], direction: Direction = "min") -> list[int]:
    """The epochs whose models are kept in the end."""
    kept: tuple[Kept, ...] = ()
    for epoch, value in enumerate(values):
        kept = rule.update(kept, Kept(f"m{epoch}", epoch, None, value), direction)
    return [one.epoch for one in kept]


@pytest.mark.parametrize(
    ("best", "last", "values", "epochs"),
    [
        (1, None, [3.0, 1.0, 2.0], [1]),
        (2, None, [3.0, 1.0, 2.0], [1, 2]),
        (3, None, [3.0, 1.0, 2.0], [0, 1, 2]),
        (4, None, [3.0, 1.0, 2.0], [0, 1, 2]),
        (1, None, [1.0, 1.0, 1.0], [0]),
        (2, None, [1.0, 1.0, 1.0], [0, 1]),
        (1, None, [NAN, None, 2.0], [2]),
        (2, None, [2.0, NAN, None], [0]),
        (1, None, [NAN, None], []),
        (1, None, [INF, -INF, 0.0], [1]),
        (None, 1, [3.0, 1.0, 2.0], [2]),
        (None, 2, [3.0, 1.0, None], [1, 2]),
        (None, 4, [3.0, 1.0], [0, 1]),
        (1, 1, [1.0, 2.0, 3.0], [0, 2]),
        (1, 1, [3.0, 2.0, 1.0], [2]),
        (1, 2, [1.0, 2.0, 3.0, 4.0], [0, 2, 3]),
        (2, 1, [1.0, 4.0, 2.0, 3.0], [0, 2, 3]),
        (None, None, [1.0, 2.0], []),
    ],
)
def test_the_best_and_the_last_are_kept_in_the_order_in_which_they_came(
    best: int | None, last: int | None, values: list[float | None], epochs: list[int]
) -> None:
    assert kept_after(KeepingRule(best, last), values) == epochs


def test_higher_is_better_where_it_is() -> None:
    assert kept_after(KeepingRule(1), [1.0, 3.0, 2.0], "max") == [1]
    assert kept_after(KeepingRule(2), [1.0, 3.0, 3.0, 2.0], "max") == [1, 2]


def test_a_model_that_takes_anothers_name_takes_its_place() -> None:
    kept = KeepingRule(2).update((model("a", 1.0), model("b", 2.0)), model("a", 3.0), "min")
    assert kept == (model("b", 2.0), model("a", 3.0))


def test_ranked_is_from_the_best_to_the_worst_without_those_that_have_no_number() -> None:
    models = [model("a", 2.0), model("b", None), model("c", 1.0), model("d", NAN), model("e", 2.0)]
    assert [one.name for one in ranked(models, "min")] == ["c", "a", "e"]
    assert [one.name for one in ranked(models, "max")] == ["a", "e", "c"]


@pytest.mark.parametrize(
    ("best", "last", "active"), [(None, None, False), (1, None, True), (None, 1, True), (2, 3, True)]
)
def test_it_is_active_if_it_decides_anything(best: int | None, last: int | None, active: bool) -> None:
    assert KeepingRule(best, last).active is active


def test_left_out_it_keeps_what_is_saved() -> None:
    assert KeepingRule() == KeepingRule(None, None)


@pytest.mark.parametrize("name", ["keep_best", "keep_last"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "two"])
def test_a_number_of_models_is_whole_and_at_least_1(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=f"^{name} must be a whole number, at least 1, but is {value!r}"):
        KeepingRule(**{name: value})


@pytest.mark.parametrize("name", ["keep_best", "keep_last"])
def test_for_ever_is_no_number_of_models(name: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        KeepingRule(**{name: INF})
    assert str(caught.value) == f"{name} must be a number; leave it out to keep all."


def test_one_is_enough() -> None:
    assert KeepingRule(1, 1).active


@pytest.mark.parametrize("value", [0.1, INF, -INF, None, 1e-300])
@pytest.mark.parametrize("batch", [None, 3])
def test_what_is_kept_comes_back_from_json(value: float | None, batch: int | None) -> None:
    kept = (Kept("m.pt", 7, batch, value), model("n"))
    assert from_json(json.loads(json.dumps(to_json(kept), allow_nan=False))) == kept


def test_nan_comes_back_from_json() -> None:
    (back,) = from_json(json.loads(json.dumps(to_json([model("m", NAN)]), allow_nan=False)))
    assert back.value is not None and math.isnan(back.value)


@pytest.mark.parametrize("value", [model("m"), KeepingRule(1)])
def test_a_value_cannot_be_changed(value: Any) -> None:
    name = next(iter(vars(value)))
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, None)
