"""What counts as a number, and how one is written in JSON."""

from __future__ import annotations

import json
import math
from enum import Enum
from typing import Any

import numpy as np
import pytest

from outlast.core.csv_rows import cell
from outlast.core.logs import completed
from outlast.core.numbers import count, decoded, encoded, flag, is_scalar, number, real, to_python
from outlast.exceptions import ArgumentError, MetricError


class Tensor:
    """As PyTorch's: ``float()`` warns while gradients are required."""

    requires_grad = True
    shape = ()

    def __float__(self) -> float:
        raise AssertionError("asked for a number before detach()")

    def detach(self) -> float:
        return 0.25


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (0.5, 0.5),
        (True, 1.0),
        ("0.5", 0.5),
        (-math.inf, -math.inf),
        (np.float32(0.5), 0.5),
        (np.array(0.5), 0.5),
        (np.array([0.5]), 0.5),
        (np.array([[2]]), 2.0),
        (Tensor(), 0.25),
    ],
)
def test_a_number_is_a_number_or_an_array_with_one_element(value: Any, expected: float) -> None:
    result = number(value)
    assert (result, type(result)) == (expected, float)


def test_tensorflows_tensors_are_numbers_and_lists() -> None:
    """They have neither ``item`` nor ``tolist``, and the shape of a scalar is true."""
    tf = pytest.importorskip("tensorflow")
    assert [number(tf.constant(one)) for one in (0.5, [0.5], [[2]], True)] == [0.5, 0.5, 2.0, 1.0]
    assert [is_scalar(tf.constant(one)) for one in (0.5, [0.5])] == [True, False]
    assert completed({"acc": tf.constant(0.5)}, {}) == {"acc": 0.5}
    assert cell(tf.constant([0.5, 1.5])) == "[0.5, 1.5]"
    with pytest.raises(MetricError, match=r"the metric must be one number .* but is EagerTensor of shape"):
        number(tf.constant([1.0, 2.0]))


def test_nan_is_passed_on_as_nan() -> None:
    assert math.isnan(number(np.array([math.nan])))


@pytest.mark.parametrize(
    ("value", "came"),
    [
        (None, "NoneType None"),
        ("high", "str 'high'"),
        ([0.5], "list [0.5]"),
        (np.zeros(2), "ndarray of shape (2,)"),
        (np.zeros((0,)), "ndarray of shape (0,)"),
        (np.zeros((2, 3)), "ndarray of shape (2, 3)"),
        ("x" * 200, "str '" + "x" * 78),
    ],
)
def test_anything_else_is_refused_with_what_came_and_the_way_out(value: Any, came: str) -> None:
    with pytest.raises(MetricError) as caught:
        number(value, "val_iou")
    assert str(caught.value) == (
        f"val_iou must be one number (or an array of one element), but is {came}. "
        "Log its mean, or monitor another metric."
    )


def test_an_error_without_a_name_speaks_of_the_metric() -> None:
    with pytest.raises(MetricError, match=r"^the metric must be one number"):
        number(None)


