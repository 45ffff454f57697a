"""Text for people: measured and cut to fit, with numbers, sizes and times in a short form."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterable

from outlast.core.text import escaped as escaped

_DOTS = "..."
_UNITS = ("B", "kB", "MB", "GB", "TB")


def terminal_width() -> int | None:
    """The width of the terminal in characters; None if the output goes elsewhere."""
    is_shown = sys.stdout is not None and sys.stdout.isatty()
    return shutil.get_terminal_size().columns if is_shown else None


def text_width(text: str) -> int:
    """The width of a printable text in terminal cells.

    Example:
        >>> text_width("loss"), text_width("損失"), text_width("e\u0301")
        (4, 4, 1)
    """
    return sum(map(_cells, text))


def clipped(text: str, room: int) -> str:
    """The text, cut and ended with dots if it is wider than ``room`` cells (at least 3).

    Example:
        >>> clipped("validation_accuracy", 12)
        'validatio...'
    """
    if text_width(text) <= room:
        return text
    kept, used = "", 0
    for character in text:
        used += _cells(character)
        if used > room - len(_DOTS):
            break
        kept += character
    return kept + _DOTS


def fitted(widths: Iterable[int], room: int, least: int = 6) -> list[int]:
    """Widths that fit into ``room`` together: the widest are reduced first, but not below ``least``.

    Example:
        >>> fitted([4, 20, 30], 40)
        [4, 18, 18]
    """
    given = list(widths)
    while sum(given) > room and max(given) > least:
        given[given.index(max(given))] -= 1
    return given


def ago(seconds: float) -> str:
    """How long ago something was, in one unit.

    Example:
        >>> ago(0.4), ago(61), ago(3 * 3600), ago(400 * 86400)
        ('now', '1 min ago', '3 h ago', '400 days ago')
    """
    for unit, length in (("day", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count = int(seconds // length)
        if count > 0:
            return f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''} ago"
    return "now"


def shown(value: float, digits: int = 4) -> str:
    """A number with ``digits`` significant digits.

    Example:
        >>> shown(0.009999999776482582), shown(0.00001234567), shown(4.2e14), shown(26)
        ('0.01', '1.235e-5', '4.2e14', '26')
    """
    mantissa, e, exponent = f"{value:.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def shown_rate(value: float) -> str:
    """A learning rate in a short form.

    Example:
        >>> shown_rate(0.00125), shown_rate(0.0005), shown_rate(0.0)
        ('0.00125', '5e-4', '0')
    """
    if value == 0 or not abs(value) < 1e-3:
        return shown(value, 3)
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def size(count: int) -> str:
    """A number of bytes in decimal units.

    Example:
        >>> size(999), size(1_234), size(9_100_000)
        ('999 B', '1.2 kB', '9.1 MB')
    """
    amount, unit = float(count), 0
    while amount >= 999.95 and unit < len(_UNITS) - 1:
        amount /= 1000
        unit += 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit else f"{count} B"


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
