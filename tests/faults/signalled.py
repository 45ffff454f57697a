"""Child processes that train and are sent signals: at a moment, in a validation, in a save, in a recovery."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from tests.crash import trainings
from tests.faults import workers
from tests.storage.tap import tapped

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 138}  # as a shell sees them
_IMPORTED_ONCE = ["keras", "tensorflow", "torch._dynamo", "tests.faults.signalled", "tests.frozen"]
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "XLA_FLAGS": "--xla_backend_optimization_level=0",  # most of a small fit's time is its compilation
}
_EPOCH_BEGINS = "epoch begins"


@dataclass(frozen=True)
class AtMoment:
    """Sent by the parent, ``seconds`` after the child has begun so many epochs and one more."""

    epoch: int
    seconds: float


@dataclass(frozen=True)
class AtCall:
    """Sent by the child to itself, before the call of that number which changes the disk."""

    number: int


@dataclass(frozen=True)
class AtValidation:
    """Sent by the child to itself, when the validation of that number has begun."""

    number: int


@dataclass(frozen=True)
class Signal:
    """One signal, or two.

    Args:
        number: the signal's.
        when: it is sent.
        again: seconds after which it is sent once more; None: it is not.
        group: it goes to the child's workers too, as a terminal's Ctrl-C does.
    """

    number: signal.Signals
    when: AtMoment | AtCall | AtValidation
    again: float | None = None
    group: bool = False

    def send(self, process: int) -> None:
        """To the process, or to its group."""
        with suppress(ProcessLookupError):
            self._send(process)
            if self.again is not None:
                time.sleep(self.again)
                self._send(process)

    def _send(self, process: int) -> None:
        (os.killpg if self.group else os.kill)(process, self.number)


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Args:
        code: its exit code, as a shell tells it.
        report: of the training, if it came to its end.
        calls: how many calls changed the disk, if it came to its end.
        epochs: seconds that each epoch took.
        said: what it wrote to its standard error.
    """

    code: int
    report: trainings.Report | None
    calls: int
    epochs: list[float]
    said: str


def run(training: str, folder: Path, sent: Signal | None = None) -> Ended:
    """Train in a child process, forked from one that has imported the frameworks and done no more.

    Args:
        training: name of a function of ``tests.crash.trainings`` or ``tests.faults.workers``.
        folder: the run's.
        sent: what is sent to it.
    """
    multiprocessing.set_forkserver_preload(_IMPORTED_ONCE)
    context: Any = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=_train, args=(training, str(folder), sent, theirs), daemon=False)
    with _environment():
        process.start()
    theirs.close()
    try:
        last, epochs = _listen(ours, process.pid, sent)
        process.join()
    finally:
        process.kill()
        ours.close()
    report, calls = last or (None, 0)
    code = 128 - process.exitcode if process.exitcode < 0 else process.exitcode
    return Ended(code, report, calls, epochs, folder.with_suffix(".stderr").read_text())


@contextmanager
def _environment() -> Iterator[None]:
    """What a child's libraries read when they are loaded."""
    before = dict(os.environ)
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _listen(pipe: Connection, process: int, sent: Signal | None) -> tuple[Any, list[float]]:
    """Hear a child to its end, and send it its signal; returns its last word and its epochs' seconds."""
    begun: list[float] = []
    last = None
    with suppress(EOFError, OSError):
        while True:
            heard = pipe.recv()
            begun.append(time.monotonic())
            last = None if heard == _EPOCH_BEGINS else heard
            if sent and isinstance(sent.when, AtMoment) and len(begun) == sent.when.epoch + 1:
                time.sleep(sent.when.seconds)
                sent.send(process)
                pipe.send("sent")
    return last, [end - begin for begin, end in itertools.pairwise(begun)]