def test_a_tensor_on_another_device_that_cannot_give_its_item_is_refused() -> None:
    class Meta:
        shape = (1,)

        def item(self) -> float:
            raise RuntimeError("no data")

    with pytest.raises(MetricError, match=r"Meta of shape \(1,\)"):
        number(Meta())


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, True), ("a", True), ([1, 2], True), (np.array(1.0), True), (np.array([1.0]), False)],
)
def test_a_scalar_has_no_axes(value: Any, expected: bool) -> None:
    assert is_scalar(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), (7, 7), (7.0, 7), (np.int64(7), 7), (np.float32(2), 2), (math.inf, math.inf)],
)
def test_a_count_is_a_whole_number_or_forever(value: Any, expected: float) -> None:
    result = count(value, "patience")
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    "value",
    [
        -1,
        2.5,
        True,
        False,
        np.True_,
        np.array(True),
        "3",
        None,
        math.nan,
        -math.inf,
        -0.5,
        [3],
        np.array([1, 2]),
        1j,
    ],
)
def test_anything_else_is_no_count(value: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        count(value, "patience")
    hint = " Did you mean 3, without quotes?" if isinstance(value, str) else ""
    assert str(caught.value) == f"patience must be a whole number, at least 0, but is {value!r}.{hint}"


def test_the_least_count_is_allowed_and_what_is_below_is_not() -> None:
    assert count(2, "batches", least=2) == 2
    with pytest.raises(ArgumentError, match="batches must be a whole number, at least 2, but is 1"):
        count(1, "batches", least=2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (-0.5, -0.5), (math.inf, math.inf), (-math.inf, -math.inf), (np.float32(0.5), 0.5)],
)
def test_a_setting_is_a_real_number(value: Any, expected: float) -> None:
    result = real(value, "min_delta")
    assert (result, type(result)) == (expected, float)


@pytest.mark.parametrize("value", [math.nan, "0.5", "half", None, [1], np.zeros(2)])
def test_anything_else_is_no_setting(value: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        real(value, "min_delta")
    assert str(caught.value) == f"min_delta must be a number, but is {value!r}."


@pytest.mark.parametrize(
    ("value", "as_json"),
    [
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (0.5, 0.5),
        (3, 3),
        (None, None),
        ("min", "min"),
        (True, True),
        ({"best": math.inf, "rates": {"a": -math.inf}}, {"best": "inf", "rates": {"a": "-inf"}}),
        ([1.0, [math.inf], "x"], [1.0, ["inf"], "x"]),
    ],
)
def test_infinities_survive_json(value: Any, as_json: Any) -> None:
    assert encoded(value) == as_json
    assert decoded(json.loads(json.dumps(encoded(value), allow_nan=False))) == value


def test_nan_survives_json() -> None:
    assert encoded(math.nan) == "nan"
    assert math.isnan(decoded("nan"))
    assert encoded({"loss": math.nan}) == {"loss": "nan"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (False, False),
        (1, True),
        (0, False),
        (np.True_, True),
        (np.False_, False),
        (np.int8(1), True),
    ],
)
def test_a_flag_is_true_or_false(value: Any, expected: bool) -> None:
    assert flag(value, "save_best_only") is expected


@pytest.mark.parametrize("value", ["no", "", 2, -1, 1.0, None, [], [True]])
def test_anything_else_is_no_flag(value: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        flag(value, "save_best_only")
    assert str(caught.value) == f"save_best_only must be True or False, but is {value!r}."


class Word(str, Enum):  # noqa: UP042  (as people write them who had Python 3.10)
    MIN = "min"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.True_, True),
        (np.False_, False),
        (np.str_("loss"), "loss"),
        (Word.MIN, "min"),
        (np.array(3), 3),
        (np.array([1, 2]), [1, 2]),
        ((np.int64(1), 2), [1, 2]),
        ({"a": {"b": [np.float64(1)]}}, {"a": {"b": [1.0]}}),
        (True, True),
        (3, 3),
        (None, None),
        (math.inf, math.inf),
    ],
)
def test_a_plain_value_has_pythons_own_types(value: Any, expected: Any) -> None:
    assert_same(to_python(value), expected)
    assert_same(encoded({"x": value})["x"], "inf" if expected == math.inf else expected)


def assert_same(value: Any, expected: Any) -> None:
    assert value == expected
    assert type(value) is type(expected)
    if isinstance(value, list):
        assert [type(item) for item in value] == [type(item) for item in expected]
    if isinstance(value, dict):
        assert_same([*value.values()], [*expected.values()])


def test_what_json_cannot_hold_is_left_for_json_to_refuse() -> None:
    something = object()
    assert to_python(something) is something
    assert to_python({"a": [something]})["a"][0] is something
