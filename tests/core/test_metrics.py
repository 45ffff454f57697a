"""Metrics reads every history that a CSVLogger wrote, Keras's or ours, and says what is wrong else."""

from __future__ import annotations

import copy
import math
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.csv_rows import Table, cell
from outlast.core.metrics import Metrics
from outlast.exceptions import ArgumentError, MetricError, MissingExtra

NAN, INF = math.nan, math.inf

PLAIN = "epoch,loss,val_loss\r\n0,0.5,NA\r\n1,0.25,0.75\r\n"


def keras_csv(path: Path, fits: list[list[dict[str, Any]]], **options: Any) -> str:
    """What Keras's own CSVLogger writes for the logs of these fits, each of which starts at 0."""
    import keras

    for logs_of_fit in fits:
        logger = keras.callbacks.CSVLogger(path, **options)
        logger.on_train_begin()
        for epoch, logs in enumerate(logs_of_fit):
            logger.on_epoch_end(epoch, logs)
        logger.on_train_end()
    return path.read_bytes().decode()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", "x", "e", "h", ".", "-", "'", "0"])
def test_any_separator_of_kerass_csvlogger_is_recognised(tmp_path, separator):
    logs = [{"loss": 0.5, "val_loss": -1.25e-10}, {"loss": 10.0, "val_loss": 2.5}]
    text = keras_csv(tmp_path / "log.csv", [logs], separator=separator)
    assert Metrics.from_csv(text) == Metrics.from_columns({"loss": [0.5, 10.0], "val_loss": [-1.25e-10, 2.5]})


def test_what_keras_fills_with_na_is_missing(tmp_path):
    text = keras_csv(tmp_path / "log.csv", [[{"loss": 0.5, "lr": 0.1}, {"loss": 0.25}]])
    metrics = Metrics.from_csv(text)
    assert metrics.columns == ("loss", "lr", "val_loss", "val_lr")
    assert metrics.rows[1] == {
        "epoch": 1, "loss": 0.25, "lr": None, "val_loss": None, "val_lr": None,
    }  # fmt: skip
    assert metrics["lr"][0] == 0.1
    assert math.isnan(metrics["lr"][1])
    assert all(map(math.isnan, metrics["val_loss"]))


def test_every_kind_of_value_that_keras_writes_is_read_back(tmp_path):
    logs = {
        "array": np.array([0.5, 0.25], "float32"),
        "empty": [],
        "f1": np.array([0.75], "float32"),
        "inf": -INF,
        "int": 3,
        "matrix": np.array([[1, 2], [3, 4]]),
        "nan": NAN,
        "none": None,
        "text": "a, b",
        "tuple": (1, 2.5, INF),
        "zero_d": np.float32(0.1),
    }
    (row,) = Metrics.from_csv(keras_csv(tmp_path / "log.csv", [[logs]])).rows
    assert math.isnan(row.pop("nan"))
    assert {name: value for name, value in row.items() if not name.startswith("val_")} == {
        "epoch": 0,
        "array": (0.5, 0.25),
        "empty": (),
        "f1": 0.75,
        "inf": -INF,
        "int": 3.0,
        "matrix": '"[[1 2], [3 4]]"',
        "none": None,
        "text": "a, b",
        "tuple": (1.0, 2.5, INF),
        "zero_d": 0.1,
    }


def test_an_epoch_that_keras_trained_again_keeps_both_rows(tmp_path):
    fits = [[{"loss": 3.0}, {"loss": 2.0}], [{"loss": 5.0}]]
    metrics = Metrics.from_csv(keras_csv(tmp_path / "log.csv", fits, append=True))
    assert metrics.epochs == (0, 1, 0)
    assert metrics["loss"] == [3.0, 2.0, 5.0]


def test_epochs_without_any_metric_are_rows_without_columns(tmp_path):
    metrics = Metrics.from_csv(keras_csv(tmp_path / "log.csv", [[{}, {}]]))
    assert (metrics.epochs, metrics.columns) == ((0, 1), ())
    assert metrics.rows == [{"epoch": 0}, {"epoch": 1}]


