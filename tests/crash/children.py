"""Child processes that train and are killed: SIGKILL, from outside or in the middle of a save."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tests.crash import trainings
from tests.storage.tap import tapped

# Many small trainings on few cores: threads that wait for each other would take most of the time.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
_EPOCH_BEGINS = "epoch begins"
_PRELOADED = {
    "keras": ["keras", "tensorflow"],  # Keras on any backend loads TensorFlow, if it is there
    "torch": ["torch"],
    "lightning": ["lightning.pytorch"],
    "jax": ["numpy"],  # JAX has threads, which no fork takes along
    "huggingface": ["torch", "transformers"],
    "xgboost": ["numpy"],  # so may XGBoost have, and LightGBM
    "lightgbm": ["numpy"],
    "sklearn": ["sklearn.neural_network", "skops.io"],
}


@dataclass(frozen=True)
class AtMoment:
    """Killed by its parent.

    Args:
        epoch: how many epochs this process has begun before.
        seconds: after it began the next one.
    """

    epoch: int
    seconds: float


@dataclass(frozen=True)
class AtCall:
    """Kills itself instead of a call that would change the disk; a write is half done.

    Args:
        epoch: how many epochs this process has begun before; with 0 its start counts, too.
        number: how many such calls it has made since.
    """

    epoch: int
    number: int


@dataclass(frozen=True)
class Finished:
    """What a process that was not killed came to.

    Args:
        report: of the training.
        calls: names of the calls that changed the disk, in their order.
        epochs: seconds that each epoch of this process took, with its save.
    """

    report: trainings.Report
    calls: list[str]
    epochs: list[float]


class Failed(Exception):
    """A training ended with an error, which the child has printed."""


def run(
    training: str, folder: str, kill: AtMoment | AtCall | None = None, *, fresh: bool = False
) -> Finished | None:
    """Train in a child process.

    Args:
        training: name of a function of ``trainings``.
        folder: the run's.
        kill: when the process is killed.
        fresh: start Python anew; else fork a process that has imported the framework and done no more.

    Returns:
        None if the process was killed.

    Raises:
        Failed: the training did.
    """
    context: Any = multiprocessing.get_context("spawn" if fresh else "forkserver")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(training, folder, kill, theirs))
    with _environment(training):
        process.start()
    theirs.close()
    try:
        result, epochs = _listen(process, ours, kill)
        process.join()
    finally:
        process.kill()
        ours.close()
    if process.exitcode == -signal.SIGKILL:
        return None
    if process.exitcode:
        raise Failed(f"{training} in {folder}: exit code {process.exitcode}")
    return Finished(*result, epochs)


@contextmanager
def _environment(training: str) -> Iterator[None]:
    """What a child's libraries read when they are loaded."""
    framework = training.partition("_")[0]
    multiprocessing.set_forkserver_preload([*_PRELOADED[framework], "tests.frozen"])
    before = dict(os.environ)
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _listen(process: Any, pipe: Connection, kill: Any) -> tuple[Any, list[float]]:
    """Hear a child to its end, and kill it at its moment; returns its last word and its epochs' seconds."""
    begun: list[float] = []
    last = None
    try:
        while True:
            last = pipe.recv()
            begun.append(time.monotonic())
            if isinstance(kill, AtMoment) and len(begun) == kill.epoch + 1:
                time.sleep(kill.seconds)
                process.kill()
    except EOFError:
        return last, [end - begin for begin, end in itertools.pairwise(begun)]


def _train(training: str, folder: str, kill: Any, pipe: Connection) -> None:
    """The child's work."""
    tempfile.tempdir = os.path.dirname(folder)
    calls: list[str] = []
    begins = [0]  # how many calls there had been when the process, and then each epoch, began

    def epoch_begins() -> None:
        begins.append(len(calls))
        pipe.send(_EPOCH_BEGINS)

    def is_now() -> bool:
        if not isinstance(kill, AtCall):
            return False
        begun = kill.epoch + 1 if kill.epoch else 0
        return begun < len(begins) and len(calls) >= begins[begun] + kill.number

    def note(name: str, arguments: tuple[Any, ...], call: Any) -> Any:
        if is_now():
            if name == "write":
                call(arguments[0], arguments[1][: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        calls.append(name)
        return call(*arguments)

    with tapped(note):
        report = getattr(trainings, training)(folder, epoch_begins)
    pipe.send((report, calls))
