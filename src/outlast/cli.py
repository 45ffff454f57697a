"""The command line: parses, calls what does the work, and turns errors into one line.

docs/command-line.md has what is stable: the exit codes and the shapes of ``--json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from outlast import __version__, demo
from outlast.exceptions import OutlastError
from outlast.inspect.details import details
from outlast.inspect.finding import LEVELS, find
from outlast.inspect.status import Standing, Status
from outlast.inspect.verification import verify
from outlast.storage.journal import plain
from outlast.views.runs import overview, page, verdict
from outlast.views.text import escaped

DONE, DAMAGED, BAD_INPUT, NO_RUN, OTHER_FORMAT = range(5)
INTERRUPTED, NOBODY_READS = 130, 141

CODES = (
    "exit codes: 0 done; 1 a check does not hold, or a run is damaged; 2 cannot work as asked; "
    "3 there is no run; 4 the run has a newer or older format; 130 interrupted (Ctrl-C)"
)

# The code for each status of a run that is not shown for what it is; the worst come first.
_CODES = {
    Status.DAMAGED: DAMAGED,
    Status.UNREADABLE: BAD_INPUT,
    Status.NEWER: OTHER_FORMAT,
    Status.OLDER: OTHER_FORMAT,
    Status.NO_RUN: NO_RUN,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after ``outlast``; those of this process, if left out.

    Returns:
        The exit code.
    """
    asked = _parser().parse_args(arguments)
    try:
        code: int = asked.command(asked)
        return code
    except OutlastError as error:
        _complain(str(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        print("outlast: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # as in `outlast demo | head`: the reader has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS


def _demo(asked: argparse.Namespace) -> int:
    if asked.crash:
        return demo.crash(asked.folder, seed=asked.seed, epochs=asked.epochs, as_json=asked.json)
    return demo.run(asked.folder, seed=asked.seed, epochs=asked.epochs, as_json=asked.json)


def _ls(asked: argparse.Namespace) -> int:
    found = find(asked.folder)
    if asked.json:
        runs = [run.to_json() for run in found.runs]
        _say_json({"folder": asked.folder, "runs": runs, "unread": found.unread})
    elif found.runs:
        _say(overview(found.runs, asked.folder, now=time.time(), width=_width()))
    else:
        _say(f"There are no runs in {escaped(asked.folder)}, nor in folders up to {LEVELS} levels below it.")
    for path, reason in found.unread.items():
        _complain(f"Cannot look for runs in {path}: {reason}.")
    return DONE


def _show(asked: argparse.Namespace) -> int:
    found = details(asked.run)
    if asked.json:
        _say_json(found.to_json())
    elif not _refused(found.standing):
        _say(page(found, now=time.time(), width=_width(), everything=asked.all))
    return _code([found.standing])


def _verify(asked: argparse.Namespace) -> int:
    found = []
    for folder in asked.runs:
        found.append(verify(folder))
        if not asked.json and not _refused(found[-1].standing):
            _say(verdict(found[-1]))
    if asked.json:
        runs = [run.to_json() for run in found]
        _say_json({"holds": all(run["holds"] for run in runs), "runs": runs})
    return _code([one.standing for one in found])


def _refused(run: Standing) -> bool:
    """Whether there is nothing to show, but why."""
    refused = run.status in (Status.NO_RUN, Status.NEWER, Status.OLDER, Status.UNREADABLE)
    if refused:
        _complain(run.problem)
    return refused


def _code(runs: Iterable[Standing]) -> int:
    """The exit code: that of the run that is worst off."""
    found = {run.status for run in runs}
    return next((code for status, code in _CODES.items() if status in found), DONE)


def _say(text: str) -> None:
    """Print now, to a pipe too; what the terminal's encoding lacks is written as an escape."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _say_json(value: Mapping[str, Any]) -> None:
    print(json.dumps(plain(value), indent=2, allow_nan=False))


def _complain(text: str) -> None:
    print(f"outlast: {escaped(text)}", file=sys.stderr)


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="outlast", description="Training callbacks that lose nothing.", epilog=CODES
    )
    parser.add_argument("--version", action="version", version=f"outlast {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_runs(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "train the digits for real, with all four callbacks, and show what they did"
    command = _add(commands, "demo", text, _demo)
    command.add_argument(
        "--folder", type=_path, default=demo.FOLDER, help="where its files go (default: %(default)s)"
    )
    command.add_argument(
        "--crash",
        action="store_true",
        help="kill the training in the middle of a save, start it again, prove that nothing was lost",
    )
    command.add_argument(
        "--seed", type=_whole, default=demo.SEED, help="another seed, another training (default: %(default)s)"
    )
    command.add_argument(
        "--epochs", type=_positive, default=demo.EPOCHS, help="at most so many (default: %(default)s)"
    )


def _add_runs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = f"a table of the runs in a folder and up to {LEVELS} levels below it"
    ls = _add(commands, "ls", text, _ls)
    ls.add_argument("folder", metavar="DIR", nargs="?", type=_path, default=".", help="default: %(default)s")
    text = "one run: how it stands, settings, decisions with their reasons, files, what a resume would take"
    show = _add(commands, "show", text, _show)
    show.add_argument("run", metavar="RUN", type=_path, help="the run's folder")
    show.add_argument("--all", action="store_true", help="all decisions and events, not only the last")
    text = "check every checksum of runs, and say what a resume would take and lose; nothing is changed"
    command = _add(commands, "verify", text, _verify)
    command.add_argument("runs", metavar="RUN", nargs="+", type=_path, help="a run's folder")


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    work: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text, epilog=CODES)
    command.set_defaults(command=work)
    command.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    return command


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must be a path, but is empty")
    return text


def _whole(text: str, least: int = 0) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least {least}, but is {text!r}")
    return int(text)


def _positive(text: str) -> int:
    return _whole(text, least=1)
