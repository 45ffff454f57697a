"""Runs the benches, and writes what those that print tables have found into docs/cost.md.

    python bench/run_all.py [--quick] [NAME ...]

A table stands in docs/cost.md between ``<!-- NAME -->`` and ``<!-- end -->``; what is around it is written by
hand. ``--quick`` runs each with little work, to see that it works, and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "cost.md"
PACKAGES = "keras jax torch safetensors lightning pytorch-ignite transformers orbax-checkpoint".split()

TENSORFLOW = HERE.parent / ".venv" / "bin" / "python"  # the environment of the tests, which has TensorFlow

# What each is run with to see that it works.
QUICK: dict[str, list[str]] = {
    "batch_checksum": ["--rounds", "1"],
    "batch_cost": ["--batches", "50", "--rounds", "1"],
    "csv_cost": ["--rows", "20", "--rounds", "1"],
    "epoch_cost": ["--sizes", "1", "--epochs", "2", "--rounds", "1"],
    "fit_cost": ["--batches", "20", "--rounds", "1"],
    "growth": ["--most", "10", "--rounds", "1"],
    "inside_cost": ["torch", "--rounds", "1", "--steps", "30"],
    "jax_save": ["--sizes", "1", "--rounds", "1"],
    "load_cost": ["--sizes", "1", "--rounds", "1"],
    "long_history": ["--epochs", "2000", "--rounds", "1"],
    "picture": ["--nowhere"],
    "save_cost": ["--sizes", "1", "--rounds", "1"],
    "save_memory": ["--sizes", "1", "--rounds", "1", "--ways", "one copy of the memory", "a resume point"],
    "start_cost": ["--rounds", "1", "--ours"],
}
TABLES = {
    "batch_cost": [["batch_cost"]],
    "csv_cost": [["csv_cost"]],
    "epoch_cost": [["epoch_cost", "--sizes", "1", "100"]],
    "fit_cost": [["fit_cost", f"KERAS_BACKEND={one}"] for one in ("jax", "torch", "tensorflow")],
    "growth": [["growth"], ["long_history"]],
    "jax_save": [["jax_save", "--sizes", "10", "100"]],
    "load_cost": [["load_cost", "--sizes", "100"]],
    "save_cost": [["save_cost", "--sizes", "1", "100"], ["save_memory", "--sizes", "100"]],
    "start_cost": [["start_cost"]],
}
PRINTED = ("batch_checksum", "inside_cost")  # these print, and what they say is written by hand


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    for name in options.names or ([*QUICK] if options.quick else [*PRINTED, *TABLES, "picture"]):
        if options.quick:
            run(name, *QUICK[name])
        elif name in TABLES:
            found = "".join(run(*command) for command in TABLES[name])
            PAGE.write_text(with_table(PAGE.read_text(), name, f"{found.strip()}\n\n{circumstances()}\n"))
        else:
            run(name)


def run(name: str, *arguments: str) -> str:
    """What a bench prints; arguments such as ``KERAS_BACKEND=jax`` are for its environment."""
    print(f"--- {name} {' '.join(arguments)}", flush=True)
    env = dict(one.split("=") for one in arguments if "=" in one)
    elsewhere = env.get("KERAS_BACKEND") == "tensorflow" and not find_spec("tensorflow")
    if elsewhere and not TENSORFLOW.exists():
        return "\nleft out, for it is not installed: TensorFlow (make test installs it)\n"
    python = str(TENSORFLOW) if elsewhere else sys.executable
    command = [python, str(HERE / f"{name}.py"), *(one for one in arguments if "=" not in one)]
    done = subprocess.run(command, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True, check=True)
    said = done.stdout + ("\nThe last in the environment of the tests.\n" if elsewhere else "")
    print(said, flush=True)
    return said


def with_table(page: str, name: str, table: str) -> str:
    r"""The page with another table of that name.

    Example:
        >>> with_table("a <!-- t -->old<!-- end --> b", "t", "new")
        'a <!-- t -->\nnew<!-- end --> b'
    """
    pattern = rf"(<!-- {re.escape(name)} -->).*?(<!-- end -->)"
    assert re.search(pattern, page, re.DOTALL), f"the page has no place for the table {name}"
    return re.sub(pattern, lambda found: f"{found[1]}\n{table}{found[2]}", page, count=1, flags=re.DOTALL)


def circumstances() -> str:
    """Where and with what it was measured."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    day = datetime.now(UTC).date()
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {', '.join(versions)}; {day}."


if __name__ == "__main__":
    main()
