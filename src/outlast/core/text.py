"""Text from metrics' names, made safe for those who read it."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def escaped(text: str) -> str:
    r"""The text with everything that does not print written as an escape.

    A metric's or a file's name can then move no cursor, change no colour and reorder
    nothing that a person reads.

    Example:
        >>> print(escaped("loss\x1b[31m\u202e"))
        loss\x1b[31m\u202e
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable(text: str) -> str:
    r"""The same for a text of several lines.

    Example:
        >>> printable("\nEpoch 1: \x1b[2Jloss")
        '\nEpoch 1: \\x1b[2Jloss'
    """
    return "\n".join(map(escaped, text.split("\n")))


def no_formula(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe before what would begin one.

    Example:
        >>> no_formula("=1+1"), no_formula("val_loss")
        ("'=1+1", 'val_loss')
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def with_formula(cell: str) -> str:
    """The text of which :func:`no_formula` made the cell.

    Example:
        >>> with_formula("'=1+1"), with_formula("'quoted'")
        ('=1+1', "'quoted'")
    """
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell
