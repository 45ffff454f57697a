"""The CSV of a history, byte by byte."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np
import pytest

from outlast.core.csv_rows import Table, cell
from outlast.exceptions import ArgumentError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, 0.5),
        ("text", "text"),
        (None, None),
        (True, True),
        ([1, 2.5], "[1, 2.5]"),
        ((0.5,), "[0.5]"),
        ([], "[]"),
        (np.array([0.5, 1.5], dtype="float32"), "[0.5, 1.5]"),
        (np.array([[1, 2], [3, 4]]), "[[1, 2], [3, 4]]"),
    ],
)
def test_an_array_becomes_one_cell_and_all_else_stays(value: Any, expected: Any) -> None:
    assert cell(value) == expected


def test_an_array_without_axes_is_no_list() -> None:
    assert cell(np.array(0.5)).shape == ()


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["loss"], ("epoch", "loss", "val_loss")),
        (["loss", "acc"], ("epoch", "acc", "loss", "val_acc", "val_loss")),
        (["loss", "learning_rate"], ("epoch", "learning_rate", "loss", "val_learning_rate", "val_loss")),
        (["val_loss", "loss"], ("epoch", "loss", "val_loss")),
        (["loss", "acc", "val_acc"], ("epoch", "acc", "loss", "val_acc")),
        (["loss", "interval_loss"], ("epoch", "interval_loss", "loss", "val_interval_loss", "val_loss")),
        ([], ("epoch",)),
    ],
)
def test_the_first_epochs_metrics_make_the_columns_in_the_order_of_their_names(
    names: list[str], columns: tuple[str, ...]
) -> None:
    assert Table(",").with_columns(names).columns == columns


def test_later_metrics_stand_at_the_right_in_the_order_of_their_names() -> None:
    table = Table(",").with_columns(["loss", "val_loss"]).with_columns(["z", "loss", "a"])
    assert table.columns == ("epoch", "loss", "val_loss", "a", "z")


def test_columns_that_are_there_get_no_fillers_for_a_validation() -> None:
    assert Table(",", ("epoch", "loss")).with_columns(["loss"]).columns == ("epoch", "loss")
    assert Table(",").with_columns([]).with_columns(["loss"]).columns == ("epoch", "loss")


def test_the_separator_is_kept() -> None:
    table = Table(";").with_columns(["loss", "val_loss"])
    assert table.header() == b"epoch;loss;val_loss\r\n"
    assert table.row(3, {"loss": 0.5, "val_loss": "a;b"}) == b'3;0.5;"a;b"\r\n'


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        ({"loss": 0.5, "val_loss": 0.25}, b"7,0.5,0.25\r\n"),
        ({"val_loss": 0.25, "loss": 0.5}, b"7,0.5,0.25\r\n"),
        ({"loss": 0.5}, b"7,0.5,NA\r\n"),
        ({}, b"7,NA,NA\r\n"),
        ({"loss": 0.5, "other": 1.0}, b"7,0.5,NA\r\n"),
        ({"loss": math.nan, "val_loss": -math.inf}, b"7,nan,-inf\r\n"),
        ({"loss": 0.1, "val_loss": 1e-300}, b"7,0.1,1e-300\r\n"),
        ({"loss": None, "val_loss": "[1, 2]"}, b'7,,"[1, 2]"\r\n'),
        ({"loss": 'a "b"', "val_loss": "two\nlines"}, b'7,"a ""b""","two\nlines"\r\n'),
        ({"loss": "Größe", "val_loss": 1}, "7,Größe,1\r\n".encode()),
    ],
)
def test_a_row_has_the_epoch_and_what_came(cells: dict[str, Any], line: bytes) -> None:
    assert Table(",", ("epoch", "loss", "val_loss")).row(7, cells) == line


def test_an_array_reads_back_as_what_str_shows_of_a_list() -> None:
    table = Table(",", ("epoch", "m"))
    line = table.row(0, {"m": cell(np.array([0.5, 2.0]))})
    assert list(csv.reader(io.StringIO(line.decode(), newline=""))) == [["0", "[0.5, 2.0]"]]


def test_an_older_file_gets_the_new_columns_and_loses_no_row() -> None:
    table = Table(",", ("epoch", "loss", "acc", "lr"))
    old = b'epoch,loss\r\n0,0.5\r\n1,"[1, 2]"\r\n\r\n2,0.25,7\r\n'
    assert table.widened(old) == (b'epoch,loss,acc,lr\r\n0,0.5,NA,NA\r\n1,"[1, 2]",NA,NA\r\n2,0.25,7,NA\r\n')


def test_a_cell_of_several_lines_survives_the_widening() -> None:
    table = Table(";", ("epoch", "text", "acc"))
    old = b'epoch;text\r\n0;"two\r\nlines; one ""cell"""\r\n'
    assert table.widened(old) == b'epoch;text;acc\r\n0;"two\r\nlines; one ""cell""";NA\r\n'


def test_a_file_without_rows_is_widened_to_a_header() -> None:
    assert Table(",", ("epoch", "loss")).widened(b"epoch\r\n") == b"epoch,loss\r\n"
    assert Table(",", ("epoch", "loss")).widened(b"") == b"epoch,loss\r\n"


@pytest.mark.parametrize("separator", [*",;\t |:1.eN-", "é"])
def test_every_row_is_what_pythons_csv_writes(separator: str) -> None:
    values = [0.1, -1.5e-9, math.nan, math.inf, 3, True, None, "NA", "x", f"a{separator}b", 'a"b', "\r", ""]
    names = [f"m{number}" for number in range(len(values))]
    for shown in (names, names[:5], names[7:8]):
        text = io.StringIO()
        cells = dict(zip(names, values, strict=True))
        csv.writer(text, delimiter=separator).writerow([7, *(cells[name] for name in shown)])
        assert Table(separator, ("epoch", *shown)).row(7, cells) == text.getvalue().encode()


