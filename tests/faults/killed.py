"""A process that trains, and kills itself instead of a call that would change the disk.

python -m tests.faults.killed FOLDER NUMBER
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from tests.faults.training import train
from tests.storage.tap import tapped


def main(folder: str, number: int) -> None:
    made = 0

    def call(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        nonlocal made
        if made == number:
            if name in ("write", "pwrite"):  # half of it is done
                real(arguments[0], arguments[1][: len(arguments[1]) // 2], *arguments[2:])
            os.kill(os.getpid(), signal.SIGKILL)
        made += 1
        return real(*arguments)

    with tapped(call):
        train(folder)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
