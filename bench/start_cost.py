"""How long an import takes, and a command: whole processes, beside Python's own start.

python bench/start_cost.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from side_by_side import Way, compare, installed, seconds_of

import outlast
from outlast.testing import FakeAdapter

START = "Python's own start"
IMPORTS = ("outlast", "numpy", "keras", "torch", "lightning", "ignite", "transformers", "orbax.checkpoint")

OTHERS = {"fabric": "lightning", "torchrun": "torch", "transformers": "transformers"}  # commands, packages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--ours", action="store_true", help="without the others, which take seconds")
    options = parser.parse_args()
    ways: dict[str, Callable[[], Way]] = {START: partial(process, "-c", "pass")}
    for name in IMPORTS[: 2 if options.ours else None]:
        ways[f"import {name}"] = partial(importing, name)
        if name == "outlast":
            ways["import outlast, EarlyStopping used"] = partial(
                process, "-c", "import outlast; outlast.EarlyStopping"
            )
    compare("an import", installed(ways), beside=START, rounds=options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        make_run(folder + "/run")
        commands = {START: partial(process, "-c", "pass")} | {
            "outlast --help": partial(process, "-m", "outlast", "--help"),
            "outlast ls": partial(process, "-m", "outlast", "ls", folder),
            "outlast show RUN": partial(process, "-m", "outlast", "show", folder + "/run"),
            "outlast verify RUN": partial(process, "-m", "outlast", "verify", folder + "/run"),
        }
        if not options.ours:
            commands |= {f"{name} --help": partial(script, name, package) for name, package in OTHERS.items()}
        compare("a command", installed(commands), beside=START, rounds=options.rounds)


def make_run(folder: str) -> None:
    """A run of three epochs."""
    callbacks = [outlast.EarlyStopping("loss"), outlast.CSVLogger()]
    run = outlast.Run(folder, callbacks, adapter=FakeAdapter({"w": [0.0]}), check_resume="never")
    for epoch in run.epochs(3):
        run.log(loss=1 / (1 + epoch))


def process(*arguments: str) -> Way:
    """A Python, which must do its work."""
    return whole([sys.executable, *arguments])


def importing(package: str) -> Way:
    if not find_spec(package.partition(".")[0]):
        raise ModuleNotFoundError(name=package)
    return process("-c", f"import {package}")


def script(name: str, package: str) -> Way:
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise ModuleNotFoundError(name=package)
    return whole([str(path), "--help"])


def whole(command: list[str]) -> Way:
    quiet = subprocess.DEVNULL
    return lambda: seconds_of(
        lambda: subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, check=True)
    )


if __name__ == "__main__":
    main()