def _train(training: str, folder: str, sent: Signal | None, pipe: Connection) -> None:
    """The child's work; it ends as Python's own main program does."""
    os.setsid()
    os.dup2(os.open(Path(folder).with_suffix(".stderr"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    tempfile.tempdir = os.path.dirname(folder)
    train = getattr(workers, training, None) or getattr(trainings, training)
    report, epochs = None, itertools.count()

    def epoch_begins() -> None:
        pipe.send(_EPOCH_BEGINS)
        if sent and isinstance(sent.when, AtMoment) and next(epochs) == sent.when.epoch + 1:
            pipe.poll(60)  # a slow machine must not let us come to our end before the signal does

    try:
        with _sending_itself(sent) as calls:
            report = train(folder, epoch_begins)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as to a second one, that comes while this is told
        sys.excepthook(*sys.exc_info())
    if report is None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    pipe.send((report, len(calls)))


@contextmanager
def _sending_itself(sent: Signal | None) -> Iterator[list[str]]:
    """Count the calls that change the disk, and send the signal when its moment has come."""
    calls: list[str] = []
    validations = itertools.count()

    def on_call(name: str, arguments: tuple[Any, ...], call: Any) -> Any:
        if sent and sent.when == AtCall(len(calls)):
            sent.send(os.getpid())
        calls.append(name)
        return call(*arguments)

    def on_validation() -> None:
        if sent and sent.when == AtValidation(next(validations)):
            sent.send(os.getpid())

    with tapped(on_call), _hearing_of_validations(on_validation):
        yield calls


@contextmanager
def _hearing_of_validations(hear: Callable[[], object]) -> Iterator[None]:
    """Keras tells the Run when one begins; a loop in PyTorch puts its model into another mode."""
    import torch

    import outlast

    def after(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            result = function(*arguments, **named)
            hear()
            return result

        return called

    outlast.Run.on_test_begin = after(outlast.Run.on_test_begin)  # type: ignore[method-assign]
    torch.nn.Module.eval = after(torch.nn.Module.eval)  # type: ignore[method-assign]
    yield  # the process ends here


class Signaller:
    """Sends signals to one kind of training, starts it again until it ends, and compares.

    Args:
        training: name of the training.
        folder: where runs are kept.
        seed: of all that is random here.
    """

    def __init__(self, training: str, folder: Path, seed: int) -> None:
        self.training, self.folder = training, folder
        self._rng = Random(f"{training} {seed}")
        self.uninterrupted = run(training, folder / "uninterrupted")
        assert self.uninterrupted.report is not None, self.uninterrupted.said

    def at_random(self, number: signal.Signals, **more: Any) -> Signal:
        """In an epoch that a process does not often survive: training, validation or save."""
        epoch, share = divmod(self._rng.uniform(0, 2), 1)
        return Signal(number, AtMoment(int(epoch), share * self.uninterrupted.epochs[int(epoch) + 1]), **more)

    def in_a_save(self, number: signal.Signals, **more: Any) -> Signal:
        """Before one of the calls of a process's first two saves."""
        each = self.uninterrupted.calls / len(self.uninterrupted.epochs)
        return Signal(number, AtCall(20 + self._rng.randrange(int(1.5 * each))), **more)

    def in_a_validation(self, number: signal.Signals, **more: Any) -> Signal:
        """In one of a process's first two."""
        return Signal(number, AtValidation(self._rng.randrange(2)), **more)

    def in_a_recovery(self, number: signal.Signals) -> Signal:
        """Before one of the calls that open the run's folder."""
        return Signal(number, AtCall(self._rng.randrange(8)))

    def campaign(self, name: str, signals: list[Signal]) -> tuple[list[Ended], list[str]]:
        """Train in a new folder; each process gets a signal, the last comes to the end.

        Returns how those ended that got one, and what differs from the training that got none.
        """
        folder = self.folder / name
        ended = [run(self.training, folder, one) for one in signals]
        last = run(self.training, folder)
        right, report = self.uninterrupted.report or {}, last.report or {"": last.said}
        return ended, [part for part in right if report.get(part) != right[part]]
