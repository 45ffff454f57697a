"""Runs in threads; forked children, who hold nothing and write nothing; a Run without a folder."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

from tests.faults.training import debris, everything, views, writers

import outlast
from outlast.exceptions import UsageError
from outlast.testing import FakeAdapter

EPOCHS = 6


def train(folder: Path | None, start: float, epochs: int = EPOCHS) -> outlast.Run:
    """A training that draws from no generator that threads would share."""
    adapter = FakeAdapter({"w": [start]}, learning_rate=0.5)
    run = outlast.Run(folder, everything(), adapter=adapter)
    for _ in run.epochs(epochs):
        for _ in run.batches(range(3)):
            adapter.weights["w"] = [math.sin(3.7 * w) + run.learning_rate for w in adapter.weights["w"]]
            run.log(loss=adapter.weights["w"][0])
        run.log(val_loss=math.cos(adapter.weights["w"][0]))
    return run


def test_runs_in_threads_end_each_as_it_does_alone(tmp_path: Path) -> None:
    starts, writing = [0.1, 0.2, 0.3, 0.4], writers()
    alone = [train(tmp_path / "alone" / str(start), start) for start in starts]
    together: dict[float, outlast.Run] = {}
    errors: list[BaseException] = []

    def work(start: float) -> None:
        try:
            train(tmp_path / "together" / str(start), start, epochs=3)
            together[start] = train(tmp_path / "together" / str(start), start)  # resumed in a thread, too
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=[start]) for start in starts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for one in alone:
        start = float(Path(str(one.folder)).name)
        assert together[start].history.rows == one.history.rows
        assert together[start].training.model == one.training.model
        assert views(together[start].folder) == views(one.folder)
        assert debris(together[start].folder) == []
    assert writers() == writing


def test_a_second_run_on_the_same_folder_takes_over_from_one_of_another_thread(tmp_path: Path) -> None:
    first = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
    begun, taken_over = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for epoch in first.epochs(5):
                first.log(loss=9.0)
                if epoch == 1:
                    first.flush()
                    begun.set()
                    taken_over.wait()
        except UsageError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    second = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
    taken_over.set()
    thread.join()
    assert "a newer Run of this process has taken it over" in str(errors[0])
    for _ in second.epochs(3):
        second.log(loss=1.0)
    assert second.history["loss"] == [9.0, 1.0, 1.0]
    assert debris(tmp_path / "run") == []


def script(tmp_path: Path, text: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of its own, in which no thread of a framework is in the way of a fork."""
    begin = """
        import multiprocessing, os, sys, time, outlast
        run = outlast.Run("run", [outlast.CSVLogger()], adapter=outlast.testing.FakeAdapter())
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(begin) + textwrap.dedent(text))
    command = [sys.executable, "script.py", *arguments]
    return subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_forked_child_that_goes_on_with_the_loop_writes_nothing(tmp_path: Path) -> None:
    process = script(
        tmp_path,
        """
        parent = os.getpid()
        try:
            for epoch in run.epochs(4):
                if epoch == 1:
                    run.flush()
                    child = os.fork()
                run.log(loss=1.0 if os.getpid() == parent else 666.0)
                if epoch == 1 and child:
                    os.waitpid(child, 0)  # the child has ended before the parent's next commit
        except outlast.exceptions.UsageError as error:
            print("child:", error)
        if os.getpid() == parent:
            print("parent:", run.history["loss"])
        """,
    )
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert "/run: this is a forked child" in said and "child: This run may no longer write in" in said
    assert said.endswith("parent: [1.0, 1.0, 1.0, 1.0]\n")
    assert b"666" not in (tmp_path / "run" / "history.csv").read_bytes()
    assert debris(tmp_path / "run") == []


def test_a_forked_child_does_not_hold_the_lock_of_a_parent_that_was_killed(tmp_path: Path) -> None:
    process = script(
        tmp_path,
        """
        for epoch in run.epochs(4):
            run.log(loss=1.0)
            if epoch == 1:
                run.flush()
                child = os.fork()
                if child:
                    print("forked", child, sep="\\n", flush=True)
                time.sleep(600)
        """,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "forked\n"
        child = int(process.stdout.readline())
        process.kill()
    try:
        run = outlast.Run(tmp_path / "run", outlast.CSVLogger(), adapter=FakeAdapter())
        for _ in run.epochs(4):
            run.log(loss=1.0)
        assert run.history["loss"] == [1.0] * 4
    finally:
        os.kill(child, signal.SIGKILL)


def test_workers_of_a_pool_end_when_they_are_told_and_leave_ctrl_c_to_their_parent(tmp_path: Path) -> None:
    process = script(
        tmp_path,
        """
        import signal
        for epoch in run.epochs(2):
            with multiprocessing.get_context("fork").Pool(2) as pool:
                for pid in [worker.pid for worker in pool._pool]:
                    os.kill(pid, signal.SIGINT)
                run.log(loss=float(sum(pool.map(abs, range(4)))))
        print(run.history["loss"])
        """,
    )
    said = process.communicate(timeout=60)[0]
    assert said == "[6.0, 6.0]\n"


def test_a_run_of_no_folder_writes_nothing_at_all(tmp_path: Path) -> None:
    """Python tells of every file that is opened and of every name that is made or goes."""
    (tmp_path / "watch.py").write_text(
        textwrap.dedent("""
        import os, sys, tempfile, warnings
        import keras, numpy as np
        import outlast
        seen = []
        changes = {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.truncate"}

        def hear(event, arguments):
            flags = arguments[2] if event == "open" else 0
            if event in changes or flags & (os.O_RDWR | os.O_WRONLY):
                seen.append((event, arguments[0]))

        callbacks = [
            outlast.EarlyStopping(monitor="loss", patience=1, restore_best_weights=True),
            outlast.ModelCheckpoint(monitor="loss", keep_best=2, save_last=True),
            outlast.CSVLogger(),
            outlast.ReduceLROnPlateau(monitor="loss"),
        ]
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        x = np.ones((8, 2))
        model.fit(x, x[:, :1], verbose=0)  # what JAX and Keras open at first is none of our business
        sys.addaudithook(hear)
        run = outlast.Run(None, callbacks)
        model.fit(x, x[:, :1], epochs=3, verbose=0, callbacks=[run])
        loop = outlast.Run(None, outlast.CSVLogger(), adapter=outlast.testing.FakeAdapter())
        for epoch in loop.epochs(3):
            loop.log(loss=1.0, **({"late": 1.0} if epoch else {}))
        print(len(run.history["loss"]), len(run.decisions) > 0, loop.history["loss"], run.committed)
        print(seen)
        """)
    )
    done = subprocess.run(
        [sys.executable, "watch.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-2:] == ["3 True [1.0, 1.0, 1.0] None", "[]"], done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["watch.py"]
