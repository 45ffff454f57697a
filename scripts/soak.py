"""Trains a tiny model for thousands of epochs, kills it every few seconds, and compares with one left alone.

    python scripts/soak.py [--epochs N] [--seconds N] [--seed N]     (--epochs 800 --seconds 20: a short one)

Of each process it looks at open files, threads and memory, early and late. The exit code is 1 if the
ends differ, or if something grew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import outlast

EVERY = 25  # epochs from one look to the next
PAUSES = (0.5, 5.0)  # seconds that a process lives, at random between these
MEGABYTES = 20  # that a process may grow by; ten thousand rows of a history are some of them


@dataclass(frozen=True)
class Look:
    """What a process holds after an epoch, when nothing is being written."""

    epoch: int
    files: int
    threads: int
    kilobytes: int


@dataclass
class Process:
    """What was heard of one process."""

    looks: list[Look] = field(default_factory=list)
    end: dict[str, str] | None = None  # hashes of what the training came to; None if it was killed

    @property
    def grew(self) -> list[str]:
        """What there is more of, late, than there was early."""
        if len(self.looks) < 2:
            return []
        first, last = self.looks[0], self.looks[-1]
        found = [
            f"{kind}, epoch {first.epoch} and {last.epoch}: {getattr(first, kind)}, {getattr(last, kind)}"
            for kind in ("files", "threads")
            if getattr(first, kind) != getattr(last, kind)
        ]
        return found + ([f"memory: {self.megabytes:.0f} MB more"] if self.megabytes > MEGABYTES else [])

    @property
    def megabytes(self) -> float:
        """By how much it grew."""
        return (self.looks[-1].kilobytes - self.looks[0].kilobytes) / 1024 if self.looks else 0.0


def main() -> int:
    """Trains once in peace, then again and again with kills, and tells."""
    arguments = _arguments()
    pauses = random.Random(arguments.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        alone = train_in_a_process(f"{folder}/alone", arguments.epochs)
        print(f"left alone, {arguments.epochs:,} epochs take {time.monotonic() - began:.0f} s", flush=True)
        deadline, killed = time.monotonic() + arguments.seconds, list[Process]()
        while time.monotonic() < deadline:
            killed += killed_training(f"{folder}/{len(killed)}", arguments.epochs, pauses, deadline)
    return told(alone, killed)


def killed_training(folder: str, epochs: int, pauses: random.Random, deadline: float) -> list[Process]:
    """One training; its processes are killed until one comes to the end, or all have time."""
    processes: list[Process] = []
    while not processes or processes[-1].end is None:
        life = pauses.uniform(*PAUSES) if time.monotonic() < deadline else None
        processes.append(train_in_a_process(folder, epochs, life))
    return processes


def told(alone: Process, killed: list[Process]) -> int:
    """Say what came of it; the exit code."""
    right, ends = alone.end or {}, [process.end for process in killed if process.end is not None]
    different = [part for part in right if any(end[part] != right[part] for end in ends)]
    grew = [growth for process in (alone, *killed) for growth in process.grew]
    print(f"trained {len(ends)} times, killed {len(killed) - len(ends)} times")
    print(f"the ends differ in {', '.join(different)}" if different else "every end is identical")
    print(f"a process grew by {max(process.megabytes for process in (alone, *killed)):.1f} MB at the most")
    print(*(grew or ["open files and threads are where they began"]), sep="\n")
    return 1 if different or grew or not (right and ends) else 0


def train_in_a_process(folder: str, epochs: int, life: float | None = None) -> Process:
    """Train in a forked process, and kill it after ``life`` seconds."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _end_with(_train, folder, epochs, writer)
    os.close(writer)
    process = Process()
    deadline = None if life is None else time.monotonic() + life
    for line in _lines(reader, deadline):
        if "end" in line:
            process.end = line["end"]
        else:
            process.looks.append(Look(**line))
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if process.end is None and not os.WIFSIGNALED(status):
        raise SystemExit(f"a process ended with code {os.waitstatus_to_exitcode(status)}")
    return process


def _lines(pipe: int, deadline: float | None) -> Iterator[dict[str, Any]]:
    """What the child says, until it ends or the deadline is there."""
    with open(pipe, "rb", buffering=0) as file:
        rest = b""
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and (left <= 0 or not select.select([file], [], [], left)[0]):
                return
            data = file.read(65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from map(json.loads, lines)


def _end_with(function: Any, *arguments: Any) -> None:
    """The child's whole life: nothing of the parent's is cleaned up in it."""
    code = 1
    try:
        function(*arguments)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _train(folder: str, epochs: int, pipe: int) -> None:
    """The training: dropout, a shuffle, an optimizer with a memory, and callbacks that keep and cut."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x = torch.randn(32, 4)
    data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
    run = outlast.Run(folder, _callbacks(), model=model, optimizer=optimizer)
    for epoch in run.epochs(epochs):
        generator = torch.Generator().manual_seed(epoch)  # a loader of its own for each epoch
        loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True, generator=generator)
        for inputs, targets in run.batches(loader):
            loss = (model(inputs) - targets).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log(loss=loss)
        run.log(val_loss=float(loss.detach()))
        if epoch % EVERY == EVERY - 1:
            run.flush()
            _say(pipe, asdict(_look(epoch + 1)))
    _say(pipe, {"end": _end_of(run, model)})


def _callbacks() -> list[outlast.Callback]:
    return [
        outlast.EarlyStopping(patience=10**9, restore_best_weights=True),
        outlast.ModelCheckpoint(save_best_only=True),
        outlast.CSVLogger(),
        outlast.ReduceLROnPlateau(factor=0.9, patience=200, min_lr=1e-3),
    ]


def _look(epoch: int) -> Look:
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    files = len(os.listdir("/proc/self/fd"))
    return Look(epoch, files, int(fields["Threads"]), int(fields["VmRSS"].split()[0]))


def _end_of(run: outlast.Run, model: nn.Module) -> dict[str, str]:
    """Hashes of all that must be identical."""
    folder = Path(str(run.folder))
    weights = b"".join(np.asarray(tensor).tobytes() for tensor in model.state_dict().values())
    best = b"".join(np.asarray(tensor).tobytes() for tensor in run.load_best().values())
    parts = {
        "weights": weights,
        "best model": best,
        "history": json.dumps(run.history.rows).encode(),
        "history.csv": (folder / "history.csv").read_bytes(),
        "journal.jsonl": (folder / "journal.jsonl").read_bytes(),
    }
    return {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}


def _say(pipe: int, record: dict[str, Any]) -> None:
    os.write(pipe, json.dumps(record).encode() + b"\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=600, help="in which it is killed; then it may end")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
