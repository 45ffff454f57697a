"""One process holds a run, one Run holds its callbacks; who comes second hears of it, or takes over."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.run.training import LOSSES, go_on, start, train, weight

from outlast import EarlyStopping, ModelCheckpoint, Run
from outlast.exceptions import RunLocked, UsageError
from outlast.testing import FakeAdapter

HOLDER = """
import sys
from outlast import Run
from outlast.testing import FakeAdapter

run = Run(sys.argv[1], adapter=FakeAdapter({"w": [0.0]}))
for epoch in run.epochs(5):
    run.log(val_loss=1.0)
    if epoch == 2:
        run.flush()
        print("holding", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process in the middle of an epoch of the run."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "holding\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_at_once_and_hears_who_holds_the_run(
    folder: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(
        RunLocked, match=rf"in use by process {holder.pid} on .*, since .*Wait for it, stop it"
    ):
        start(folder)


def test_a_second_process_sets_nothing_aside_of_a_run_that_is_held(
    folder: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(RunLocked):
        start(folder, resume="never")
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


def test_the_run_of_a_stopped_process_is_held_still(folder: Path, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGSTOP)
    with pytest.raises(RunLocked):
        start(folder)


def test_the_run_of_a_killed_process_is_free(folder: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert go_on(start(folder), 4) == [2, 3]


def test_a_second_run_of_this_process_takes_over_and_the_first_says_so_at_its_next_hook(folder: Path) -> None:
    first = start(folder)
    epochs = first.epochs(5)
    next(epochs)
    first.log(val_loss=LOSSES[0])
    next(epochs)
    second = start(folder)
    assert go_on(second, 3) == [1, 2]
    with pytest.raises(UsageError, match="taken it over"):
        next(epochs)
    assert start(folder).history.epochs == (0, 1, 2)


def test_what_the_first_run_was_writing_is_there_for_the_second(folder: Path) -> None:
    first = start(folder)
    epochs = first.epochs(5)
    next(epochs), next(epochs), next(epochs)  # two epochs committed, the second perhaps in flight
    assert start(folder).history.epochs == (0, 1)


def test_a_run_that_nobody_holds_any_more_is_free(folder: Path) -> None:
    run = start(folder)
    epochs = run.epochs(5)
    next(epochs), next(epochs)
    del run, epochs
    assert start(folder).history.epochs == (0,)


def test_two_runs_in_one_process_do_not_disturb_each_other(folder: Path) -> None:
    runs = [start(folder / name) for name in ("a", "b")]
    for epochs in zip(*(run.epochs(3) for run in runs), strict=True):
        for number, run in enumerate(runs):
            run.log(val_loss=float(10 * number + epochs[0]))
    assert [start(folder / name).history["val_loss"] for name in ("a", "b")] == [[0, 1, 2], [10, 11, 12]]


def test_a_copy_of_a_run_is_the_run(folder: Path) -> None:
    run = start(folder)
    assert copy.deepcopy(run) is run
    assert copy.copy(run) is run
    assert copy.deepcopy({"callbacks": [run]})["callbacks"][0] is run


def test_callbacks_of_an_old_run_begin_with_what_the_folder_of_the_new_one_holds(folder: Path) -> None:
    stopping, checkpoint = EarlyStopping(patience=9), ModelCheckpoint(save_best_only=True)
    train(folder / "old", [stopping, checkpoint], epochs=5)
    assert (stopping.best, stopping.wait, checkpoint.best) == (3.0, 2, 3.0)
    train(folder / "new", [EarlyStopping(patience=9), ModelCheckpoint(save_best_only=True)], epochs=2)
    start(folder / "new", [stopping, checkpoint])
    assert (stopping.best, stopping.wait, checkpoint.best) == (4.0, 0, 4.0)


def test_callbacks_of_an_old_run_begin_anew_in_a_new_folder(folder: Path) -> None:
    stopping, checkpoint = EarlyStopping(patience=2), ModelCheckpoint(save_best_only=True)
    train(folder / "old", [stopping, checkpoint], epochs=9)
    run = start(folder / "new", [stopping, checkpoint])
    assert (stopping.best, checkpoint.best) == (None, None)
    assert go_on(run, 9) == [0, 1, 2, 3, 4]


def test_the_old_run_says_that_its_callbacks_are_gone(folder: Path) -> None:
    stopping = EarlyStopping(patience=9)
    old = start(folder / "old", [stopping])
    epochs = old.epochs(3)
    next(epochs)
    new = start(folder / "new", [stopping])
    assert stopping.host is new
    old.log(val_loss=1.0)
    with pytest.raises(UsageError, match=rf"EarlyStopping of Run.* belongs to Run\('{folder}/new'\) now"):
        next(epochs)
    assert stopping.best is None


def test_a_callback_of_a_run_is_refused_in_another_list(folder: Path) -> None:
    stopping = EarlyStopping()
    run = start(folder, [stopping])
    with pytest.raises(UsageError, match=rf"already in Run\('{folder}'\)"):
        stopping.set_model(FakeAdapter())
    assert isinstance(run, Run)


def test_a_forked_child_does_not_hold_the_run(folder: Path) -> None:
    """As a data loader's worker that outlives its parent."""
    code = f"""
import os, sys, time
from tests.run.training import start
run = start({str(folder)!r})
epochs = run.epochs(5)
next(epochs), next(epochs)
run.flush()
if os.fork() == 0:
    sys.stdout.close()
    os.close(1)
    time.sleep(60)
    os._exit(0)
print("forked", flush=True)
sys.stdin.read()
"""
    root = Path(__file__).resolve().parents[2]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=True,
    )
    try:
        assert process.stdout and process.stdout.readline() == "forked\n"
        process.kill()
        process.wait()
        run = start(folder)
        assert (run.history.epochs, weight(run)) == ((0,), 0)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.stdin.close(), process.stdout.close()


RANK = """
import os, sys
from outlast import Run
from outlast.testing import FakeAdapter

try:
    Run(sys.argv[1], adapter=FakeAdapter())
except OSError as error:
    print(error)
"""


def test_a_second_rank_hears_that_one_process_alone_trains_in_a_run(
    folder: Path, holder: subprocess.Popen[str]
) -> None:
    command = [sys.executable, "-c", RANK, str(folder)]
    env = {**os.environ, "RANK": "1"}
    said = subprocess.run(command, env=env, capture_output=True, text=True).stdout
    assert "in use by process" in said and "rank 1 (RANK): for now one process alone" in said


SPAWNED = """
import multiprocessing, sys
from outlast import Run
from outlast.testing import FakeAdapter

try:
    run = Run(sys.argv[1], adapter=FakeAdapter())
except OSError as error:
    print(error, flush=True)
    sys.exit()
worker = multiprocessing.get_context("spawn").Process(target=print)
worker.start()
worker.join()
"""


def test_a_spawned_worker_without_a_main_guard_hears_of_the_guard(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SPAWNED)
    command = [sys.executable, "train.py", str(folder)]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    assert "in use by process" in said and "if __name__ == '__main__':" in said
