"""The CSV that ``CSVLogger`` writes: its columns, and its rows as bytes.

The header is written with the first row. If a metric appears later, the whole file is written again with
one more column (see ``widened``), so that every row fits the header.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from outlast.core.asking import asked, has
from outlast.core.numbers import as_numpy
from outlast.core.text import no_formula
from outlast.exceptions import ArgumentError

END = "\r\n"
MISSING = "NA"
_IN_NUMBERS = "0123456789.+-einfaNA"  # what is in numbers, and in MISSING


def allow_fields_of(characters: int) -> None:
    """Let Python's csv read an array of very many numbers. Its limit is one for the whole process.

    So it is raised where a file needs that, and never lowered: another thread may be reading.
    """
    if characters > csv.field_size_limit():
        csv.field_size_limit(min(characters, 2**31 - 1))  # a C long has no more on Windows


def cell(value: Any) -> Any:
    """A metric as it is written in the CSV: an array as ``[1.0, 2.0]``, anything else unchanged.

    Example:
        >>> cell([1.0, 2.0]), cell(0.5), cell("x")
        ('[1.0, 2.0]', 0.5, 'x')
    """
    if type(value) is float or isinstance(value, str):
        return value
    if not has(value, "__iter__") or asked(value, "shape") == ():
        return value
    value = as_numpy(value)
    listed = value.tolist() if has(value, "tolist") else value
    return f"[{', '.join(map(str, listed))}]"


def _line_of_numbers(cells: Iterable[Any], separator: str) -> bytes | None:
    r"""The line of cells that need no quotes, as most rows have; None if one might need them.

    It is what Python's csv writes, in a third of its time.

    Example:
        >>> _line_of_numbers([0, 0.5, MISSING], ","), _line_of_numbers([0, "a,b"], ",")
        (b'0,0.5,NA\r\n', None)
    """
    if not _is_plain(separator):
        return None
    texts = []
    for one in cells:
        if type(one) is float or type(one) is int:
            texts.append(repr(one))
        elif one is MISSING:
            texts.append(MISSING)
        else:
            return None
    return (separator.join(texts) + END).encode()


def _is_plain(separator: str) -> bool:
    """Whether it is in no number, and one byte in a file."""
    return separator not in _IN_NUMBERS and separator.isascii()


def _ends_are_ours(content: bytes) -> bool:
    """Whether each line ends as those that we write."""
    ends = content.count(END.encode())
    return content.endswith(END.encode()) and ends == content.count(b"\n") == content.count(b"\r")


@dataclass(frozen=True)
class Table:
    r"""The columns of a history's CSV.

    Args:
        separator: one character.
        columns: the header; empty before the first row.

    Source: Keras's ``CSVLogger``. The columns are the metrics of the first epoch, sorted by name. If
    none of these is a validation metric, each also gets a ``val_`` column, where Keras's names are wanted:
    its file cannot be widened when a validation comes later, ours can.

    Example:
        >>> table = Table(",").with_columns({"loss": 0.5, "val_loss": 0.6})
        >>> table.columns, table.row(0, {"loss": 0.5})
        (('epoch', 'loss', 'val_loss'), b'0,0.5,NA\r\n')
    """

    separator: str
    columns: tuple[str, ...] = ()

    def with_columns(self, names: Iterable[str], as_keras: bool = True) -> Table:
        """The table with columns for these metrics as well; new columns are added at the right.

        Args:
            names: the metrics.
            as_keras: reserve ``val_`` columns for a validation that may come.
        """
        names = sorted({*map(no_formula, names)}.difference(self.columns))
        if self.columns and not names:
            return self
        if as_keras and not self.columns and not any(name.startswith("val_") for name in names):
            names += [f"val_{name}" for name in names]
        columns = self.columns or ("epoch",)
        return replace(self, columns=tuple(dict.fromkeys((*columns, *names))))

    def header(self) -> bytes:
        """The header line."""
        return self._line(self.columns)

    def row(self, epoch: int, metrics: Mapping[str, Any]) -> bytes:
        """The line of one epoch."""
        cells = {no_formula(name): value for name, value in metrics.items()}
        values = [epoch, *[cells.get(name, MISSING) for name in self.columns[1:]]]
        line = _line_of_numbers(values, self.separator)
        return self._line(map(cell, values)) if line is None else line

    def widened(self, content: bytes) -> bytes:
        """The content of a file with fewer columns, with those of this table."""
        rows_of_same_length = self._widened_at_once(content)
        if rows_of_same_length is not None:
            return self.header() + rows_of_same_length
        text = content.decode(errors="surrogateescape")  # somebody may have edited it
        allow_fields_of(max(map(len, text.splitlines()), default=0))
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=self.separator))
        width = len(self.columns)
        return self.header() + self._lines(row + [MISSING] * (width - len(row)) for row in rows[1:] if row)

    def _widened_at_once(self, content: bytes) -> bytes | None:
        """The rows with all cells, if all have as many and none needs quotes, as in most files; else None."""
        separator, end = self.separator.encode(errors="replace"), END.encode()
        if not _is_plain(self.separator) or b'"' in content or not _ends_are_ours(content):
            return None
        header, *rows = content.splitlines()
        separators = {row.count(separator) for row in rows}
        if len(separators) != 1 or 0 in separators:  # without any, a row may be an empty line
            return None
        missing = (separator + MISSING.encode()) * (len(self.columns) - 1 - separators.pop())
        return content[len(header + end) :].replace(end, missing + end)

    def _line(self, cells: Iterable[Any]) -> bytes:
        return self._lines([cells])

    def _lines(self, rows: Iterable[Iterable[Any]]) -> bytes:
        text = io.StringIO()
        csv.writer(text, delimiter=self.separator, lineterminator=END).writerows(rows)
        try:
            return text.getvalue().encode(errors="surrogateescape")  # of a file that somebody has edited
        except UnicodeEncodeError:  # a name holds half of a character
            return text.getvalue().encode(errors="backslashreplace")

    @classmethod
    def found(cls, content: bytes, separator: str, name: str) -> tuple[Table, bytes]:
        """The table of an existing file, and the bytes that complete its last line if a crash cut it.

        Raises:
            ArgumentError: the file is not a history with this separator.
        """
        first, _, _ = content.decode(errors="replace").partition("\n")
        allow_fields_of(len(first))
        columns = tuple(next(csv.reader([first.rstrip("\r")], delimiter=separator), ()))
        if not columns or columns[0] != "epoch":
            raise ArgumentError(
                f"Cannot append to {name}: its first column must be 'epoch' (separator {separator!r}), but "
                f"its first line is {first.strip()[:80]!r}. Use another file, the right separator, or "
                "append=False to overwrite it."
            )
        table = cls(separator, columns)
        last = content.decode(errors="replace").rpartition("\n")[2]
        return table, table._completion(last) if last else b""

    def _completion(self, torn: str) -> bytes:
        """The bytes that make the start of a row a whole row: a quote, missing cells, the line end."""
        if torn.endswith("\r"):
            return b"\n"
        quote = '"' if torn.count('"') % 2 else ""
        allow_fields_of(len(torn) + 1)
        cells = next(csv.reader([torn + quote], delimiter=self.separator))
        empty = MISSING if not cells[-1] else ""
        missing = (self.separator + MISSING) * (len(self.columns) - len(cells))
        return (quote + empty + missing + END).encode()
