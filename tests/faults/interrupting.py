"""Raises KeyboardInterrupt at any line of ``run/`` and ``storage/``, and runs the training again."""

from __future__ import annotations

import faulthandler
import io
import json
import os
import random
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from tests.faults.training import report, train

import outlast

ROOT = Path(outlast.__file__).parent
PLACES = (str(ROOT / "run"), str(ROOT / "storage"))
EPOCHS = 3
PATIENCE = 60  # seconds until a deadlock is called one


def traced(number: int, counted: list[int]) -> Callable[..., Any]:
    """A trace function that counts lines, and raises at one of them."""

    def at_line(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            counted[0] += 1
            if counted[0] == number:
                sys.settrace(None)
                raise KeyboardInterrupt
        return at_line

    def at_call(frame: FrameType, event: str, argument: Any) -> Any:
        return at_line if frame.f_code.co_filename.startswith(PLACES) else None

    return at_call


def lines(folder: Path) -> int:
    """How many lines a whole training executes there."""
    counted = [0]
    sys.settrace(traced(-1, counted))
    try:
        train(folder, epochs=EPOCHS, check_resume="never")
    finally:
        sys.settrace(None)
    return counted[0]


def in_a_child(folder: Path, number: int, expected: dict[str, Any]) -> str:
    """What is wrong after an interrupt at that line; "" if nothing is."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        sys.stdout = sys.stderr = io.StringIO()
        os.write(writer, _interrupted(folder, number, expected).encode()[:60_000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        found = told.read()
    status = os.waitpid(child, 0)[1]
    return found if status == 0 else f"line {number}: the process ended with status {status}, or hung"


def _interrupted(folder: Path, number: int, expected: dict[str, Any]) -> str:
    sys.settrace(traced(number, [0]))
    try:
        train(folder, epochs=EPOCHS, check_resume="never")
        where = "nowhere"
    except KeyboardInterrupt as error:
        where = "".join(traceback.format_tb(error.__traceback__, -3))
    except BaseException:
        return f"line {number}: {traceback.format_exc()}"
    finally:
        sys.settrace(None)
    try:
        got = report(train(folder, epochs=EPOCHS))
    except outlast.UsageError as error:  # one training of a script for two: it had come to its end
        run = outlast.open_run(folder)
        whole = "was finished by this program already" in str(error) and run.finished
        got = expected if whole and len(run.history.epochs) == EPOCHS else {}
    except BaseException:
        return f"line {number}, again: {traceback.format_exc()} after {where}"
    same = all(got.get(name) == expected[name] for name in ("weights", "history"))
    return "" if same else f"line {number}: another result, after {where}"


def problems(folder: Path, count: int, seed: int) -> list[str]:
    """What is wrong after interrupts at so many lines, in a process that has no threads of a framework."""
    command = [sys.executable, "-m", "tests.faults.interrupting", str(folder), str(count), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    ended = [f"the process ended with {done.returncode}: {done.stderr[-500:]}"] if done.returncode else []
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('"')] + ended


if __name__ == "__main__":
    place, number_of_them = Path(sys.argv[1]), int(sys.argv[2])
    whole = report(train(place / "whole", epochs=EPOCHS))
    executed = range(1, lines(place / "counted"))
    for line in random.Random(int(sys.argv[3])).sample(executed, number_of_them):
        if wrong := in_a_child(place / str(line), line, whole):
            print(json.dumps(wrong), flush=True)
