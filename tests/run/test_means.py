"""The epoch's numbers: sums in float64 whatever came, and what cannot be a number is named at its line."""

from __future__ import annotations

import datetime
import math
import warnings
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.run.training import start

from outlast import Callback, History
from outlast.exceptions import MetricError, OutlastWarning
from outlast.frameworks import sums
from outlast.frameworks.sums import Sum


def mean(folder: Path, values: Any, weights: Any = 1) -> float:
    run = start(folder)
    for _ in run.epochs(1):
        for index, value in enumerate(run.batches(values)):
            weight = weights[index] if isinstance(weights, list) else weights
            run.log(loss=value, weight=weight)
    (found,) = run.history["loss"]
    return found


@pytest.mark.parametrize("weight", [1, 32, 64, 0.25])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int8])
def test_a_thousand_equal_values_have_themselves_as_their_mean(
    folder: Path, dtype: torch.dtype, weight: float
) -> None:
    assert mean(folder, [torch.tensor(2.0).to(dtype)] * 1000, weight) == 2.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint8, bool])
def test_numpys_numbers_do_not_overflow_either(folder: Path, dtype: Any) -> None:
    assert mean(folder, [np.array(1, dtype)[()]] * 1000, np.uint8(200)) == 1.0


def test_small_steps_are_not_lost_beside_a_large_sum(folder: Path) -> None:
    values = [torch.tensor(x, dtype=torch.float32) for x in (2.0**24, *[1.0] * 4096)]
    assert mean(folder, values) == (2.0**24 + 4096) / 4097


@pytest.mark.parametrize("value", [3, True, Fraction(3, 4), Decimal("0.5"), np.array([0.25]), np.float64(1)])
def test_whatever_is_a_number_is_one(folder: Path, value: Any) -> None:
    assert mean(folder, [value, value]) == float(np.asarray(value, float).item())


def test_jaxs_arrays_are_summed_with_compensation(folder: Path) -> None:
    jnp = pytest.importorskip("jax.numpy")
    values = [jnp.float32(2.0**24), *[jnp.float32(1)] * 300]
    assert mean(folder, values) == pytest.approx((2.0**24 + 300) / 301, rel=1e-9)
    assert mean(folder / "half", [jnp.bfloat16(2)] * 500, jnp.float16(32)) == 2.0
    assert mean(folder / "infinite", [jnp.float32(1), jnp.float32(math.inf), jnp.float32(1)]) == math.inf


@pytest.mark.parametrize("saved_after", [{1}, {2, 3, 50}, {128, 129, 130, 131}, set(range(300))])
def test_jaxs_sums_do_not_depend_on_when_they_are_saved(saved_after: set[int]) -> None:
    jnp = pytest.importorskip("jax.numpy")
    values = [jnp.float32(math.sin(n) * 10 ** (n % 5)) for n in range(300)]
    whole, total = Sum(), Sum()
    for done, value in enumerate(values):
        whole.add(value, float(done % 3))
        total.add(value, float(done % 3))
        if done in saved_after:
            total = Sum.of(total.saved())
    assert total.read() == whole.read()
    assert whole.read() == pytest.approx(sum(float(v) * (n % 3) for n, v in enumerate(values)), rel=1e-6)


def test_jaxs_arrays_are_checked_though_many_are_added_at_once(folder: Path) -> None:
    jnp = pytest.importorskip("jax.numpy")
    run = start(folder)
    for _ in run.epochs(1):
        for value in run.batches([1.0, 2.0, 3.0, 4.0, 5.0]):
            run.log(loss=jnp.float32(value), f1=jnp.array([value, 0]))
            for wrong, error in ((jnp.zeros(2), "the shape"), (jnp.zeros(0), "no element"), ("a", "a text")):
                with pytest.raises(MetricError, match=f"^loss .*{error}"):
                    run.log(loss=wrong, f1=jnp.zeros(2))
            run.log(loss=jnp.float16(9))
    assert run.history.rows[0] == {"epoch": 0, "learning_rate": 0.1, "loss": 6.0, "f1": (3.0, 0.0)}


@pytest.mark.parametrize("since", [0, 3])
def test_a_jax_value_that_a_step_overwrites_is_counted_or_named(folder: Path, since: int) -> None:
    jax = pytest.importorskip("jax")
    step = jax.jit(lambda state: state + 1, donate_argnums=0)
    run, state = start(folder), jax.numpy.float32(0)
    for _ in run.epochs(1):
        for batch in run.batches(range(6)):
            run.log(loss=state)
            state = step(state) if batch >= since else state + 1
        if since:
            with pytest.raises(MetricError, match="loss was logged, and then donated to a step"):
                run._loop._means.result()
            return
    assert run.history["loss"] == [2.5]


