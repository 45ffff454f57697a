"""Metrics: the history of one training, as rows and columns.

It takes text and values, and never opens a file. The CSV has the format of Keras's ``CSVLogger``:
``epoch`` is the first column, a missing metric is ``NA``, an array is ``"[a, b]"``.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from outlast.core.asking import has
from outlast.core.csv_rows import allow_fields_of
from outlast.core.html_table import html_table
from outlast.core.numbers import number
from outlast.core.text import few, with_formula
from outlast.exceptions import ArgumentError, MetricError, MissingExtra, nearest

Cell = float | str | tuple[float, ...] | None

_SHOWN = 10  # rows in a notebook
_LONGEST_NUMBER = 131_072  # characters; an array can have more
_MISSING = {"", "NA"}  # csv writes None as nothing
_PATH = re.compile(r"[^\r\n]+\.(csv|tsv|txt)")
_WHOLE_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)")
_HEADER = re.compile(r'("?)epoch\1([^"\r\n]?)')  # quoted where the separator is one of its letters


class Metrics(Mapping[str, list[float]]):
    r"""The history of one training: a mapping from a metric's name to its values.

    Make one with :meth:`from_csv`, :meth:`from_rows` or :meth:`from_columns`. It never changes: lists
    that it returns are copies. In a notebook it shows its last rows as a table. An epoch can have several
    rows, if Keras resumed an interrupted training into the same file: all are kept, in order.

    Example:
        >>> metrics = Metrics.from_csv("epoch,loss,val_loss\r\n0,0.5,NA\r\n1,0.25,0.75\r\n")
        >>> metrics["val_loss"], metrics.epochs, metrics.columns
        ([nan, 0.75], (0, 1), ('loss', 'val_loss'))
        >>> metrics.rows[0]
        {'epoch': 0, 'loss': 0.5, 'val_loss': None}
    """

    __slots__ = ("_cells", "_epochs")

    def __init__(self, epochs: Iterable[int], cells: Mapping[str, Iterable[Cell]]) -> None:
        self._epochs = tuple(epochs)
        self._cells = {name: tuple(column) for name, column in cells.items()}

    @classmethod
    def from_csv(cls, text: str) -> Metrics:
        """Read what a CSVLogger wrote, Keras's or ours.

        Args:
            text: the content of the file, as in ``Path("history.csv").read_text()``. Any separator of
                one character is recognised from the header. A last line without a line end was cut by
                a crash and is left out; an empty text has no rows.

        Raises:
            ArgumentError: the text is not such a CSV; the message names the line.
        """
        _check_is_text(text)
        lines = _WHOLE_LINE.findall(text.removeprefix("\ufeff"))
        records = _records(lines, _separator(next(filter(str.strip, lines), text)))
        header = [with_formula(name) for name in next((fields for _, fields in records), [])]
        rows = [_row(header, line, fields) for line, fields in records]
        columns = dict.fromkeys(header[1:])
        return cls((row["epoch"] for row in rows), {name: [row[name] for row in rows] for name in columns})

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> Metrics:
        """Take one mapping for each epoch, with its ``"epoch"`` (counted from 0) and its metrics.

        Args:
            rows: mappings from names to numbers, arrays (of any framework) or texts. The names can
                differ from row to row.

        Raises:
            ArgumentError: a row has no epoch.
            MetricError: a value is not a number, an array or a text.

        Example:
            >>> Metrics.from_rows([{"epoch": 0, "loss": 1}, {"epoch": 1, "f1": [0.5, 1]}]).rows[1]
            {'epoch': 1, 'loss': None, 'f1': (0.5, 1.0)}
        """
        rows = list(rows)
        columns = dict.fromkeys(name for row in rows for name in row if name != "epoch")
        return cls(
            (_epoch(row.get("epoch"), f"row {index}") for index, row in enumerate(rows)),
            {name: [_cell(row.get(name), name) for row in rows] for name in columns},
        )

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, Sequence[Any]], epochs: Sequence[int] | None = None
    ) -> Metrics:
        """Take one list for each metric, as in the ``history`` of Keras's ``History``.

        Args:
            columns: lists of numbers. A shorter list is taken to be from every second (third, ...)
                epoch, as ``validation_freq`` gives; an empty one is a metric that was never logged.
            epochs: the epochs of the rows, counted from 0. Without it, ``columns["epoch"]`` if it is
                there, else 0, 1, 2 and so on.

        Raises:
            ArgumentError: a value is not a list, or it is unclear which epochs its numbers belong to.

        Example:
            >>> Metrics.from_columns({"loss": [3, 2, 1, 0], "val_loss": [4, 3]})["val_loss"]
            [nan, 4.0, nan, 3.0]
        """
        for name, column in columns.items():
            if not has(column, "__len__"):
                raise ArgumentError(
                    f"{name} must be a list with one value for each epoch, but is {column!r}."
                )
        if epochs is None:
            longest = max(map(len, columns.values()), default=0)
            epochs = columns.get("epoch", range(longest))
        length = len(epochs)
        spread = {name: _spread(c, length, name) for name, c in columns.items() if name != "epoch"}
        return cls.from_rows(
            {"epoch": epoch, **{name: column[index] for name, column in spread.items()}}
            for index, epoch in enumerate(epochs)
        )

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epoch of each row, counted from 0."""
        return self._epochs

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the metrics, in the order of the file's columns."""
        return tuple(self._cells)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One dict for each row: ``"epoch"`` (int), then each metric.

        A metric is a float, a text, a tuple of floats, or None if it is missing.
        """
        names = ("epoch", *self._cells)
        columns = (self._epochs, *self._cells.values())
        return [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]

    def points(self, name: str) -> list[tuple[int, float]]:
        """The epoch and the value of each row in which the metric is a number (NaN is one).

        Example:
            >>> Metrics.from_columns({"loss": [3, 2, 1, 0], "val_loss": [4, 3]}).points("val_loss")
            [(1, 4.0), (3, 3.0)]
        """
        pairs = zip(self._epochs, self._column(name), strict=True)
        return [(epoch, cell) for epoch, cell in pairs if isinstance(cell, float)]

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``, with ``epoch`` as its first column.

        Raises:
            MissingExtra: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtra("pandas", extra="pandas", purpose="Metrics.to_pandas()") from error
        columns = {
            name: self[name] if all(cell is None or isinstance(cell, float) for cell in cells) else cells
            for name, cells in self._cells.items()
        }
        return pandas.DataFrame({"epoch": self._epochs, **columns})

    def __getitem__(self, name: str) -> list[float]:
        """The metric's value in each row; NaN where it is missing or not a single number."""
        return [cell if isinstance(cell, float) else math.nan for cell in self._column(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells)

    def __len__(self) -> int:
        return len(self._cells)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Metrics):
            return NotImplemented
        return self._epochs == other._epochs and self._cells == other._cells

    def __repr__(self) -> str:
        return f"<Metrics: {len(self._epochs)} rows of {few(('epoch', *self._cells))}>"

    def _repr_html_(self) -> str:
        """The last rows as a table, for notebooks. Epochs are counted from 0, as in the file."""
        count = len(self._epochs)
        last = [list(row.values()) for row in self.rows[-_SHOWN:]]
        caption = f"{count} epochs" if count <= _SHOWN else f"the last {_SHOWN} of {count} epochs"
        return html_table(last, ("epoch", *self._cells), caption)

    def _column(self, name: str) -> tuple[Cell, ...]:
        try:
            return self._cells[name]
        except KeyError:
            known = few(self._cells) or "none"
            hint = nearest(str(name), self._cells)
            raise KeyError(f"no metric {name!r}; available metrics: {known}.{hint}") from None


