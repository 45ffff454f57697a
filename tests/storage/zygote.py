"""A process that has imported everything, and forks a workload for each line that it reads.

A line is ``FOLDER STEPS``. The child stops before it begins, so that strace
can be attached; ``go`` on the next line lets it run, and its exit status is
written back. What it knows to be committed it writes to ``FOLDER.committed``.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import tempfile
import warnings
from typing import NoReturn

from tests.storage import workload

_PR_SET_PTRACER = 0x59616D61


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        workload.run(f"{folder}/warm", 3)  # imports what is imported late
    for line in sys.stdin:
        folder, steps = line.rsplit(maxsplit=1)
        ours, its = socket.socketpair()
        child = os.fork()
        if child == 0:
            ours.close()
            work(its, folder, int(steps))
        its.close()
        ours.recv(1)  # it stands at the gate
        print(child, flush=True)
        sys.stdin.readline()
        ours.send(b"!")
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        ours.close()


def work(gate: socket.socket, folder: str, steps: int) -> NoReturn:
    """In the child: wait at the gate, run, and end without a trace of Python's own clean-up."""
    if sys.platform == "linux":  # let a strace that is no parent of ours attach
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
    told = os.open(f"{folder}.committed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    gate.send(b"!")
    gate.recv(1)
    try:
        workload.run(folder, steps, lambda n: os.pwrite(told, b"%d" % n, 0), lambda finding: None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    warnings.simplefilter("error")
    main()