def test_a_file_torn_at_any_byte_shows_the_rows_that_are_whole(tmp_path):
    logs = [{"a": [0.5, 0.25], "loss": 10.5}, {"a": [1.5, 2.5], "loss": 9.25}]
    text = keras_csv(tmp_path / "log.csv", [logs])
    whole = Metrics.from_csv(text)
    for length in range(len(text) + 1):
        ended = text.count("\r", 0, length)  # with the header
        torn = Metrics.from_csv(text[:length])
        assert torn.rows == whole.rows[: max(0, ended - 1)], text[:length]


def test_a_number_that_was_cut_short_is_never_shown():
    assert Metrics.from_csv("epoch,loss\r\n0,1.5\r\n1,0.0").rows == [{"epoch": 0, "loss": 1.5}]


@pytest.mark.parametrize("text", ["", "epo", "epoch", "epoch,lo", "epoch,loss\r\n", "\ufeffepoch\n"])
def test_a_file_without_rows_is_an_empty_history(text):
    metrics = Metrics.from_csv(text)
    assert (metrics.rows, metrics.epochs) == ([], ())


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("\r\n", "\n"),
        PLAIN.replace("\r\n", "\r"),
        PLAIN.replace("\r\n", "\r\r\n"),  # Keras's on Windows
        "\ufeff" + PLAIN,  # saved again by a spreadsheet
        PLAIN.replace("0,", "0.0,", 1),  # and by pandas
    ],
    ids=["lf", "cr", "windows", "bom", "float epoch"],
)
def test_files_that_went_through_other_hands_are_read_alike(text):
    assert Metrics.from_csv(text) == Metrics.from_csv(PLAIN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("loss,acc\r\n1,2\r\n", ["'epoch'", "'loss,acc'", "CSVLogger"]),
        ("\x89PNG\r\n\x1a\n\0\0", ["'epoch'", "PNG"]),
        ("\r\n", ["'epoch'"]),
        ("epoch,loss\r\n0,0.5\r\n1,0.5,0.1\r\n", ["Line 3", "3 fields", "has 2", "epoch, loss"]),
        ("epoch,loss\r\n0\r\n", ["Line 2", "1 fields"]),
        ("epoch,loss\r\n\r\nx,1\r\n", ["line 3", "whole number", "'x'"]),
        ("epoch,loss\r\n1.5,1\r\n", ["line 2", "whole number", "'1.5'"]),
        ("epoch,loss\r\ninf,1\r\n", ["line 2", "whole number", "'inf'"]),
        ("epoch,loss\r\nNA,1\r\n", ["line 2", "whole number", "'NA'"]),
        ('epoch,loss\r\n0,"a"b\r\n', ["Line 2", "not CSV"]),
        ('epoch,loss\r\n0,"a\r\n1,2\r\n', ["Line 3", "not CSV"]),
        ("epoch,loss\r\n0," + "9" * 200_000 + "\r\n", ["Line 2", "not CSV"]),
    ],
)
def test_a_text_that_is_no_history_is_refused_with_its_line(text, words):
    with pytest.raises(ArgumentError) as raised:
        Metrics.from_csv(text)
    assert [word for word in words if word not in str(raised.value)] == []


def test_an_array_of_very_many_numbers_is_read():
    text = 'epoch,a\r\n0,"[' + ", ".join(["0.123456789"] * 20_000) + ']"\r\n'
    assert Metrics.from_csv(text).rows[0]["a"] == (0.123456789,) * 20_000


def names() -> st.SearchStrategy[str]:
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    hostile = st.text("'=+-@\t\r\n,;\"ab", min_size=1)
    return (hostile | st.text(letters, min_size=1)).filter(lambda name: name != "epoch")


