"""Nothing that comes from outside can disturb a terminal, and every text fits its room."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.views.text import clipped, escaped, fitted, shown, shown_rate, size, text_width

NAN = math.nan


@given(st.text())
def test_escaped_text_prints_and_nothing_of_it_is_lost(text):
    safe = escaped(text)
    assert safe.isprintable()
    if "\\" not in text and text.isascii():
        assert safe.encode().decode("unicode_escape") == text


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\rb\nc\td\x07", r"a\rb\nc\td\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202eexe", r"\u202eexe"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("line\u2028end", r"line\u2028end"),
        ("\ud800", r"\ud800"),
        ("損失 é ok", "損失 é ok"),
    ],
)
def test_what_moves_the_cursor_or_reorders_text_is_shown_as_an_escape(hostile, safe):
    assert escaped(hostile) == safe


@given(st.text("aé損e\u0301", max_size=20), st.integers(3, 20))
def test_a_clipped_text_takes_no_more_than_its_room(text, room):
    cut = clipped(text, room)
    assert text_width(cut) <= room
    assert cut == text or (cut.endswith("...") and text.startswith(cut[:-3]))


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(0, 100))
def test_fitted_widths_keep_to_the_room_and_take_from_the_widest_alone(widths, room):
    given_widths = fitted(widths, room)
    assert sum(given_widths) <= room or max(given_widths) <= 6
    widest = max(given_widths)
    assert all(new == old or new >= widest - 1 for new, old in zip(given_widths, widths, strict=True))
    if sum(widths) <= room:
        assert given_widths == widths


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.06079005, "0.06079"),
        (1e-5, "1e-5"),
        (-4.5e14, "-4.5e14"),
        (100.0, "100"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (5e-324, "4.941e-324"),
    ],
)
def test_numbers_are_short(value, text):
    assert shown(value) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.01, "0.01"), (0.001, "0.001"), (0.00099999, "1e-3"), (3.125e-4, "3.13e-4"), (0, "0"), (NAN, "nan")],
)
def test_rates_fit_a_margin(rate, text):
    assert shown_rate(rate) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"),
     (9_123_456, "9.1 MB"), (10**15, "1000.0 TB")],
)  # fmt: skip
def test_sizes_are_in_decimal_units(count, text):
    assert size(count) == text
