"""Make text from outside, such as the names of metrics, safe to print and to open in a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def escaped(text: str) -> str:
    r"""The text with unprintable characters written as escapes.

    Otherwise the name of a metric or file could move the cursor of a terminal, change its colours, or
    reverse the text that a person reads.

    Example:
        >>> print(escaped("loss\x1b[31m\u202e"))
        loss\x1b[31m\u202e
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: Any) -> str:
    """A value in a sentence or a table: a float with six digits, anything else as its escaped text.

    Example:
        >>> shown(0.123456789), shown(12)
        ('0.123457', '12')
    """
    return f"{value:.6g}" if isinstance(value, float) else escaped(str(value))


def few(names: Iterable[str], most: int = 30, between: str = ", ") -> str:
    """The names in a message, the first of them if they are many.

    Example:
        >>> few(["loss", "accuracy", "auc", "f1"], 2), few(["loss", "auc"], 2)
        ('loss, accuracy and 2 more', 'loss, auc')
    """
    listed = list(names)
    more = len(listed) - most
    return between.join(listed[:most]) + (f" and {more:,} more" if more > 0 else "")


def printable(text: str) -> str:
    r"""The same for a text with several lines.

    Example:
        >>> printable("\nEpoch 1: \x1b[2Jloss")
        '\nEpoch 1: \\x1b[2Jloss'
    """
    return "\n".join(map(escaped, text.split("\n")))


@lru_cache(maxsize=1024)  # names of metrics come in every row
def no_formula(text: str) -> str:
    """The text with an apostrophe in front if a spreadsheet would run it as a formula.

    Example:
        >>> no_formula("=1+1"), no_formula("val_loss")
        ("'=1+1", 'val_loss')
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def with_formula(cell: str) -> str:
    """The inverse of :func:`no_formula`.

    Example:
        >>> with_formula("'=1+1"), with_formula("'quoted'")
        ('=1+1', "'quoted'")
    """
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell
