"""What a save costs: how long training waits, and how long until it is durable.

    python bench/save_cost.py [--sizes 1 100] [--rounds 5]

The ratios are to one copy of the same memory, and to a plain write and fsync of the same bytes. Each way is
checked: what it has saved is loaded, and is the state.
"""

from __future__ import annotations

import argparse
from functools import partial

from saving import COPY, WAYS, WRITE, Saving, states
from side_by_side import installed, measured, show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 100], help="megabytes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    options = parser.parse_args()
    for size in options.sizes:
        with states(size, options.folder) as at:
            savings = installed({name: partial(make, at) for name, make in WAYS.items()})
            try:
                report(size, savings, options.rounds)
            finally:
                for one in savings.values():
                    one.close()


def report(size: int, savings: dict[str, Saving], rounds: int) -> None:
    found = measured({name: one.seconds for name, one in savings.items()}, rounds)
    for one in savings.values():
        one.check()
    blocked = {name: [pair[0] for pair in pairs] for name, pairs in found.items()}
    durable = {name: [pair[1] for pair in pairs] for name, pairs in found.items() if name != COPY}
    show(f"{size} MB saved: how long training waits", blocked, beside=COPY)
    show(f"{size} MB saved: until it is durable", durable, beside=WRITE)


if __name__ == "__main__":
    main()