def _check_is_text(text: Any) -> None:
    """Refuse the path of a file, which is what people pass first."""
    is_path = hasattr(text, "__fspath__") or (isinstance(text, str) and _PATH.fullmatch(text))
    if is_path:
        raise ArgumentError(
            "from_csv takes the text of a CSV file, not its path: "
            f"Metrics.from_csv(Path({str(text)!r}).read_text())."
        )
    if not isinstance(text, str):
        raise ArgumentError(f"from_csv takes the text of a CSV file, but got {type(text).__name__}.")


def _separator(header: str) -> str:
    found = _HEADER.match(header)
    if found is None and not "epoch".startswith(header):  # a crash can cut the header, too
        raise ArgumentError(
            "A history must start with a header whose first column is 'epoch', but this text starts "
            f"with {header.strip()[:60]!r}. Pass the content of a file that a CSVLogger wrote."
        )
    return (found and found[2]) or ","


def _records(lines: list[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Each line's number and fields, without empty lines (Keras writes those on Windows)."""
    allow_fields_of(max(map(len, lines), default=0))
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        for fields in reader:
            if any(len(field) > _LONGEST_NUMBER and not field.startswith("[") for field in fields):
                raise csv.Error("a field is too long for a number")
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        raise ArgumentError(f"Line {reader.line_num} is not CSV: {error}.") from error


def _row(header: list[str], line: int, fields: list[str]) -> dict[str, Any]:
    if len(fields) != len(header):
        raise ArgumentError(
            f"Line {line} has {len(fields)} fields where the header has {len(header)} "
            f"({few(header)}): perhaps a training with other metrics was appended. "
            "Split the file there, and give each part its own header."
        )
    cells = {name: _parsed(text) for name, text in zip(header, fields, strict=True)}
    return {**cells, "epoch": _epoch(fields[0], f"line {line}")}


def _epoch(value: Any, place: str) -> int:
    try:
        epoch = float(value)
    except (TypeError, ValueError):
        epoch = math.nan
    if not epoch.is_integer():
        raise ArgumentError(f"epoch must be a whole number, but in {place} it is {value!r}.")
    return int(epoch)


def _cell(value: Any, name: str) -> Cell:
    if value is None or isinstance(value, str):
        return _parsed(value or "")
    try:
        return _one_nan(number(value, name))
    except MetricError:
        if not isinstance(value, Iterable):
            raise
    return _array(value, name)


def _array(value: Iterable[Any], name: str) -> Cell:
    """The numbers of an array with one axis; for more axes, the text that the CSV would have."""
    items = list(value)
    try:
        return _unwrapped(number(item, name) for item in items)
    except MetricError:
        return f"[{', '.join(map(str, items))}]"


def _parsed(text: str) -> Cell:
    """The number or array that a field holds; else its text."""
    if text in _MISSING:
        return None
    try:
        inner = text.strip('"')  # Keras puts arrays into quotes
        if not (inner.startswith("[") and inner.endswith("]")):
            return _one_nan(float(text))
        return _unwrapped(float(item) for item in inner[1:-1].split(",") if item.strip())
    except ValueError:
        return text


def _unwrapped(numbers: Iterable[float]) -> float | tuple[float, ...]:
    """The numbers as a tuple; a single one as itself, because an array of one element is a number."""
    items = tuple(map(_one_nan, numbers))
    return items[0] if len(items) == 1 else items


def _one_nan(value: float) -> float:
    """Use one NaN object for all: tuples compare equal where both hold the same object."""
    return math.nan if math.isnan(value) else value


def _spread(values: Sequence[Any], length: int, name: str) -> list[Any]:
    """Spread a short column over the epochs in which ``validation_freq`` validated."""
    column: list[Any] = [None] * length
    if not len(values):
        return column
    every = [step for step in range(length, 0, -1) if length // step == len(values)]
    if len(every) != 1:
        raise ArgumentError(
            f"{name} has {len(values)} values for {length} epochs, and it is unclear which epochs "
            "they belong to. Use the CSV, or Metrics.from_rows."
        )
    column[every[0] - 1 :: every[0]] = values
    return column
