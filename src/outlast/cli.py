"""The command line: parses, calls what does the work, and turns errors into one line.

Exit codes: 0 done; 1 what a command checks does not hold; 2 it was asked for something that
cannot work; 130 interrupted with Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from outlast import __version__, demo
from outlast.exceptions import OutlastError
from outlast.views.text import escaped

BAD_INPUT, NOBODY_READS, INTERRUPTED = 2, 141, 130

CODES = "exit codes: 0 done; 1 a check does not hold; 2 cannot work as asked; 130 interrupted (Ctrl-C)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after ``outlast``; those of this process, if left out.

    Returns:
        The exit code.
    """
    asked = _parser().parse_args(arguments)
    try:
        return _demo(asked)
    except OutlastError as error:
        print(f"outlast: {escaped(str(error))}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("outlast: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # as in `outlast demo | head`: the reader has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS


def _demo(asked: argparse.Namespace) -> int:
    return demo.run(asked.folder, seed=asked.seed, epochs=asked.epochs, as_json=asked.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="outlast", description="Training callbacks that lose nothing.", epilog=CODES
    )
    parser.add_argument("--version", action="version", version=f"outlast {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_demo(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "train the digits for real, with all four callbacks, and show what they did"
    command = commands.add_parser("demo", help=text, description=text, epilog=CODES)
    command.add_argument(
        "--folder", type=_path, default=demo.FOLDER, help="where its files go (default: %(default)s)"
    )
    command.add_argument(
        "--seed", type=_whole, default=demo.SEED, help="another seed, another training (default: %(default)s)"
    )
    command.add_argument(
        "--epochs", type=_positive, default=demo.EPOCHS, help="at most so many (default: %(default)s)"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")


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
