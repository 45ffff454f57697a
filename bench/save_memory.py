"""How much memory a save takes, beside the state itself: the peak of a process, beyond what it had before.

    python bench/save_memory.py [--sizes 100] [--rounds 3]

Each figure is from a process of its own, which has saved a small state before, so that libraries are loaded;
what a way keeps for its next save counts. Linux alone tells the peak since a moment.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path

from saving import COPY, WAYS, states
from side_by_side import installed, measured, show

SAVES = 3
PROCESS = Path("/proc/self")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100], help="megabytes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    parser.add_argument("--ways", nargs="+", default=None, help="their names, or all")
    parser.add_argument("--of", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.of:
        print(growth(options.of, options.sizes[0], options.folder))
    elif not (PROCESS / "clear_refs").exists():
        print("memory is measured on Linux alone")
    else:
        names = options.ways or can_be_had()
        for size in options.sizes:
            ways = {name: partial(in_a_process, name, size, options.folder) for name in names}
            title = f"{size} MB saved {SAVES} times: memory beyond the state"
            show(title, measured(ways, options.rounds), beside=COPY, unit="MB")


def can_be_had() -> list[str]:
    """The ways whose libraries are installed."""
    with states(1, None) as at:
        found = installed({name: partial(make, at) for name, make in WAYS.items()})
        for one in found.values():
            one.close()
    return [*found]


def in_a_process(way: str, size: int, folder: str | None) -> float:
    """The bytes that a way takes."""
    command = [sys.executable, __file__, "--of", way, "--sizes", str(size)]
    command += ["--folder", folder] if folder else []
    return float(subprocess.check_output(command, text=True).split()[-1])


def growth(way: str, size: int, folder: str | None) -> int:
    """The bytes that this process takes at most to save a state, beyond what it has with the state."""
    make = WAYS[way]
    with states(1, folder) as at:
        first = make(at)
        first.seconds()
        first.check()
        kinds = [kind for kind in ("torch", "jax", "keras") if kind in vars(at)]  # made for it
    with states(size, folder) as at:
        for kind in kinds:
            getattr(at, kind)
        (PROCESS / "clear_refs").write_text("5")  # the peak begins anew
        before = resident("VmRSS")
        saving = make(at)
        for _ in range(SAVES):
            saving.seconds()
        grown = resident("VmHWM") - before
        saving.close()
    return grown


def resident(which: str) -> int:
    """Bytes of memory: ``VmRSS`` those now, ``VmHWM`` the most."""
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(which + ":"))


if __name__ == "__main__":
    main()
