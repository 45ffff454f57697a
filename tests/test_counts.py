"""What costs nothing is counted here, not timed: memory, system calls, threads, copies, open files."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outlast
from outlast.testing import FakeAdapter

FEW = 200  # blocks of memory that come and go whatever is done


def grown(act: Callable[[], object]) -> int:
    """How many blocks of memory are left by what was done, once it has been done before."""
    act()
    gc.collect()
    before = sys.getallocatedblocks()
    act()
    gc.collect()
    return sys.getallocatedblocks() - before


@pytest.mark.parametrize("logs", ["floats", "tensors", "arrays"])
def test_a_million_batches_leave_no_memory(logs: str) -> None:
    run = outlast.Run(None, [outlast.EarlyStopping("loss")], adapter=FakeAdapter())
    count = 10**6 if logs == "floats" else 10**5
    batches: Any = np.zeros(count, np.int8)
    loss: Any = 0.5
    if logs == "tensors":
        torch = pytest.importorskip("torch")
        loss = torch.tensor(0.5, requires_grad=True)
    elif logs == "arrays":
        loss = pytest.importorskip("jax.numpy").float32(0.5)

    def train() -> None:
        for _ in run.batches(batches):
            run.log(loss=loss)

    for _ in run.epochs(1):
        assert grown(train) < FEW


def test_a_hundred_thousand_epochs_leave_no_memory(tmp_path: Path) -> None:
    callbacks = outlast.CallbackList(
        [
            outlast.EarlyStopping("loss", patience=10**9),
            outlast.ReduceLROnPlateau("loss", patience=10**9),
            outlast.CSVLogger(str(tmp_path / "history.csv")),
            outlast.TerminateOnNaN(),
        ],
        adapter=FakeAdapter(learning_rate=0.1),
    )
    epochs = iter(range(10**9))
    callbacks.on_train_begin()

    def train() -> None:
        for _ in range(10**5):
            epoch = next(epochs)
            callbacks.on_epoch_begin(epoch)
            callbacks.on_epoch_end(epoch, {"loss": 1 / (epoch + 1)})

    assert grown(train) < FEW


IN_A_LOOP = """
import os, sys, time
import outlast
from outlast.testing import FakeAdapter

run = outlast.Run(sys.argv[1], [outlast.EarlyStopping("loss"), outlast.CSVLogger()], adapter=FakeAdapter(),
                  save_every=10**6)
for _ in run.epochs(1):
    for batch in run.batches([0.0] * 20_000):
        if run.batch == 1_000:
            run.flush()
            time.sleep(0.2)  # and the writer has come to its rest
        if run.batch in (1_001, 19_000):
            os.getppid()  # marks the part that is looked at
        run.log(loss=0.5)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="only where strace is")
def test_a_batch_without_a_save_makes_no_system_call_and_wakes_no_thread(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-o", str(trace), sys.executable, "-c", IN_A_LOOP, str(tmp_path / "run")]
    subprocess.run(command, check=True, capture_output=True)
    lines = trace.read_text().splitlines()
    first, last = (number for number, line in enumerate(lines) if "getppid" in line)
    between = [
        line
        for line in lines[first + 1 : last]
        if not any(one in line for one in ("brk(", "mmap(", "munmap("))
    ]
    assert between == []  # memory is taken and given back as Python likes


def test_five_callbacks_that_ask_for_the_weights_share_one_copy_an_epoch(tmp_path: Path) -> None:
    copies = []

    class Counting(FakeAdapter):
        def _copied_weights(self) -> Any:
            copies.append(1)
            return super()._copied_weights()

    callbacks = outlast.CallbackList(
        [outlast.EarlyStopping("loss", patience=9, restore_best_weights=True) for _ in range(5)],
        adapter=Counting({"w": [1.0, 2.0]}),
    )
    callbacks.on_train_begin()
    for epoch in range(10):
        callbacks.on_epoch_begin(epoch)
        callbacks.on_epoch_end(epoch, {"loss": -epoch})
    assert len(copies) == 10


def test_after_a_thousand_runs_files_and_threads_are_as_before(folder: Path) -> None:
    def train(number: int) -> None:
        run = outlast.Run(folder / str(number), outlast.CSVLogger(), adapter=FakeAdapter({"w": [1.0]}))
        for _ in run.epochs(1):
            run.log(loss=1.0)

    def open_now() -> tuple[int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc") else 0, threading.active_count()

    for number in range(10):
        train(number)
    before = open_now()
    for number in range(10, 1010):
        train(number)
    assert open_now() == before