def test_a_jax_value_that_is_traced_is_named(folder: Path) -> None:
    jax = pytest.importorskip("jax")
    run = start(folder)
    with pytest.raises(MetricError, match="loss has no value yet"):
        for _ in run.epochs(1):
            for batch in run.batches([1.0]):
                jax.jit(lambda x: run.log(loss=x))(batch)


class NoFloat64(torch.Tensor):
    """As a tensor on a device that lacks float64, such as Apple's GPUs."""

    def to(self, dtype: Any) -> Any:
        if dtype is torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return super().to(dtype)


def test_a_device_without_float64_sums_with_compensation(folder: Path) -> None:
    values = [torch.tensor(x).as_subclass(NoFloat64) for x in (2.0**24, *[1.0] * 300)]
    assert mean(folder, values) == pytest.approx((2.0**24 + 300) / 301, rel=1e-9)
    infinite = [torch.tensor(x).as_subclass(NoFloat64) for x in (1.0, math.inf, 1.0)]
    assert mean(folder / "infinite", infinite) == math.inf


def test_tensorflows_tensors_are_summed_in_float64() -> None:
    tf = pytest.importorskip("tensorflow")
    total = Sum()
    for value, weight in ((tf.constant(2.0, tf.bfloat16), tf.constant(3)), (tf.constant(math.nan), 0.0)):
        total.add(value, weight)
    total.add(tf.constant(math.nan), tf.constant(0))
    assert total.read() == 6.0


def test_kinds_of_values_may_be_mixed_in_an_epoch(folder: Path) -> None:
    values = [1.0, torch.tensor(2.0), np.float16(3), torch.tensor([4.0]), 5]
    assert mean(folder, values, [1, torch.tensor(1), np.int8(1), 1.0, torch.tensor(1)]) == 3.0


def test_a_batch_of_padding_adds_nothing_even_if_its_mean_is_nan(folder: Path) -> None:
    nan = torch.tensor(math.nan)
    assert mean(folder, [1.0, math.nan, nan, nan, 3.0], [1, 0, 0, torch.tensor(0), 1]) == 2.0


def test_a_metric_without_any_weight_is_missing_with_a_warning(folder: Path) -> None:
    run = start(folder)
    with pytest.warns(OutlastWarning, match="loss has no mean in this epoch"):
        for _ in run.epochs(1):
            for value in run.batches([1.0, math.nan]):
                run.log(loss=value, weight=0)
    assert "loss" not in run.history


def test_a_weight_in_a_tensor_is_not_waited_for(folder: Path) -> None:
    class Count(torch.Tensor):
        def __bool__(self) -> bool:
            raise AssertionError("waited for")

        __float__ = __bool__  # type: ignore[assignment]

    weights = [torch.tensor(n).as_subclass(Count) for n in (1, 3)]
    assert mean(folder, [torch.tensor(1.0), torch.tensor(5.0)], weights) == 4.0


def test_negative_weights_in_tensors_are_named_at_the_epochs_end(folder: Path) -> None:
    with pytest.raises(MetricError, match=r"loss has weights that add up to -1\.0"):
        mean(folder, [torch.tensor(1.0)], torch.tensor(-1))


def test_an_array_is_averaged_item_by_item(folder: Path) -> None:
    run = start(folder, [history := History()])
    for _ in run.epochs(1):
        for value in run.batches([[1.0, 2.0], [3.0, 4.0]]):
            run.log(f1=torch.tensor(value, dtype=torch.float16))
    assert run.history.rows[0]["f1"] == (2.0, 3.0)
    assert history.history["f1"][0].dtype == np.float64


def test_values_of_several_shapes_have_no_mean(folder: Path) -> None:
    with pytest.raises(MetricError, match=r"loss has the shape \(3,\) in this batch and \(4,\) before"):
        mean(folder, [torch.zeros(4), torch.zeros(3)])