@given(
    st.lists(
        st.dictionaries(names(), st.floats(width=64) | st.lists(st.floats(), max_size=3), max_size=4),
        max_size=5,
    ),
    st.sampled_from(",;\t|e '"),
)
def test_what_our_csvlogger_writes_is_read_back(logs, separator):
    """Whatever the names (quotes, line ends, separators, formulas), whatever the numbers."""
    table = Table(separator).with_columns({name for row in logs for name in row})
    lines = [
        table.row(epoch, {name: cell(value) for name, value in row.items()}) for epoch, row in enumerate(logs)
    ]
    read = Metrics.from_csv((table.header() + b"".join(lines)).decode())
    expected = Metrics.from_rows({"epoch": epoch, **row} for epoch, row in enumerate(logs))
    assert read.epochs == expected.epochs
    assert set(expected.columns) <= set(read.columns)
    for name in expected.columns:
        assert repr([row[name] for row in read.rows]) == repr([row[name] for row in expected.rows])


def test_epochs_are_ints_and_numbers_are_floats():
    (row, _) = Metrics.from_csv(PLAIN.replace("0.5", "3")).rows
    assert [type(value) for value in row.values()] == [int, float, type(None)]


@pytest.mark.parametrize("text", ["[1, 2", "1, 2]", "[1, x]", "[[1], [2]]", "1 2", "NaNa"])
def test_what_only_looks_like_an_array_or_number_stays_text(text):
    (row,) = Metrics.from_rows([{"epoch": 0, "x": text}]).rows
    assert row["x"] == text


def test_it_is_a_mapping_from_names_to_lists_of_floats():
    metrics = Metrics.from_csv(PLAIN)
    assert list(metrics) == ["loss", "val_loss"]
    assert len(metrics) == 2
    assert "loss" in metrics
    assert "lost" not in metrics
    assert metrics.get("lost") is None
    assert dict(metrics)["loss"] == [0.5, 0.25]
    assert repr(metrics) == "<Metrics: 2 rows of epoch, loss, val_loss>"


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(KeyError, match=r"'val_lss'.*loss, val_loss.*Did you mean 'val_loss'"):
        Metrics.from_csv(PLAIN)["val_lss"]
    with pytest.raises(KeyError, match="available metrics: none"):
        Metrics.from_rows([])["loss"]


def test_what_it_hands_out_changes_nothing_in_it():
    metrics, same = Metrics.from_csv(PLAIN), Metrics.from_csv(PLAIN)
    metrics["loss"].append(1.0)
    metrics.rows.clear()
    metrics.rows[0]["loss"] = 9.0
    with pytest.raises(TypeError):
        metrics["loss"] = []  # type: ignore[index]
    assert metrics == same


def test_histories_are_equal_where_both_have_nan_and_differ_in_epochs_or_values():
    def history(**changes: Any) -> Metrics:
        return Metrics.from_rows([{"epoch": 0, "loss": NAN, "f1": [0.5, float("nan")]} | changes])

    assert history() == history()
    assert history() != history(epoch=1)
    assert history() != history(loss=1.0)
    assert history() != history(loss=None)
    assert history() != dict(history())


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_equal(clone):
    metrics = Metrics.from_csv(PLAIN)
    assert clone(metrics) == metrics


def test_values_of_any_framework_become_plain_floats():
    import torch

    values = {
        "np": np.float32(0.5),
        "one": np.array([0.5]),
        "several": np.array([0.5, 1.5]),
        "torch": torch.tensor(0.5, requires_grad=True),
        "torches": torch.tensor([0.5, 1.5]),
        "bool": True,
        "text": "0.5",
        "nested": [[1, 2], [3]],
    }
    (row,) = Metrics.from_rows([{"epoch": np.int64(3), **values}]).rows
    assert row == {
        "epoch": 3,
        "np": 0.5,
        "one": 0.5,
        "several": (0.5, 1.5),
        "torch": 0.5,
        "torches": (0.5, 1.5),
        "bool": 1.0,
        "text": 0.5,
        "nested": "[[1, 2], [3]]",
    }
    assert all(type(value) in (int, float, str, tuple) for value in row.values())


def test_a_value_that_is_no_metric_is_refused_with_its_name():
    with pytest.raises(MetricError, match="mystery must be one number"):
        Metrics.from_rows([{"epoch": 0, "mystery": object()}])


@pytest.mark.parametrize("row", [{"loss": 1.0}, {"epoch": "first"}, {"epoch": 0.5}, {"epoch": None}])
def test_a_row_without_an_epoch_is_refused_with_its_index(row):
    with pytest.raises(ArgumentError, match="row 1"):
        Metrics.from_rows([{"epoch": 0}, row])


