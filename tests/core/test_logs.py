"""Logs are completed once, for all who read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from outlast.core.logs import completed, rate_columns
from outlast.exceptions import ArgumentError


@pytest.mark.parametrize(
    ("rates", "columns"),
    [
        ({}, {}),
        ({"adam": 0.1}, {"learning_rate": 0.1}),
        ({"a": 0.1, "b": 0.2}, {"learning_rate_a": 0.1, "learning_rate_b": 0.2}),
    ],
)
def test_one_rate_is_called_learning_rate_and_several_by_their_names(
    rates: dict[str, float], columns: dict[str, float]
) -> None:
    assert rate_columns(rates) == columns


def test_the_rate_stands_first_and_the_metrics_keep_their_order() -> None:
    assert list(completed({"b": 1.0, "a": 2.0}, {"sgd": 0.1})) == ["learning_rate", "b", "a"]


def test_a_metric_of_the_users_is_not_overwritten_by_the_rate() -> None:
    assert completed({"learning_rate": 0.5}, {"sgd": 0.1}) == {"learning_rate": 0.5}


def test_no_logs_are_the_rates_alone() -> None:
    assert completed(None, {"sgd": 0.1}) == {"learning_rate": 0.1}
    assert completed(None, {}) == {}


def test_nested_metrics_are_flattened() -> None:
    nested = {"loss": 1, "heads": {"a": 2, "deep": {"b": 3}}, "last": 4}
    assert completed(nested, {}) == {"loss": 1.0, "a": 2.0, "b": 3.0, "last": 4.0}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (np.float32(0.5), 0.5),
        (np.array(0.5), 0.5),
        (True, 1.0),
    ],
)
def test_numbers_become_floats(value: Any, expected: float) -> None:
    result = completed({"m": value}, {})["m"]
    assert (result, type(result)) == (expected, float)


@pytest.mark.parametrize("value", [None, "0.5", [1.0, 2.0], np.zeros(2), np.zeros(1), object()])
def test_what_is_no_single_number_stays_as_it_is(value: Any) -> None:
    assert completed({"m": value}, {})["m"] is value


def test_the_logs_that_came_are_not_changed() -> None:
    logs = {"loss": 1, "heads": {"a": 2}}
    completed(logs, {"sgd": 0.1})
    assert logs == {"loss": 1, "heads": {"a": 2}}


@pytest.mark.parametrize("logs", [0.5, [("loss", 0.5)], "loss", 0], ids=repr)
def test_logs_that_are_no_dict_are_refused(logs: Any) -> None:
    with pytest.raises(ArgumentError, match=r"logs must be a dict of metrics, such as \{'loss': 0\.5\}, but"):
        completed(logs, {})