HUGE = 10**400
NOWHERE = [
    [torch.tensor(1.0), torch.tensor(2.0)],
    datetime.datetime(2026, 1, 1),
    datetime.timedelta(1),
    Path("x"),
    1j,
    np.complex64(1),
    torch.tensor(1j),
    HUGE,
    10**5000,
    [1.0, HUGE],
    {"inner": Path("x")},
    object(),
    np.array(["a"]),
    np.array([None]),
    np.datetime64("2026-01-01"),
    b"1",
    torch.zeros(0),
    torch.zeros((), device="meta"),
    torch.tensor([1.0]).to_sparse(),
    "abc",
    "0.5",
    {1, 2},
    lambda: 1,
]
NOT_IN_A_BATCH = [None, [1.0, 2.0], (1.0,), {"a": 1.0}, {}]


@pytest.mark.parametrize("value", [*NOWHERE, *NOT_IN_A_BATCH], ids=lambda value: type(value).__name__)
def test_what_has_no_mean_is_refused_at_its_line_and_the_epoch_goes_on(folder: Path, value: Any) -> None:
    run = start(folder)
    for _ in run.epochs(1):
        for batch in run.batches([1.0, 3.0]):
            with pytest.raises(MetricError, match=f"^x must be a number, but is {type(value).__name__}"):
                run.log(loss=99.0, x=value)
            run.log(loss=batch)
    assert run.history["loss"] == [2.0]


def test_nothing_of_a_batch_is_counted_whose_last_metric_has_another_shape(folder: Path) -> None:
    run = start(folder)
    for _ in run.epochs(1):
        for batch in run.batches([1.0, 3.0]):
            run.log(loss=np.float64(batch), x=np.ones(2))
            with pytest.raises(MetricError, match=r"^x has the shape \(3,\) in this batch and \(2,\) before"):
                run.log(loss=np.float64(99), x=np.ones(3))
    assert run.history["loss"] == [2.0]


@pytest.mark.parametrize("value", NOWHERE, ids=lambda value: type(value).__name__)
def test_what_is_no_metric_is_refused_outside_batches_and_after_the_loop(folder: Path, value: Any) -> None:
    run = start(folder)
    for _ in run.epochs(1):
        with pytest.raises(MetricError, match=r"^(x|inner) must be a number, but is "):
            run.log(loss=99.0, x=value)
        run.log(loss=1.0)
    with pytest.raises(MetricError, match=r"^(x|inner) must be a number, but is "):
        run.log(x=value)
    assert (run.history["loss"], run.results) == ([1.0], {})


@pytest.mark.parametrize("name", [1, None, ("a", "b")])
def test_a_name_is_a_text(folder: Path, name: Any) -> None:
    run = start(folder)
    with pytest.raises(MetricError, match="The name of a metric must be a text"):
        for _ in run.epochs(1):
            run.log({name: 1.0})


def test_lists_arrays_dicts_and_missing_values_are_metrics_of_an_epoch(folder: Path) -> None:
    run = start(folder)
    for _ in run.epochs(1):
        run.log(f1=[1, np.float32(0.5)], matrix=np.eye(2), heads={"a": 1, "b": torch.tensor(2.0)}, none=None)
    assert run.history.rows[0] == {
        "epoch": 0,
        "learning_rate": 0.1,
        "f1": (1.0, 0.5),
        "matrix": "[[1.0, 0.0], [0.0, 1.0]]",
        "a": 1.0,
        "b": 2.0,
        "none": None,
    }


def test_a_value_is_taken_as_it_is_when_it_is_logged(folder: Path) -> None:
    run = start(folder)
    total, array, items = torch.ones(()), np.ones(2), [1.0]
    for _ in run.epochs(1):
        run.log(total=total, array=array, items=items)
        total.zero_(), array.fill(0), items.clear()
    assert run.history.rows[0] == {
        "epoch": 0, "learning_rate": 0.1, "total": 1.0, "array": (1.0, 1.0), "items": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("value", [datetime.date(2026, 1, 1), Path("x"), 1j, HUGE, [torch.zeros(())]])
def test_what_a_callback_adds_to_the_logs_is_named_too(folder: Path, value: Any) -> None:
    class Adds(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["mine"] = value

    run = start(folder, [Adds()])
    with pytest.raises(MetricError, match=r"^mine must be a number"):
        for _ in run.epochs(1):
            run.log(loss=1.0)


def test_a_sum_costs_about_as_much_as_the_addition_itself() -> None:
    assert sums._kind(1.0) is sums._HOST  # found in a table, not looked for
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total = Sum()
        total.add(torch.ones(1, requires_grad=True), 2.0)
        assert total.read() == 2.0
