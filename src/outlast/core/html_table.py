"""A small HTML table for notebooks. Every cell is escaped: names of metrics can hold anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from outlast.core.text import shown

_LONGEST = 60  # characters of a cell


def html_table(rows: Iterable[Sequence[Any]], headers: Sequence[str] = (), caption: str = "") -> str:
    """An HTML table; floats are shown with six digits, None as an empty cell.

    Example:
        >>> html_table([(1, 0.5)], ["epoch", "<loss>"])
        '<table><thead><tr><th>epoch</th><th>&lt;loss&gt;</th></tr></thead><tbody><tr><td>1</td><td>0.5</td></tr></tbody></table>'
    """
    head = f"<thead>{_row(headers, 'th')}</thead>" if headers else ""
    body = "".join(_row(cells, "td") for cells in rows)
    title = f"<caption>{html_text(caption)}</caption>" if caption else ""
    return f"<table>{title}{head}<tbody>{body}</tbody></table>"


def html_text(value: Any) -> str:
    r"""One value as HTML text: shortened, control characters written as escapes, then HTML-escaped.

    Example:
        >>> html_text("<b>\x1b"), html_text(0.123456789), html_text(None)
        ('&lt;b&gt;\\x1b', '0.123457', '')
    """
    text = "" if value is None else shown(value)
    return escape(text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "...")


def _row(cells: Sequence[Any], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{html_text(cell)}</{tag}>' for cell in cells)}</tr>"
