"""The CSV of a history: its columns, and each row as bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from outlast.core.text import no_formula
from outlast.exceptions import ArgumentError

END = "\r\n"
MISSING = "NA"


def cell(value: Any) -> Any:
    """A metric as it stands in the CSV: an array as ``[1.0, 2.0]``, all else as it is.

    Example:
        >>> cell([1.0, 2.0]), cell(0.5), cell("x")
        ('[1.0, 2.0]', 0.5, 'x')
    """
    if isinstance(value, str) or not hasattr(value, "__iter__") or getattr(value, "shape", None) == ():
        return value
    plain = value.tolist() if hasattr(value, "tolist") else value
    return f"[{', '.join(map(str, plain))}]"


@dataclass(frozen=True)
class Table:
    r"""The columns of a history's CSV.

    Args:
        separator: one character.
        columns: the header; empty before there is one.

    Source: Keras's ``CSVLogger``: the first epoch's metrics sorted by name; where none of them is
    of a validation, each gets a ``val_`` column too.

    Example:
        >>> table = Table(",").with_columns({"loss": 0.5, "val_loss": 0.6})
        >>> table.columns, table.row(0, {"loss": 0.5})
        (('epoch', 'loss', 'val_loss'), b'0,0.5,NA\r\n')
    """

    separator: str
    columns: tuple[str, ...] = ()

    def with_columns(self, names: Iterable[str]) -> Table:
        """The table with columns for these metrics too; new ones stand at the right."""
        names = sorted(map(no_formula, names))
        if not self.columns and not any(name.startswith("val_") for name in names):
            names += [f"val_{name}" for name in names]
        columns = self.columns or ("epoch",)
        return replace(self, columns=tuple(dict.fromkeys((*columns, *names))))

    def header(self) -> bytes:
        """The first line."""
        return self._line(self.columns)

    def row(self, epoch: int, cells: Mapping[str, Any]) -> bytes:
        """The line of an epoch."""
        safe = {no_formula(name): value for name, value in cells.items()}
        return self._line([epoch, *(safe.get(name, MISSING) for name in self.columns[1:])])

    def widened(self, content: bytes) -> bytes:
        """An older file with the columns of this table."""
        rows = list(csv.reader(io.StringIO(content.decode(), newline=""), delimiter=self.separator))
        width = len(self.columns)
        lines = [self._line(row + [MISSING] * (width - len(row))) for row in rows[1:] if row]
        return self.header() + b"".join(lines)

    def _line(self, cells: Iterable[Any]) -> bytes:
        text = io.StringIO()
        csv.writer(text, delimiter=self.separator, lineterminator=END).writerow(cells)
        return text.getvalue().encode()

    @classmethod
    def found(cls, content: bytes, separator: str, name: str) -> tuple[Table, bytes]:
        """The table of a file that is there, and what completes its last line if that is torn.

        Raises:
            ArgumentError: the file is no history with this separator.
        """
        first, _, _ = content.decode(errors="replace").partition("\n")
        columns = tuple(next(csv.reader([first.rstrip("\r")], delimiter=separator), ()))
        if not columns or columns[0] != "epoch":
            raise ArgumentError(
                f"Cannot append to {name}: its first column must be 'epoch' (separator {separator!r}), but "
                f"its first line is {first.strip()[:80]!r}. Use another file, the file's own separator, or "
                "append=False to begin it anew."
            )
        table = cls(separator, columns)
        last = content.decode(errors="replace").rpartition("\n")[2]
        return table, table._completion(last) if last else b""

    def _completion(self, torn: str) -> bytes:
        """What makes a whole row of a torn one."""
        if torn.endswith("\r"):
            return b"\n"
        quote = '"' if torn.count('"') % 2 else ""
        cells = next(csv.reader([torn + quote], delimiter=self.separator))
        empty = MISSING if not cells[-1] else ""
        missing = (self.separator + MISSING) * (len(self.columns) - len(cells))
        return (quote + empty + missing + END).encode()
