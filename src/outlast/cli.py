"""The command line: parses arguments, calls the code that does the work, prints errors as one line.

The exit codes and the keys of ``--json`` are stable; docs/command-line.md lists them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from outlast import __version__, demo
from outlast.core.numbers import encoded
from outlast.exceptions import OutlastError, nearest
from outlast.inspect.details import details
from outlast.inspect.finding import find
from outlast.inspect.folders import LEVELS
from outlast.inspect.status import RunStatus, Status
from outlast.inspect.verification import verify
from outlast.views.printing import complain, discard_output, say, take_failure
from outlast.views.runs import overview, page, verdict
from outlast.views.table import table
from outlast.views.text import escaped, terminal_width

if TYPE_CHECKING:
    from outlast.rehearse import Rehearsed, Row

DONE, DAMAGED, BAD_INPUT, NO_RUN, OTHER_FORMAT = range(5)
INTERRUPTED, NO_READER = 130, 141

REHEARSE_OPTIONS = ("--kills", "--epochs", "--seed", "--keep", "--json")

CODES = (
    "exit codes: 0 done; 1 a check does not hold, or a run is damaged; 2 cannot work as asked; "
    "3 there is no run; 4 the run has a newer or older format; 130 interrupted (Ctrl-C)"
)

# The exit code for each status that is not a success; the worst comes first.
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
        arguments: the words after ``outlast``; without it, those of this process.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    take_failure()  # of an earlier call
    try:
        code: int = options.command(options)
        unwritten = take_failure()
        if unwritten is None:
            return code
        _complain(f"The output could not be written: {unwritten.strerror}.")
        return code or BAD_INPUT
    except OutlastError as error:
        _complain(str(error))
        return BAD_INPUT
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # as in `outlast demo | head`, when head has ended
        discard_output()
        return NO_READER


def _demo(options: argparse.Namespace) -> int:
    from outlast.demo import showing  # it imports all that trains, which no other command needs

    show = showing.crash if options.crash else showing.run
    return show(options.folder, seed=options.seed, epochs=options.epochs, as_json=options.json)


def _ls(options: argparse.Namespace) -> int:
    runs, unread = find(options.folder)
    if options.json:
        _say_json({"folder": options.folder, "runs": [run.to_json() for run in runs], "unread": unread})
    elif runs:
        say(overview(runs, options.folder, now=time.time(), width=terminal_width()))
    else:
        say(f"There are no runs in {escaped(options.folder)}, nor in folders up to {LEVELS} levels below it.")
    for path, reason in unread.items():
        _complain(f"Cannot look for runs in {path}: {reason}.")
    return DONE


def _show(options: argparse.Namespace) -> int:
    found = [details(folder) for folder in options.runs]
    if options.json:
        objects = [run.to_json() for run in found]
        _say_json(objects[0] if len(objects) == 1 else {"runs": objects})
    elif shown := [run for run in found if not _refused(run.run)]:
        now, width = time.time(), terminal_width()
        pages = [page(run, now=now, width=width, everything=options.all) for run in shown]
        say("\n\n\n".join(pages))
    return _code(run.run for run in found)


def _verify(options: argparse.Namespace) -> int:
    found = []
    for folder in options.runs:
        found.append(verify(folder))
        if not options.json and not _refused(found[-1].run):
            say(verdict(found[-1]))
    if options.json:
        runs = [run.to_json() for run in found]
        _say_json({"holds": all(run["holds"] for run in runs), "runs": runs})
    return _code(one.run for one in found)


def _rehearse(options: argparse.Namespace) -> int:
    from outlast.rehearse import rehearse
    from outlast.rehearse.script import ScriptFailed

    _hint_at_options_of_ours(options)
    try:
        found = rehearse(
            options.script,
            options.arguments,
            kills=options.kills,
            epochs=options.epochs,
            seed=options.seed,
            keep=options.keep,
            say=_complain,
        )
    except ScriptFailed as error:
        _complain(str(error))
        for line in error.output:
            complain(f"  {escaped(line)}")
        if error.hint:
            _complain(error.hint)
        return BAD_INPUT
    if options.json:
        _say_json(_rehearsed_json(found))
    else:
        _say_rehearsed(found)
    return DONE if found.identical else DAMAGED


def _hint_at_options_of_ours(options: argparse.Namespace) -> None:
    """Say which options went to the script, though we have ones of these names."""
    words = [word.partition("=")[0] for word in options.arguments]
    for word in dict.fromkeys(word for word in words if word in REHEARSE_OPTIONS):
        _complain(f"{word} follows {options.script}, so the script gets it; to set outlast's, put it before.")


def _say_rehearsed(found: Rehearsed) -> None:
    cells = [(row.place, row.resumed, "identical" if row.identical else "differs") for row in found.rows]
    say(table(cells, ["killed", "resumed at", "in the end"]))
    if found.repeatable:
        _say_differences(found.rows)
    else:
        say(
            "\nYour script gives other results each time, even if nobody kills it, so the other lines "
            f"prove nothing. What differs first is {escaped(found.rows[0].difference)}. Seed it, as "
            "with torch.manual_seed(0) or keras.utils.set_random_seed(0), and rehearse it again. "
            "docs/exact.md#what-differs-first has other causes."
        )
    for note in found.notes:
        say(f"\nThe script's run said, which a few epochs may not show: {escaped(note)}.")
    if found.folder:
        names = [os.path.basename(row.folder) for row in found.rows if row.folder]
        say(
            f"\nWhat the script printed, saved and wrote is kept in {escaped(found.folder)}: first, "
            f"{', '.join(names)}."
        )


def _say_differences(rows: Iterable[Row]) -> None:
    differing = [row for row in rows if not row.identical]
    for row in differing:
        say(f"\n{escaped(row.place)}: what differs first is {escaped(row.difference)}.")
    for cause in dict.fromkeys(row.cause for row in differing if row.cause):
        say(f"\nThe likely cause: {cause}.")


def _rehearsed_json(found: Rehearsed) -> dict[str, Any]:
    rows = [{**vars(row), "folder": row.folder or None, "identical": row.identical} for row in found.rows]
    folder = found.folder or None
    return {"identical": found.identical, "folder": folder, "tries": rows, "notes": list(found.notes)}


def _refused(run: RunStatus) -> bool:
    """Whether nothing can be shown of this run; if so, its problem is printed as an error."""
    if run.status.unreadable:
        _complain(run.problem)
    return run.status.unreadable


def _code(runs: Iterable[RunStatus]) -> int:
    """The exit code of the worst of these runs."""
    found = {run.status for run in runs}
    return next((code for status, code in _CODES.items() if status in found), DONE)


def _say_json(value: Mapping[str, Any]) -> None:
    say(json.dumps(encoded(value), indent=2, allow_nan=False))


def _complain(text: str) -> None:
    complain(f"outlast: {escaped(text)}")


class _Parser(argparse.ArgumentParser):
    """Names the option that was probably meant. Its commands have parsers of this class, too."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but an option that the command does not have is an error of the command."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            hints = (nearest(word.partition("=")[0], self._option_string_actions) for word in unknown)
            hint = next(filter(None, hints), "")
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint and '.' + hint}")
        return found, unknown


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="outlast",
        description="Keras's training callbacks for any loop, and runs that resume after a crash.",
        epilog=CODES,
    )
    parser.add_argument("--version", action="version", version=f"outlast {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_runs(commands)
    _add_rehearse(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[_Parser]) -> None:
    text = "train a small network with four callbacks, and show what they did"
    command = _add(commands, "demo", text, _demo)
    text = "where the files go (default: %(default)s)"
    command.add_argument("--folder", type=_path, default=demo.FOLDER, help=text)
    text = "kill the training in the middle of a save, start it again, and prove that nothing was lost"
    command.add_argument("--crash", action="store_true", help=text)
    command.add_argument("--seed", type=_whole, default=demo.SEED, help="random seed (default: %(default)s)")
    text = "how many epochs at most (default: %(default)s)"
    command.add_argument("--epochs", type=partial(_whole, least=1), default=demo.EPOCHS, help=text)


def _add_runs(commands: argparse._SubParsersAction[_Parser]) -> None:
    text = f"a table of the runs in a folder and up to {LEVELS} levels below it"
    ls = _add(commands, "ls", text, _ls)
    ls.add_argument("folder", metavar="DIR", nargs="?", type=_path, default=".", help="default: %(default)s")
    text = (
        "everything about runs: status, settings, decisions with their reasons, files, what a resume would do"
    )
    show = _add(commands, "show", text, _show)
    show.add_argument("--all", action="store_true", help="all decisions and events, not only the last ten")
    text = "check every checksum of runs, and say what a resume would do and lose; nothing is changed"
    for command in (show, _add(commands, "verify", text, _verify)):
        command.add_argument("runs", metavar="RUN", nargs="+", type=_path, help="a run's folder")


def _add_rehearse(commands: argparse._SubParsersAction[_Parser]) -> None:
    text = (
        "run your own script for a few epochs, kill it at several places, start it again, and compare; the "
        "options come before the script"
    )
    command = _add(commands, "rehearse", text, _rehearse)
    command.add_argument("script", metavar="SCRIPT", type=_path, help="a .py or .ipynb file with a Run in it")
    command.add_argument("arguments", metavar="ARGS", nargs=argparse.REMAINDER, help="the script's arguments")
    text = "how often it is killed (default: %(default)s)"
    command.add_argument("--kills", type=_whole, default=5, help=text)
    text = "how many epochs a training has at most (default: %(default)s)"
    command.add_argument("--epochs", type=partial(_whole, least=2), default=3, help=text)
    command.add_argument("--seed", type=_whole, default=0, help="of the places (default: %(default)s)")
    text = "keep the files of every try, not only of those that differ"
    command.add_argument("--keep", action="store_true", help=text)


def _add(
    commands: argparse._SubParsersAction[_Parser],
    name: str,
    text: str,
    work: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text, epilog=CODES)
    command.set_defaults(command=work)
    command.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return command


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must be a path, but is empty")
    return text


def _whole(text: str, least: int = 0) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least {least}, but is {text!r}")
    return int(text)
