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
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "cost.md"
PACKAGES = "keras jax torch tensorflow lightning pytorch-ignite transformers orbax-checkpoint".split()

# What each is run with to see that it works.
QUICK: dict[str, list[str]] = {
    "batch_checksum": ["--rounds", "1"],
    "batch_cost": ["--batches", "50", "--rounds", "1"],
    "csv_cost": ["--rows", "20", "--rounds", "1"],
    "epoch_cost": ["--sizes", "1", "--epochs", "2", "--rounds", "1"],
    "fit_cost": ["--batches", "20", "--rounds", "1"],
    "import_time": [],
    "inside_cost": ["torch", "--rounds", "1", "--steps", "30"],
    "save_cost": ["--sizes", "1", "--rounds", "1"],
}
SLOW = ("growth", "jax_save", "long_history")  # minutes, whatever is asked for
TABLES = {
    "batch_cost": [["batch_cost"]],
    "csv_cost": [["csv_cost"]],
    "epoch_cost": [["epoch_cost"]],
    "fit_cost": [["fit_cost", "KERAS_BACKEND=jax"], ["fit_cost", "KERAS_BACKEND=torch"]],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    names = options.names or ([*QUICK] if options.quick else [*QUICK, *SLOW])
    for name in names:
        if options.quick:
            print(run(name, *QUICK[name]))
        elif name in TABLES:
            found = "".join(run(*command) for command in TABLES[name])
            PAGE.write_text(with_table(PAGE.read_text(), name, f"{found.strip()}\n\n{circumstances()}\n"))
        else:
            run(name)


def run(name: str, *arguments: str) -> str:
    """What a bench prints; arguments such as ``KERAS_BACKEND=jax`` are for its environment."""
    print(f"--- {name} {' '.join(arguments)}", flush=True)
    env = dict(one.split("=") for one in arguments if "=" in one)
    command = [sys.executable, str(HERE / f"{name}.py"), *(one for one in arguments if "=" not in one)]
    done = subprocess.run(command, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout, flush=True)
    return done.stdout


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
