"""The user's script, run in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from outlast.exceptions import FileError, MissingExtra, UsageError
from outlast.rehearse.mirror import Mirror
from outlast.run.rehearsal import Plan

OUTPUT = "output.txt"  # in a try's folder: what the script printed

_NOTEBOOK = """
import sys
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

try:
    NotebookClient(nbformat.read(sys.argv[1], as_version=4), timeout=None).execute()
except DeadKernelError:
    print("The notebook's kernel was killed.")
    sys.exit({killed})
except CellExecutionError as error:
    print(error)
    sys.exit(1)
"""
_KILLED = 99  # a notebook's kernel died
_TERMINAL_CODE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_LINES = 20  # of what a script that failed printed


class ScriptFailed(UsageError):
    """A script ended with an error.

    Args:
        message: one line.
        output: the last lines of what it printed, without terminal codes.
        hint: the likely way out; "" if none is known.
        folder: that of the try, which has all that it printed.
    """

    def __init__(self, message: str, output: Sequence[str], hint: str, folder: str) -> None:
        super().__init__(message)
        self.output, self.hint, self.folder = tuple(output), hint, folder


@dataclass(frozen=True)
class Script:
    """A script or a notebook.

    Args:
        path: its file.
        arguments: what follows on the command line.
    """

    path: str
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not os.path.isfile(self.path):
            raise FileError(f"There is no script {self.path}.", path=self.path)
        if self.is_notebook:
            if self.arguments:
                raise UsageError(
                    f"A notebook takes no arguments, but {' '.join(self.arguments)} follows {self.path}. "
                    "Options of outlast come before it: outlast rehearse --kills 9 notebook.ipynb"
                )
            _check_nbclient()

    @property
    def is_notebook(self) -> bool:
        """Whether it is one."""
        return self.path.endswith(".ipynb")

    @property
    def place(self) -> str:
        """Its real path, but for the last name: modules beside a link are not beside its target."""
        folder, name = os.path.split(self.path)
        return os.path.join(os.path.realpath(folder), name)

    def run(self, plan: Plan, mirror: Mirror, when: str = "") -> bool:
        """Run it in the mirror; returns whether it was killed as planned.

        Args:
            plan: what its Runs do.
            mirror: where it finds its files.
            when: which start this is, for the text of an error.

        Raises:
            ScriptFailed: it ended with an error.
        """
        log, folder = os.path.join(plan.folder, OUTPUT), mirror.inside(os.path.realpath("."))
        with open(log, "ab") as output:
            ended = subprocess.run(
                self._command(folder, mirror),
                cwd=folder,
                env={**os.environ, "PWD": folder, **plan.to_environment()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if plan.what and ended.returncode in (-signal.SIGKILL, _KILLED):
            return True
        if ended.returncode:
            raise self._failure(ended.returncode, plan.folder, mirror, when)
        return False

    def _command(self, folder: str, mirror: Mirror) -> list[str]:
        path = os.path.relpath(mirror.inside(self.place), folder)
        if self.is_notebook:
            return [sys.executable, "-c", _NOTEBOOK.format(killed=_KILLED), path]
        return [sys.executable, path, *self.arguments]

    def _failure(self, code: int, folder: str, mirror: Mirror, when: str) -> ScriptFailed:
        log = os.path.join(folder, OUTPUT)
        printed = _end_of(log)
        ended = (
            f"ended with exit code {code}"
            if code > 0
            else f"was ended by signal {-code} ({signal.strsignal(-code)})"
        )
        end = f"All that it printed is in {log}, and ends with:" if any(printed) else "It printed nothing."
        return ScriptFailed(
            f"{self.path} {ended}{when}. {end}",
            [line.replace(mirror.root, "") for line in printed if any(printed)],
            self._hint(code, printed),
            folder,
        )

    def _hint(self, code: int, printed: Sequence[str]) -> str:
        if printed and printed[-1].startswith("EOFError"):
            return f"{self.path} reads from its input, which is empty in a rehearsal."
        if code == 2 and any(line.startswith("usage:") for line in printed):
            return f"Arguments of the script come after it: outlast rehearse {self.path} --lr 0.1"
        return ""


def _check_nbclient() -> None:
    if importlib.util.find_spec("nbclient") is None:
        raise MissingExtra("nbclient", extra="notebook", purpose="A rehearsal of a notebook")


def _end_of(path: str) -> list[str]:
    with open(path, "rb") as file:
        text = file.read()[-20_000:].decode(errors="replace")
    return [as_seen(line) for line in text.rstrip().split("\n")][-_LINES:]


def as_seen(line: str) -> str:
    r"""A line as a terminal shows it: without its codes, and with what a progress bar wrote last.

    Example:
        >>> as_seen("\x1b[31mValueError\x1b[0m: of mine"), as_seen("1/3\r2/3\r3/3\r")
        ('ValueError: of mine', '3/3')
    """
    return _TERMINAL_CODE.sub("", line).rstrip().rpartition("\r")[2]
