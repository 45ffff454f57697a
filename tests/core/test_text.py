"""Names from metrics are harmless wherever they are shown or written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.csv_rows import Table
from outlast.core.text import escaped, no_formula, printable, with_formula


@given(st.text())
def test_an_escaped_text_prints_and_nothing_else(text: str) -> None:
    assert escaped(text).isprintable()
    if text.isprintable():
        assert escaped(text) == text


def test_lines_stay_lines() -> None:
    assert printable("a\n\x1b[2Jb\r") == "a\n\\x1b[2Jb\\r"


@given(st.text())
def test_a_cell_that_is_no_formula_reads_back(text: str) -> None:
    assert with_formula(no_formula(text)) == text
    assert not no_formula(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("name", ["=cmd()", "+1", "-1", "@x", "\tx"])
def test_a_metric_named_like_a_formula_is_a_plain_cell_of_the_header(name: str) -> None:
    table = Table(",").with_columns({name: 1.0, "val_loss": 2.0})
    assert f"'{name}" in table.columns
    assert table.row(0, {name: 1.0, "val_loss": 2.0}) in (b"0,1.0,2.0\r\n", b"0,2.0,1.0\r\n")
