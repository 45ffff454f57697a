"""The user's script, run in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

from outlast.exceptions import FileError, MissingExtra, UsageError
from outlast.run.rehearsal import Plan

_NOTEBOOK = """
import sys
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

try:
    NotebookClient(nbformat.read(sys.argv[1], as_version=4), timeout=None).execute()
except DeadKernelError:
    sys.exit({killed})
"""
_KILLED = 99  # a notebook's kernel died


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
        if self.path.endswith(".ipynb"):
            _check_nbclient()

    def run(self, plan: Plan) -> bool:
        """Run it; returns whether it was killed as planned.

        Raises:
            UsageError: it failed; the text has the end of what it printed.
        """
        os.makedirs(plan.folder, exist_ok=True)
        log = os.path.join(plan.folder, "output.txt")
        with open(log, "ab") as output:
            ended = subprocess.run(
                self._command(),
                env={**os.environ, **plan.to_environment()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        if plan.what and ended.returncode in (-signal.SIGKILL, _KILLED):
            return True
        if ended.returncode:
            raise UsageError(
                f"{self.path} ended with exit code {ended.returncode}. The end of {log}:\n{_end_of(log)}"
            )
        return False

    def _command(self) -> list[str]:
        if self.path.endswith(".ipynb"):
            return [sys.executable, "-c", _NOTEBOOK.format(killed=_KILLED), self.path]
        return [sys.executable, self.path, *self.arguments]


def _check_nbclient() -> None:
    if importlib.util.find_spec("nbclient") is None:
        raise MissingExtra("nbclient", extra="notebook", purpose="A rehearsal of a notebook")


def _end_of(path: str) -> str:
    with open(path, "rb") as file:
        lines = file.read()[-4000:].decode(errors="replace").splitlines()
    return "\n".join(lines[-12:])
