"""CSVLogger: write one row for each epoch, to a file that is never half written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.csv_rows import Table
from outlast.core.logs import Logs
from outlast.core.text import few
from outlast.exceptions import ArgumentError, UsageError, warn


class CSVLogger(Callback):
    r"""Write the metrics of every epoch to a CSV file.

    The columns are ``epoch`` (counted from 0), then the metrics, sorted by name. A metric that appears
    later gets a column at the right. A missing value is ``NA``.

    Args:
        filename: the file. Inside a ``Run`` you can leave it out: it is then ``history.csv``.
        separator: one character.
        append: append to an existing file instead of overwriting it.

    Raises:
        UnknownArgument, ArgumentError: at once, if an argument cannot work.
        FileError: before the first batch, if the file cannot be written.
        ArgumentError: before the first batch, if the file to append to is not a history of epochs.

    Source: the file format and defaults of ``keras.callbacks.CSVLogger``, except that later metrics are
    kept, that an array is written as ``[1.0, 2.0]``, and that in a ``Run`` or a ``CallbackList`` no empty
    ``val_`` columns are written for a training without validation.

    Example:
        >>> from outlast.testing import MemoryOutput, drive
        >>> output = MemoryOutput()
        >>> _ = drive(CSVLogger("history.csv"), [{"loss": 1.0}, {"loss": 0.5}], output=output)
        >>> output.files["history.csv"]
        b'epoch,loss\r\n0,1.0\r\n1,0.5\r\n'
    """

    keeps_history = True

    def __init__(
        self, filename: str | os.PathLike[str] | None = None, separator: str = ",", append: bool = False
    ) -> None:
        if not isinstance(separator, str) or len(separator) != 1 or separator in '\r\n"':
            raise ArgumentError(f"separator must be one character, such as ',', but is {separator!r}.")
        self.sep = separator
        self.filename = None if filename is None else os.fspath(filename)
        if self.filename is not None and "\0" in self.filename:
            raise ArgumentError(f"The file name {self.filename!r} has a NUL character.")
        self.append = append
        self._table = Table(separator)
        self._name = ""  # in use
        self._older = False  # the file has rows of an earlier training only

    @property
    def keys(self) -> list[str] | None:
        """The columns of metrics; None before the first row."""
        return list(self._table.columns[1:]) or None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start the file, or read the header of the file to append to."""
        fresh = self._begin()
        self._name = self.filename or self.context.output.named("history.csv") or ""
        if not self._name:
            raise UsageError("CSVLogger needs a filename outside a Run, such as CSVLogger('history.csv').")
        self.context.output.prepare(self._name)
        self._files = [self._name.replace("{", "{{").replace("}", "}}")]  # it is no template
        if fresh:
            self._open()

    def _open(self) -> None:
        output = self.context.output
        content = output.read(self._name) if self.append else None
        self._table, self._older = Table(self.sep), bool(content)
        if content:
            self._table, completion = Table.found(content, self.sep, self._name)
            if completion:
                output.append(self._name, completion)
        elif not self.append:
            output.replace(self._name, b"")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the epoch's row; if there are new metrics, first add their columns to the file."""
        logs = logs or {}
        before = self._table
        table = before.with_columns(logs, as_keras=not self.context.logs_are_complete)
        if before.columns and table.columns != before.columns:
            self._widen(before, table)
        header = b"" if before.columns else table.header()
        row = table.row(epoch, logs)
        self.context.output.append(self._name, header + row)
        self._table, self._older = table, False

    def _widen(self, before: Table, table: Table) -> None:
        if self._older:
            new = [name for name in table.columns if name not in before.columns]
            warn(
                f"{self._name} has the columns {few(before.columns)}; this training adds "
                f"{few(new)}, which are NA in the earlier rows."
            )
        content = self.context.output.read(self._name) or b""
        self.context.output.replace(self._name, table.widened(content))

    def forget(self) -> None:
        """Forget the columns."""
        self._table = Table(self.sep)
        self._loaded = False

    def configuration(self) -> dict[str, Any]:
        """The settings, as JSON values."""
        return {"filename": self.filename, "separator": self.sep, "append": self.append}

    def state_dict(self) -> dict[str, Any]:
        """The columns, in their order."""
        return {"columns": list(self._table.columns)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the columns of another CSVLogger."""
        self._table = Table(self.sep, tuple(self._checked(state, {"columns": [str]})["columns"]))
        self._loaded = True