def test_cells_without_a_single_number_are_nan_in_the_column_and_left_out_of_the_points():
    metrics = Metrics.from_rows(
        [{"epoch": e, "x": x} for e, x in enumerate([1.0, "text", (1.0, 2.0), None, NAN])]
    )
    assert repr(metrics["x"]) == "[1.0, nan, nan, nan, nan]"
    assert repr(metrics.points("x")) == "[(0, 1.0), (4, nan)]"


def test_columns_take_their_epochs_from_where_they_are_told():
    columns = {"loss": [1.0, 2.0]}
    assert Metrics.from_columns(columns).epochs == (0, 1)
    assert Metrics.from_columns(columns, [5, 6]).epochs == (5, 6)
    assert Metrics.from_columns(columns | {"epoch": [3, 4]}).epochs == (3, 4)
    assert Metrics.from_columns(columns | {"epoch": [3, 4]}, [5, 6]).epochs == (5, 6)
    assert Metrics.from_columns({}).rows == []


def test_a_metric_that_came_only_at_validations_goes_to_the_epochs_of_validation():
    history = {"loss": [6, 5, 4, 3, 2, 1, 0], "val_loss": [3, 2, 1], "never": []}
    metrics = Metrics.from_columns(history)
    assert metrics.points("val_loss") == [(1, 3.0), (3, 2.0), (5, 1.0)]
    assert metrics.points("never") == []


@pytest.mark.parametrize(
    ("columns", "epochs", "words"),
    [
        ({"loss": [1, 2, 3], "val_loss": [1, 2]}, None, "val_loss has 2 values for 3 epochs"),
        ({"loss": [1, 2, 3], "val_loss": [1]}, None, "val_loss has 1 values for 3 epochs"),
        ({"loss": [1, 2, 3]}, [0], "loss has 3 values for 1 epochs"),
        ({"loss": 0.5}, None, "loss must be a list"),
    ],
)
def test_columns_that_fit_no_epochs_are_refused(columns, epochs, words):
    with pytest.raises(ArgumentError, match=words):
        Metrics.from_columns(columns, epochs)


def test_pandas_gets_numbers_as_numbers():
    first = {"epoch": 0, "loss": 0.5, "f1": [1, 2], "never": None}
    frame = Metrics.from_rows([first, {"epoch": 1, "f1": [3, 4], "val_loss": 1}]).to_pandas()
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert kinds == {
        "epoch": "int64", "loss": "float64", "f1": "object", "never": "float64",
        "val_loss": "float64",
    }  # fmt: skip
    assert frame["f1"].tolist() == [(1.0, 2.0), (3.0, 4.0)]
    assert frame["val_loss"].isna().tolist() == [True, False]


def test_without_pandas_the_pip_line_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r'to_pandas.*pip install "outlast\[pandas\]"'):
        Metrics.from_csv(PLAIN).to_pandas()


def test_a_history_leaves_the_comparison_with_other_things_to_them() -> None:
    assert Metrics.from_rows([]).__eq__(1) is NotImplemented


@pytest.mark.parametrize("path", ["history.csv", "runs/a b/history.csv", "x.tsv", Path("history.csv")])
def test_a_path_where_the_text_should_be_is_answered_with_how_to_read_it(path: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        Metrics.from_csv(path)
    assert str(caught.value) == (
        "from_csv takes the text of a CSV file, not its path: "
        f"Metrics.from_csv(Path({str(path)!r}).read_text())."
    )


@pytest.mark.parametrize(("value", "kind"), [(b"epoch,loss\n", "bytes"), (None, "NoneType")])
def test_what_is_no_text_is_refused_by_its_type(value: Any, kind: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Metrics.from_csv(value)
    assert str(caught.value) == f"from_csv takes the text of a CSV file, but got {kind}."


def test_a_history_whose_last_column_looks_like_a_file_is_no_path() -> None:
    assert Metrics.from_csv("epoch,best.csv\n0,1\n")["best.csv"] == [1.0]
