"""Tables and the closing summary, as a person reads them."""

from __future__ import annotations

import math
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.metrics import Metrics
from outlast.exceptions import ArgumentError
from outlast.views.table import summary, table
from outlast.views.text import text_width


def golden(text: str) -> str:
    return dedent(text).strip("\n")


def test_numbers_stand_to_the_right_and_texts_to_the_left():
    rows = [("best", 0.06079005, 18), ("last", 1e-7, None), ("worst", math.inf, 1)]
    assert table(rows, ["epoch of", "val_loss", "epoch"]) == golden(
        """
        epoch of  val_loss  epoch
        --------  --------  -----
        best       0.06079     18
        last          1e-7
        worst          inf      1
        """
    )


def test_without_headers_there_are_only_rows():
    assert table([("a", 1), ("bcd", 20)]) == "a     1\nbcd  20"


def test_short_rows_and_headers_are_filled_and_no_rows_are_no_lines():
    assert table([("a",), ("b", "c")], ["x", "y", "z"]) == golden(
        """
        x  y  z
        -  -  -
        a
        b  c
        """
    )
    assert table([], ["x"]) == "x\n-"
    assert table([]) == ""


def test_a_column_of_mixed_cells_is_text_and_booleans_are_words():
    assert table([(1, True), ("two", False)]) == "1    True\ntwo  False"


def test_the_widest_columns_are_cut_to_the_terminal():
    rows = [("val_sparse_categorical_accuracy", 0.97881, "runs/digits/2024/best.keras")]
    assert table(rows, ["metric", "best", "file"], width=40) == golden(
        """
        metric             best  file
        ---------------  ------  ---------------
        val_sparse_c...  0.9788  runs/digits/...
        """
    )


def test_wide_characters_keep_the_columns_straight():
    lines = table([("損失", "x"), ("loss", "y")]).splitlines()
    assert lines == ["損失  x", "loss  y"]


@given(st.lists(st.lists(st.text() | st.floats() | st.none(), max_size=4), max_size=5), st.data())
def test_no_cell_can_break_a_line_or_reach_the_terminal(rows, data):
    width = data.draw(st.none() | st.integers(40, 120))
    lines = table(rows, width=width).split("\n")
    assert len(lines) == max(1, len(rows) if any(rows) else 0)
    assert all(line.isprintable() for line in lines)
    assert width is None or all(text_width(line) <= width for line in lines)


DIGITS = Metrics.from_columns(
    {
        "learning_rate": [0.01] * 9 + [0.005] * 12 + [0.0025] * 3 + [0.00125] * 2,
        "val_loss": [0.3] * 17 + [0.0608] + [0.0612] * 8,
    }
)


def test_the_summary_tells_epochs_best_end_rates_and_files():
    text = summary(
        DIGITS,
        stopped="val_loss has not improved on 0.0608 for 8 epochs",
        files={"best.keras": 9_123_456, "history.csv": 2_111, "history.png": 540},
    )
    assert text == golden(
        """
        epochs         26
        best           epoch 18, val_loss 0.0608
        stopped        val_loss has not improved on 0.0608 for 8 epochs
        learning rate  0.01 from epoch 1
                       0.005 after epoch 9
                       0.0025 after epoch 21
                       0.00125 after epoch 24
        files          best.keras     9.1 MB
                       history.csv    2.1 kB
                       history.png     540 B
        """
    )


def test_the_summary_is_wrapped_to_the_terminal():
    text = summary(DIGITS, stopped="val_loss has not improved on 0.0608 for 8 epochs", width=44)
    assert text.splitlines()[2:4] == [
        "stopped        val_loss has not improved on",
        "               0.0608 for 8 epochs",
    ]
    assert max(map(len, text.splitlines())) <= 44


def test_the_summary_of_a_history_that_ended_early_tells_what_there_is():
    assert summary(Metrics.from_csv("epoch,loss\r\n")) == "epochs         0"
    assert summary(Metrics.from_columns({"loss": [math.nan]})) == "epochs         1"


def test_the_summary_counts_an_epoch_that_was_trained_again_once():
    metrics = Metrics.from_columns({"loss": [3, 2, 1]}, [0, 1, 1])
    assert summary(metrics).splitlines()[0] == "epochs         2"


def test_the_summary_takes_the_best_epoch_that_it_is_given():
    metrics = Metrics.from_columns({"loss": [3, 2], "val_auc": [0.5, 0.9]})
    assert summary(metrics, best=0).splitlines()[1] == "best           epoch 1, loss 3"
    assert summary(metrics, monitor="val_auc").splitlines()[1] == "best           epoch 2, val_auc 0.9"
    with pytest.raises(ArgumentError, match="val_acc"):
        summary(metrics, monitor="val_acc")


def test_several_rates_are_told_apart_and_a_schedule_is_told_by_its_ends():
    metrics = Metrics.from_columns(
        {
            "learning_rate_head": [0.1 / 2**n for n in range(12)],
            "learning_rate_body": [0.01] * 11 + [0.001],
        }
    )
    assert summary(metrics) == golden(
        """
        epochs              12
        learning rate head  0.1 from epoch 1
                            4.883e-5 at the end, after 11 cuts
        learning rate body  0.01 from epoch 1
                            0.001 after epoch 11
        """
    )


def test_hostile_names_reach_no_terminal():
    metrics = Metrics.from_columns({"val_\x1b[2J_loss": [1.0], "learning_rate_\n\x07": [0.1]})
    text = summary(
        metrics, monitor="val_\x1b[2J_loss", stopped="\x1b]0;title\x07", files={"\u202egnp.exe": 1}
    )
    assert all(line.isprintable() for line in text.split("\n"))
    assert r"epoch 1, val_\x1b[2J_loss 1" in text
    assert r"learning rate \n\x07  0.1 from epoch 1" in text
    assert r"\u202egnp.exe" in text
