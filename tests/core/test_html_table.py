"""Tables for notebooks: what they hold, and that no name or value gets out of its cell."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from outlast.core.html_table import html_table, html_text
from outlast.core.metrics import Metrics

HOSTILE = [
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    "\" onmouseover='alert(1)",
    "&lt;b&gt;",
    "\x1b[31m\x00",
    "‮evil",
    "a\nb",
]


class Reader(HTMLParser):
    """The tags in their order, and the text of each cell."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert attrs == []
        self.tags.append(tag)
        if tag in ("td", "th", "caption"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        self.cells[-1] += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_stays_text_wherever_it_stands(text: str) -> None:
    found = read(html_table([(text, 1)], ["harmless", text], caption=text))
    harmless = read(html_table([("x", 1)], ["harmless", "x"], caption="x"))
    assert found.tags == harmless.tags
    shown = text.replace("\x1b", "\\x1b").replace("\x00", "\\x00").replace("\n", "\\n")
    shown = shown.replace("‮", "\\u202e")
    assert found.cells == [shown, "harmless", shown, shown, "1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456789, "0.123457"),
        (float("nan"), "nan"),
        (3, "3"),
        (None, ""),
        ((0.5, 1.0), "(0.5, 1.0)"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 57 + "..."),
    ],
)
def test_a_cell_is_short(value: Any, text: str) -> None:
    assert html_text(value) == text


def test_a_text_is_cut_before_it_is_escaped() -> None:
    assert html_text("&" * 61) == "&amp;" * 57 + "..."


def test_a_table_needs_neither_headers_nor_a_caption() -> None:
    assert html_table([("a",)]) == "<table><tbody><tr><td>a</td></tr></tbody></table>"
    assert html_table([]) == "<table><tbody></tbody></table>"


def test_a_history_shows_its_last_ten_rows() -> None:
    few = read(Metrics.from_columns({"loss": [0.5, 0.25]})._repr_html_())
    assert few.cells == ["2 epochs", "epoch", "loss", "0", "0.5", "1", "0.25"]
    ten = read(Metrics.from_columns({"loss": [1.0] * 10})._repr_html_())
    assert (ten.cells[0], ten.cells[3], len(ten.cells)) == ("10 epochs", "0", 23)
    many = read(Metrics.from_columns({"loss": [1.0] * 11})._repr_html_())
    assert (many.cells[0], many.cells[3], len(many.cells)) == ("the last 10 of 11 epochs", "1", 23)


def test_a_history_with_a_missing_metric_and_a_hostile_name_is_a_table_too() -> None:
    rows = [{"epoch": 0, "<b>": "<i>"}, {"epoch": 1, "f1": [0.5, 1]}]
    assert read(Metrics.from_rows(rows)._repr_html_()).cells == [
        *("2 epochs", "epoch", "<b>", "f1"),
        *("0", "<i>", "", "1", "", "(0.5, 1.0)"),
    ]
    assert read(Metrics.from_rows([])._repr_html_()).cells == ["0 epochs", "epoch"]