ROWS = {
    "alike": b"0,0.5\r\n1,nan\r\n",
    "one is short": b"0,0.5\r\n1\r\n",
    "one is long": b"0,0.5,7\r\n1,0.5\r\n",
    "all are long": b"0,0.5,7,8\r\n",
    "an empty line": b"0,0.5\r\n\r\n1,0.5\r\n",
    "an end that is not ours": b"0,0.5\n1,0.5\r\n",
    "another end that is not ours": b"0,0.5\r1,0.5\r\n",
    "a torn end": b"0,0.5\r\n1,0.5",
    "quotes": b'0,"1,\r\n2"\r\n',
    "bytes that are no text": b"0,\xff\r\n",
}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(
    "header", [b"epoch,loss\r\n", b"epoch,loss\n", b'epoch,"lo\r\nss"\r\n', b"epoch\r\n"]
)
def test_a_file_is_widened_row_by_row_or_at_once_to_the_same(header: bytes, rows: str) -> None:
    table, text = Table(",", ("epoch", "loss", "acc")), io.StringIO()
    given = (header + ROWS[rows]).decode(errors="surrogateescape")
    found = [row for row in csv.reader(io.StringIO(given, newline=""))][1:]
    csv.writer(text).writerows(row + ["NA"] * (3 - len(row)) for row in found if row)
    expected = text.getvalue().encode(errors="surrogateescape")
    assert table.widened(header + ROWS[rows]) == table.header() + expected


def test_the_separator_may_be_one_that_numbers_have() -> None:
    table = Table("1", ("epoch", "loss"))
    content = table.header() + table.row(1, {"loss": 1.5})
    assert content == b'epoch1loss\r\n"1"1"1.5"\r\n'
    assert Table("1", ("epoch", "loss", "acc")).widened(content) == b'epoch1loss1acc\r\n"1"1"1.5"1NA\r\n'


@pytest.mark.parametrize(
    ("content", "separator", "columns"),
    [
        (b"epoch,loss\r\n", ",", ("epoch", "loss")),
        (b"epoch,loss\n0,1\n", ",", ("epoch", "loss")),
        (b"epoch;loss\r\n0;1\r\n", ";", ("epoch", "loss")),
        (b'epoch,"a,b"\r\n', ",", ("epoch", "a,b")),
        (b"epoch\r\n", ",", ("epoch",)),
        ("epoch,Größe\r\n".encode(), ",", ("epoch", "Größe")),
    ],
)
def test_the_columns_of_a_file_that_is_there_are_its_header(
    content: bytes, separator: str, columns: tuple[str, ...]
) -> None:
    assert Table.found(content, separator, "h.csv") == (Table(separator, columns), b"")


@pytest.mark.parametrize(
    ("torn", "completion"),
    [
        (b"", b""),
        (b"1", b",NA,NA\r\n"),
        (b"1,", b"NA,NA\r\n"),
        (b"1,0.5", b",NA\r\n"),
        (b"1,0.5,", b"NA\r\n"),
        (b"1,0.5,0.2", b"\r\n"),
        (b"1,0.5,0.25\r", b"\n"),
        (b'1,"[1, 2', b'",NA\r\n'),
        (b'1,"[1, 2]"', b",NA\r\n"),
        (b'1,0.5,"[1, 2]"', b"\r\n"),
        (b'1,"', b'"NA,NA\r\n'),
        (b"1,0.5,0.25,9", b"\r\n"),
        (b"1,\xc3", b",NA\r\n"),
    ],
)
def test_a_torn_last_line_is_completed_to_a_row(torn: bytes, completion: bytes) -> None:
    content = b"epoch,a,b\r\n0,1,2\r\n" + torn
    table, rest = Table.found(content, ",", "h.csv")
    assert rest == completion
    whole = (content + rest).decode(errors="replace")
    rows = list(csv.reader(io.StringIO(whole, newline="")))
    assert whole.endswith("\n")
    assert {len(row) for row in rows} <= {len(table.columns), 4}


@pytest.mark.parametrize(
    ("content", "separator"),
    [
        (b"time,loss\r\n0,1\r\n", ","),
        (b"epoch;loss\r\n0;1\r\n", ","),
        (b"\r\n", ","),
        (b"\n0,1\n", ","),
        (b"\x89PNG\r\n\x1a\n", ","),
        (b'"Epoch",loss\r\n', ","),
    ],
)
def test_a_file_that_is_no_history_is_not_appended_to(content: bytes, separator: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Table.found(content, separator, "runs/h.csv")
    first = content.decode(errors="replace").partition("\n")[0].strip()
    text = str(caught.value)
    assert text.startswith("Cannot append to runs/h.csv: its first column must be 'epoch' (separator ','), ")
    assert f"first line is {first!r}" in text
    assert text.endswith("append=False to overwrite it.")


def test_only_the_begin_of_a_long_first_line_is_shown() -> None:
    with pytest.raises(ArgumentError) as caught:
        Table.found(b"x" * 200 + b"\n", ",", "h.csv")
    assert f"'{'x' * 80}'" in str(caught.value)


def test_a_table_with_arrays_of_very_many_numbers_is_widened():
    table = Table(",", ("epoch", "a"))
    content = table.header() + table.row(0, {"a": cell([0.123456789] * 20_000)})
    wider = Table(",", ("epoch", "a", "late")).widened(content)
    assert wider == content.replace(b"a\r\n", b"a,late\r\n").replace(b']"\r\n', b']",NA\r\n')


def test_a_name_with_half_of_a_character_ends_no_training():
    assert Table(",", ("epoch", "\ud800")).header() == b"epoch,\\ud800\r\n"
