"""What a picture shows is found by pure functions: curves, panels, the best epoch, cuts, ticks."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.metrics import Metrics
from outlast.exceptions import ArgumentError, UnknownDirection
from outlast.views.curves import (
    BestEpoch,
    Curve,
    Cut,
    best_epoch,
    curve,
    cuts,
    digits_between,
    epoch_ticks,
    groups,
    is_scheduled,
    loggable,
    marked_cuts,
    rate_label,
    rate_ticks,
    rates,
    steps,
    thinned,
    wants_log,
)
from outlast.views.table import summary

NAN, INF = math.nan, math.inf


def history(**columns: list[float]) -> Metrics:
    return Metrics.from_columns(columns)


def same(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return repr(tuple(map(float, a))) == repr(tuple(map(float, b)))


def test_a_curve_runs_on_where_a_metric_did_not_come_and_breaks_where_it_is_not_finite():
    line = curve(history(loss=[4.0, 3.0, INF, 1.0], val_loss=[2.0, NAN]), "loss")
    assert (line.xs, line.lost) == ((1, 2, 3, 4), (3,))
    assert same(line.ys, (4.0, 3.0, NAN, 1.0))
    validation = curve(history(loss=[4, 3, 2, 1], val_loss=[2.0, 1.0]), "val_loss")
    assert (validation.xs, validation.ys, validation.lost) == ((2, 4), (2.0, 1.0), ())


def test_a_curve_starts_anew_where_epochs_were_trained_again():
    line = curve(Metrics.from_columns({"loss": [3.0, 2.0, 5.0]}, [0, 1, 1]), "loss")
    assert line.xs == (1, 2, 2, 2)
    assert same(line.ys, (3.0, 2.0, NAN, 5.0))
    assert line.lost == ()


def test_values_too_large_to_draw_count_as_not_finite():
    assert curve(history(loss=[1e301, -1e308, 1e299]), "loss").lost == (1, 2)


def test_panels_hold_training_and_validation_of_a_metric_and_no_rates_or_texts():
    metrics = Metrics.from_rows(
        [
            {
                "epoch": 0,
                "val_auc": 1,
                "auc": 1,
                "learning_rate": 1,
                "learning_rate_my_b": 1,
                "note": "x",
                "train_loss": 1,
                "val_accuracy": 1,
                "val_loss": 1,
                "val_mae": None,
            }
        ]
    )
    assert list(groups(metrics).items()) == [
        ("loss", ["train_loss", "val_loss"]),
        ("accuracy", ["val_accuracy"]),
        ("auc", ["auc", "val_auc"]),
    ]
    assert rates(metrics) == ["learning_rate", "learning_rate_my_b"]
    assert [rate_label(name) for name in rates(metrics)] == ["learning rate", "learning rate my_b"]


@pytest.mark.parametrize(
    ("columns", "options", "expected"),
    [
        ({"loss": [3, 1, 2], "val_loss": [3, 2, 1]}, {}, BestEpoch(2, "val_loss", 1)),
        ({"loss": [3, 1, 2], "val_loss": [NAN] * 3}, {}, None),
        ({"loss": [3, 1, 2]}, {}, BestEpoch(1, "loss", 1)),
        ({"loss": [1, 1, 2]}, {}, BestEpoch(0, "loss", 1)),
        ({"loss": [-INF, NAN, 2]}, {}, BestEpoch(2, "loss", 2)),
        ({"acc": [1, 2], "val_acc": [3, 2]}, {}, BestEpoch(0, "val_acc", 3)),
        ({"loss": [1, 2], "val_acc": [3, 4]}, {}, BestEpoch(0, "loss", 1)),
        ({"acc": [1, 2]}, {}, BestEpoch(1, "acc", 2)),
        ({"temperature": [1, 2]}, {}, None),
        ({"loss": [3, 1], "acc": [3, 1]}, {"monitor": "acc"}, BestEpoch(0, "acc", 3)),
        ({"loss": [3, 1, 2]}, {"epoch": 2}, BestEpoch(2, "loss", 2)),
        ({"temperature": [3, 1]}, {"monitor": "temperature", "epoch": 1}, BestEpoch(1, "temperature", 1)),
        ({}, {}, None),
    ],
)
def test_the_best_epoch(columns, options, expected):
    assert best_epoch(Metrics.from_columns(columns), **options) == expected


def test_the_best_of_an_epoch_that_was_trained_again_is_its_last_value():
    metrics = Metrics.from_columns({"loss": [3, 2, 5]}, [0, 1, 1])
    assert best_epoch(metrics, epoch=1) == BestEpoch(1, "loss", 5)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"monitor": "temprature"}, ArgumentError, "loss, temperature.*'temperature'"),
        ({"epoch": 2}, ArgumentError, "best=2: the history has no finite loss in that epoch"),
        ({"epoch": 1}, ArgumentError, "best=1: the history has no finite loss in that epoch"),
        ({"monitor": "temperature"}, UnknownDirection, "'temperature'.*best="),
    ],
)
def test_a_best_epoch_that_cannot_be_told_is_an_error(options, error, words):
    with pytest.raises(error, match=words):
        best_epoch(history(loss=[1, NAN], temperature=[1, 2]), **options)


def test_cuts_are_falls_from_one_epoch_to_the_next():
    metrics = Metrics.from_columns(
        {
            "learning_rate_a": [0.1, 0.2, 0.1, 0.1, 0.05, 0.01],
            "learning_rate_b": [1.0, 1.0, 0.5, 2.0, 0.5, 0.1],
        },
        [0, 1, 2, 3, 2, 2],  # the last epochs were trained again: no cuts
    )
    assert cuts(metrics) == [Cut(1, "learning_rate_a", 0.2, 0.1), Cut(1, "learning_rate_b", 1.0, 0.5)]


@pytest.mark.parametrize(
    ("curves", "expected"),
    [
        ([[1.1, 0.0003], [0.3, 0.06]], False),  # a small loss of training is no reason
        ([[2.0, 4e14], [2.0, 3.0]], True),
        ([[1.0, 1.0, 101.0]], True),
        ([[1.0, 1.0, 100.0]], False),
        ([[10.0, 10.0, 500.0]], False),
        ([[0.0, 1.0, 1e9]], False),
        ([[-1.0, 1.0, 1e9]], False),
        ([[5e-324, 1.0, 1e200]], False),
        ([[], [1.0, 1.0, 1e9]], True),
        ([], False),
    ],
)
def test_a_logarithmic_axis_is_chosen_where_one_value_dwarfs_the_usual(curves, expected):
    lines = [Curve("x", tuple(range(len(ys))), tuple(ys), ()) for ys in curves]
    assert wants_log(lines) is expected


def test_a_logarithmic_axis_needs_values_and_all_of_them_positive():
    assert [loggable(v) for v in ([], [1.0], [0.0, 1.0], [1e-301])] == [False, True, False, False]


@given(st.lists(st.floats(-1e6, 1e6) | st.just(NAN), min_size=1, max_size=3000), st.integers(10, 500))
def test_thinning_keeps_ends_extremes_and_gaps_within_the_limit(values, limit):
    line = Curve("loss", tuple(range(1, len(values) + 1)), tuple(values), (7,))
    thin = thinned(line, limit)
    assert len(thin.xs) <= max(limit, 5)
    assert set(zip(thin.xs, map(repr, thin.ys), strict=True)) <= set(
        zip(line.xs, map(repr, line.ys), strict=True)
    )
    assert list(thin.xs) == sorted(thin.xs)
    assert thin.lost == (7,)
    assert any(map(math.isnan, thin.ys)) == any(map(math.isnan, line.ys))
    if line.finite:
        drawn = thin.finite
        assert (drawn[0], drawn[-1]) == (line.finite[0], line.finite[-1])
        assert (min(drawn), max(drawn)) == (min(line.finite), max(line.finite))


def test_thinning_takes_no_more_than_it_must():
    line = Curve("loss", tuple(range(10_000)), tuple(float(n % 7) for n in range(10_000)), ())
    assert 1200 < len(thinned(line, 2000).xs) <= 2000


def test_a_short_curve_is_not_thinned():
    line = Curve("loss", (1, 2, 3), (3.0, 2.0, 1.0), ())
    assert thinned(line, 3) is line


def test_a_rate_holds_for_the_whole_of_its_epoch():
    line = steps(curve(history(learning_rate=[0.1, 0.05]), "learning_rate"))
    assert (line.xs, line.ys) == ((0.5, 1.5, 1.5, 2.5), (0.1, 0.1, 0.05, 0.05))


@given(st.integers(1, 10**6), st.integers(0, 10**7))
def test_epoch_ticks_are_few_ascending_and_within(first, length):
    last = first + length
    ticks = epoch_ticks(first, last)
    assert ticks[0] == first
    assert ticks == sorted(set(ticks))
    assert ticks[-1] <= last
    assert len(ticks) <= 14


@pytest.mark.parametrize(
    ("first", "last", "ticks"),
    [
        (1, 1, [1]),
        (1, 4, [1, 2, 3, 4]),
        (1, 14, [1, 5, 10]),
        (19, 61, [19, 25, 30, 35, 40, 45, 50, 55, 60]),
        (1, 100, [1, *range(10, 101, 10)]),
        (1, 10_000, [1, *range(1000, 10_001, 1000)]),
    ],
)
def test_epoch_ticks_are_round(first, last, ticks):
    assert epoch_ticks(first, last) == ticks


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.01, 0.01], [0.01]),
        ([0.01, 0.005, 0.0025, 0.00125], [0.00125, 0.0025, 0.005, 0.01]),
        ([0.01, 0.0099, 0.001], [0.001, 0.01]),  # 0.0099 would touch 0.01
        ([10**-n for n in range(8)], [1e-7, 1e-5, 1e-3, 1]),
        ([0.003 * 0.9**n for n in range(40)], [0.003 * 0.9**39, 1e-4, 1e-3, 0.003]),
    ],
)
def test_rate_ticks_are_the_rates_or_go_from_end_to_end(values, ticks):
    assert rate_ticks(values) == pytest.approx(ticks)


@given(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=50))
def test_rate_ticks_never_stand_close(values):
    ticks = rate_ticks(values)
    assert (ticks[0], ticks[-1]) == (min(values), max(values))
    room = math.log(max(values) / min(values)) / 6
    gaps = [math.log(b / a) for a, b in pairwise(ticks)]
    assert all(gap >= room * 0.999 for gap in gaps)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_digits_tell_the_ends_of_an_axis_apart(a, b):
    low, high = sorted((a, b))
    digits = digits_between(low, high)
    assert 4 <= digits <= 9
    if high - low > 1e-6 * max(abs(low), abs(high)):
        assert f"{low:.{digits}g}" != f"{high:.{digits}g}"


@pytest.mark.parametrize(
    ("values", "scheduled"),
    [
        ([0.004, 0.05, 0.1, 0.1, 0.095, 0.08, 0.06, 0.03, 0.001], True),  # OneCycle
        ([0.01, 0.1, 0.001], True),  # OneCycle in three epochs
        ([0.1, 0.075, 0.025], True),  # a cosine in three epochs
        ([0.1, 0.1, 0.1, 0.05, 0.001, 0.1, 0.1, 0.05, 0.001], True),  # with warm restarts
        ([0.1, 0.09, 0.081, 0.0729], True),  # exponential
        ([0.1, 0.1, 0.1], False),
        ([0.01, 0.05, 0.1, 0.1, 0.1, 0.01, 0.01], False),  # a warm-up, then a cut
        ([0.1, 0.1, 0.01, 0.001, 0.001], False),  # two cuts with patience 1
        ([0.1, 0.01], False),
        ([0.1], False),
    ],
)
def test_a_schedule_moves_a_rate_again_and_again_and_a_cut_does_not(values, scheduled):
    metrics = Metrics.from_columns({"loss": [1.0] * len(values), "learning_rate": values})
    assert is_scheduled(metrics, "learning_rate") is scheduled
    assert bool(marked_cuts(metrics)) is (not scheduled and bool(cuts(metrics)))
    assert ("by a schedule" in summary(metrics)) is scheduled
