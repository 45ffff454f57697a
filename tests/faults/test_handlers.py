"""Who hears a signal: the Run while it trains, then the script's own handler; that alone once it ended."""

from __future__ import annotations

import errno
import faulthandler
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.faults.training import debris, report, train, writers
from tests.storage.tap import tapped

import outlast
from outlast.run import sent_again
from outlast.testing import FakeAdapter

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@pytest.fixture(autouse=True)
def heard() -> Iterator[list[int]]:
    """Signals that reached the handlers of this test's own, which stand where a user's would."""
    heard: list[int] = []
    before = {number: signal.signal(number, lambda number, _: heard.append(number)) for number in SIGNALS}
    ours = {number: signal.getsignal(number) for number in SIGNALS}
    yield heard
    after = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == ours, "a handler was not put back"


@pytest.fixture
def nobodys(heard: list[int]) -> Iterator[None]:
    """The handlers that Python begins with stand there instead."""
    defaults = {number: signal.SIG_DFL for number in SIGNALS} | {signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    assert heard == []


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def leave(how: str, folder: Path) -> None:
    """A training that ends in one of many ways."""
    run = outlast.Run(folder, adapter=FakeAdapter())
    for epoch in run.epochs(3):
        assert {signal.getsignal(number) for number in SIGNALS} == {run._signals._handle}
        if epoch == 1 and how == "by break":
            break
        if epoch == 1 and how == "by an error":
            raise ZeroDivisionError
        if epoch == 1 and how == "by stop()":
            run.stop("enough")


@pytest.mark.parametrize("how", ["at its end", "by break", "by stop()", "by an error"])
def test_handlers_are_put_back_however_a_loop_is_left(tmp_path: Path, how: str) -> None:
    writing = writers()
    try:
        leave(how, tmp_path / "run")
    except ZeroDivisionError:
        assert how == "by an error"
    assert writers() == writing


class Died(Exception):
    """What ends a fit here."""


def fit(run: outlast.Run | None, act: Callable[[], object]) -> None:
    """As Keras's: it calls hooks, and if an error ends it, nobody is told."""
    if run is None:
        act()
        return
    run.on_train_begin()
    for epoch in range(run._progress.next_epoch, 3):
        run.on_epoch_begin(epoch)
        act()
        run.on_epoch_end(epoch, {"loss": 1.0})
    run.on_train_end()


def die() -> None:
    raise Died


@pytest.mark.usefixtures("nobodys")
@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_at_the_very_end_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, raised: type[BaseException]
) -> None:
    """It comes when the last safe point is passed, and the handlers are about to be put back."""
    run = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
    close = run._close

    def signalled() -> None:
        monkeypatch.undo()
        send(number)
        close()

    monkeypatch.setattr(run, "_close", signalled)
    with pytest.raises(raised):
        for _ in run.epochs(2):
            pass
    assert outlast.open_run(tmp_path / "run").status == "finished"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_finds_the_training_gone_goes_to_who_had_it_before(
    tmp_path: Path, heard: list[int], number: int
) -> None:
    run = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
    with pytest.raises(Died):
        fit(run, die)
    assert signal.getsignal(number) == run._signals._handle
    send(number)
    assert heard == [number]
    assert signal.getsignal(number) != run._signals._handle


@pytest.mark.parametrize("number", SIGNALS)
def test_a_training_that_died_is_not_taken_for_another_of_the_same_function(
    tmp_path: Path, heard: list[int], number: int
) -> None:
    """The second runs where the first ran, perhaps with its frame in the same place of memory."""
    with pytest.raises(Died):
        fit(outlast.Run(tmp_path / "run", adapter=FakeAdapter()), die)
    fit(None, lambda: send(number))
    assert heard == [number]


def test_a_training_that_died_is_followed_by_the_next_one_at_once(tmp_path: Path, heard: list[int]) -> None:
    writing = writers()
    with pytest.raises(Died):
        fit(outlast.Run(tmp_path / "run", adapter=FakeAdapter()), die)
    run = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
    fit(run, lambda: None)
    assert run.history["loss"] == [1.0, 1.0, 1.0]
    assert writers() == writing


def test_two_trainings_at_once_put_the_handlers_back_in_whichever_order_they_end(tmp_path: Path) -> None:
    for epochs in ((1, 2), (2, 1)):
        runs = [outlast.Run(tmp_path / f"{epochs}{i}", adapter=FakeAdapter()) for i in range(2)]
        for _ in zip_longest(runs[0].epochs(epochs[0]), runs[1].epochs(epochs[1])):
            pass


@pytest.mark.usefixtures("nobodys")
@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_the_first_signal_ends_the_training_at_its_next_safe_point(
    tmp_path: Path, number: int, raised: type[BaseException]
) -> None:
    run = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
    done = []
    with pytest.raises(raised):
        for epoch in run.epochs(3):
            for batch in run.batches(range(3)):
                if (epoch, batch) == (1, 1):
                    send(number)
                done.append((epoch, batch))  # the step is finished
    assert done == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert outlast.open_run(tmp_path / "run").committed == (0, None)


@pytest.mark.usefixtures("nobodys")
@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_the_second_signal_ends_it_where_it_is(
    tmp_path: Path, number: int, raised: type[BaseException]
) -> None:
    run = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
    with pytest.raises(raised):
        for _ in run.epochs(3):
            for _ in run.batches(range(3)):
                send(number)
                send(number)
                pytest.fail("it went on")


@pytest.mark.usefixtures("nobodys")
def test_a_second_signal_that_somebody_swallows_ends_the_training_at_the_next_safe_point(
    tmp_path: Path,
) -> None:
    run = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
    batches = 0
    with pytest.raises(KeyboardInterrupt):
        for _ in run.epochs(3):
            for _ in run.batches(range(3)):
                batches += 1
                try:
                    send(signal.SIGINT)
                    send(signal.SIGINT)
                except KeyboardInterrupt:
                    pass
    assert batches == 1


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """As ``nohup`` leaves it, or a shell for a job in the background."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        for _ in outlast.Run(tmp_path / "run", adapter=FakeAdapter()).epochs(2):
            send(signal.SIGUSR1)
            assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_handler_that_somebody_else_put_there_meanwhile_stays(tmp_path: Path) -> None:
    def theirs(*_: object) -> None: ...

    mine = signal.getsignal(signal.SIGUSR1)
    for _ in outlast.Run(tmp_path / "run", adapter=FakeAdapter()).epochs(1):
        signal.signal(signal.SIGUSR1, theirs)
    assert signal.signal(signal.SIGUSR1, mine) is theirs


def test_no_handler_is_installed_outside_the_main_thread_or_without_a_folder(tmp_path: Path) -> None:
    found: list[Any] = []

    def go(folder: Path | None) -> None:
        for _ in outlast.Run(folder, adapter=FakeAdapter()).epochs(1):
            found.extend(signal.getsignal(number).__qualname__ for number in SIGNALS)

    thread = threading.Thread(target=go, args=[tmp_path / "run"])
    thread.start()
    thread.join()
    go(None)
    assert len(found) == 6
    assert {"Signals" in name for name in found} == {False}


class Interrupted:
    """Ctrl-C comes right before the call of that number."""

    def __init__(self, number: int) -> None:
        self.number, self.made = number, 0

    def __call__(self, name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        self.made += 1
        if self.made == self.number + 1 and name != "close":
            raise KeyboardInterrupt
        return real(*arguments)


def test_ctrl_c_while_a_start_puts_the_folder_in_order_leaves_nothing_in_the_way_of_the_next(
    tmp_path: Path, memory_disk: Path
) -> None:
    """At each of its calls; the next start is in the same process, as a notebook's is."""
    right = report(train(memory_disk / "undisturbed", epochs=3))
    folder = memory_disk / "run"
    train(folder, epochs=1)
    interrupted = 0
    for number in range(1000):
        os.truncate(folder / "history.csv", 10)  # something to mend
        calls = Interrupted(number)
        try:
            with tapped(calls):
                train(folder, epochs=1)
        except KeyboardInterrupt:
            interrupted += 1
        if calls.made <= number:
            break
    assert interrupted > 10
    assert report(train(folder, epochs=3)) == right
    assert debris(folder) == []


@pytest.mark.usefixtures("nobodys")
@pytest.mark.parametrize("where", ["training", "validation"])
def test_keras_fit_finishes_the_step_at_hand_and_no_more(tmp_path: Path, where: str) -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((100, 2)), np.ones((100, 1))
    after: list[str] = []

    def step(name: str) -> Callable[..., None]:
        def count(batch: int, logs: object = None) -> None:
            if after or (name == where and batch == 1):
                after.append(name)
            if after == [name]:
                send(signal.SIGTERM)

        return count

    counter = keras.callbacks.Callback()
    counter.on_train_batch_end, counter.on_test_batch_end = step("training"), step("validation")
    run = outlast.Run(tmp_path / "run", outlast.CSVLogger())
    data = {"validation_data": (x, y), "batch_size": 1, "epochs": 3}
    with pytest.raises(SystemExit):
        model.fit(x, y, verbose=0, callbacks=[run, counter], **data)
    assert after == [where]
    assert run.committed is None
    assert run.history.rows == []


def test_a_save_that_failed_for_a_training_that_died_is_told_by_the_next_which_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody asked the training that died any more."""
    full, failed = False, threading.Event()

    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        if full and name == "pwrite":
            failed.set()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    def die_later() -> None:
        nonlocal full
        if full:
            failed.wait()
            raise Died
        run.flush()
        full = run.committed == (0, None)

    run = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
    with tapped(hook), pytest.raises(Died):
        fit(run, die_later)
    full = False
    capsys.readouterr()
    again = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
    fit(again, lambda: None)
    said = capsys.readouterr().out
    assert "the last save before this start failed: Cannot write" in said
    assert "resumed" in said and "at epoch 2, resume point 1" in said
    assert again.history["loss"] == [1.0, 1.0, 1.0]
    assert debris(tmp_path / "run") == []


def trained(
    folder: Path, at: tuple[int, int] | None = None, number: int = 0, times: int = 1, **how: Any
) -> Any:
    """A short training that gets a signal in a batch; what came of it."""
    random.seed(3)
    adapter = FakeAdapter({"w": [0.3]})
    run = outlast.Run(folder, adapter=adapter, **how)
    for epoch in run.epochs(3):
        for batch in run.batches(range(5)):
            for _ in range(times if (epoch, batch) == at else 0):
                send(number)
            adapter.weights["w"][0] += batch * random.random()
            run.log(loss=adapter.weights["w"][0])
    return run.history["loss"], list(adapter.weights["w"])


@pytest.fixture
def scripts(heard: list[int]) -> Iterator[Callable[[int, Callable[[], object]], None]]:
    """Have the script's own handler for a signal do something."""
    before: dict[int, Any] = {}

    def handle(number: int, act: Callable[[], object]) -> None:
        before.setdefault(number, signal.signal(number, lambda *_: (heard.append(number), act())))

    yield handle
    for number, handler in before.items():
        signal.signal(number, handler)


Scripts = Callable[[int, Callable[[], object]], None]
Out = pytest.CaptureFixture[str]


@pytest.mark.parametrize("number", [*SIGNALS, signal.SIGUSR2, signal.SIGHUP, signal.SIGXCPU])
@pytest.mark.parametrize("every", [3, "epoch"], ids=str)
def test_a_handler_of_the_script_that_returns_changes_nothing(
    tmp_path: Path, heard: list[int], scripts: Scripts, capsys: Out, number: int, every: Any
) -> None:
    seen: list[Any] = []
    scripts(number, lambda: seen.append(outlast.open_run(tmp_path / "run").committed))
    whole = trained(tmp_path / "whole", save_every=every)
    assert trained(tmp_path / "run", (1, 1), number, save_every=every) == whole
    assert heard == [number]
    assert seen == [(1, 1) if every == 3 else (0, None)]
    shown = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    saved = "epoch 2 up to batch 2" if every == 3 else "epoch 1"
    assert (
        f"outlast: {shown}: {saved} is saved; the script's own handler is called\n" in capsys.readouterr().out
    )


@pytest.mark.parametrize("every", [3, "epoch"], ids=str)
@pytest.mark.parametrize("at", [(0, 0), (1, 1), (2, 4)], ids=str)
def test_a_handler_of_the_script_that_exits_leaves_a_run_that_goes_on(
    tmp_path: Path, heard: list[int], scripts: Scripts, at: tuple[int, int], every: Any
) -> None:
    whole = trained(tmp_path / "whole", save_every=every)
    scripts(signal.SIGTERM, lambda: sys.exit(3))
    with pytest.raises(SystemExit) as ended:
        trained(tmp_path / "run", at, signal.SIGTERM, save_every=every)
    assert ended.value.code == 3
    if at[0] or every == 3:
        before = (at[0] - 1, None)
        assert outlast.open_run(tmp_path / "run").committed == (at if every == 3 else before)
    assert trained(tmp_path / "run", save_every=every) == whole
    assert heard == [signal.SIGTERM]
    assert debris(tmp_path / "run") == []


def test_a_second_signal_of_the_kind_does_not_wait_for_the_save(
    tmp_path: Path, heard: list[int], scripts: Scripts
) -> None:
    seen: list[Any] = []
    scripts(signal.SIGTERM, lambda: seen.append(outlast.open_run(tmp_path / "run").committed))
    trained(tmp_path / "run", (1, 1), signal.SIGTERM, times=2, save_every=3)
    assert seen[0] in [(0, 2), (0, None)] and seen[1] == (1, 1)
    assert heard == [signal.SIGTERM] * 2


def test_a_handler_of_the_script_hears_of_a_signal_in_a_batch_that_a_break_leaves(
    tmp_path: Path, heard: list[int]
) -> None:
    run = outlast.Run(tmp_path / "run", adapter=FakeAdapter(), save_every=3)
    for _ in run.epochs(3):
        for _ in run.batches(range(5)):
            send(signal.SIGTERM)
            break
        break
    for _ in range(10_000):  # it is sent once more, from another thread
        if heard:
            break
        time.sleep(0.001)
    assert heard == [signal.SIGTERM]


def test_two_trainings_at_once_call_the_handler_of_the_script_once(tmp_path: Path, heard: list[int]) -> None:
    outer, inner = (outlast.Run(tmp_path / name, adapter=FakeAdapter()) for name in ("outer", "inner"))
    for _ in outer.epochs(1):
        for _ in inner.epochs(1):
            send(signal.SIGTERM)
    assert heard == [signal.SIGTERM]
    assert outer.finished and inner.finished


def test_keras_fit_saves_and_calls_a_handler_of_the_script(
    tmp_path: Path, heard: list[int], scripts: Scripts
) -> None:
    keras = pytest.importorskip("keras")
    x, y = np.ones((20, 2)), np.ones((20, 1))
    seen: list[Any] = []
    scripts(signal.SIGTERM, lambda: seen.append(outlast.open_run(tmp_path / "run").committed))

    def fit(folder: str, at: int = -1) -> Any:
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        sends = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: send(signal.SIGTERM) if batch == at else None
        )
        run = outlast.Run(tmp_path / folder, save_every=100)
        model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[run, sends])
        return [one.tolist() for one in model.get_weights()], run.history["loss"]

    whole = fit("whole")
    assert fit("run", at=2) == whole
    assert heard == [signal.SIGTERM] * 2
    assert seen == [(0, 2), (1, 2)]


@pytest.mark.parametrize("way", ["in the batch", "at the epoch's end", "after the run's"])
@pytest.mark.parametrize("every", [2, "epoch"], ids=str)
@pytest.mark.parametrize("at", [1, 4])
def test_a_fit_that_a_handler_of_the_script_stops_is_gone_on_with(
    tmp_path: Path, heard: list[int], scripts: Scripts, capsys: Out, way: str, every: Any, at: int
) -> None:
    keras = pytest.importorskip("keras")
    x, y = np.ones((20, 2)), np.ones((20, 1))
    flags: list[str] = []
    scripts(signal.SIGTERM, lambda: flags.append("stop"))

    def fit(folder: str, epoch_of_signal: int = -1) -> Any:
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        epochs: list[int] = []

        class Stops(keras.callbacks.Callback):  # type: ignore[misc]
            """What people write: the handler sets a flag, and a callback heeds it."""

            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                epochs.append(epoch)

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                if epochs[-1] == epoch_of_signal and batch == at:
                    send(signal.SIGTERM)
                if flags and way == "in the batch":
                    self.model.stop_training = True

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                if flags:
                    self.model.stop_training = True

        run = outlast.Run(tmp_path / folder, [outlast.CSVLogger()], save_every=every)
        callbacks = [run, Stops()] if way == "after the run's" else [Stops(), run]
        model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=callbacks)
        return run, ([one.tolist() for one in model.get_weights()], run.history["loss"])

    _, whole = fit("whole")
    run, _ = fit("run", 1)
    assert heard == [signal.SIGTERM]
    assert not run.finished
    flags.clear()
    capsys.readouterr()
    run, end = fit("run")
    assert end == whole
    assert run.finished
    assert "the run is finished" not in capsys.readouterr().out
    assert debris(tmp_path / "run") == []


def test_a_stretch_in_which_a_handler_of_the_script_was_called_is_no_check(
    tmp_path: Path, heard: list[int], scripts: Scripts, capsys: Out
) -> None:
    halve: list[Callable[[], object]] = []
    scripts(signal.SIGUSR1, lambda: halve[-1]())

    def loop(until: int | None) -> Any:
        adapter = FakeAdapter({"w": [8.0]})
        halve.append(lambda: adapter.weights.update(w=[adapter.weights["w"][0] / 2]))
        run = outlast.Run(tmp_path / "run", adapter=adapter, save_every=2)
        for _ in run.epochs(1):
            for batch in run.batches(range(10)):
                adapter.weights["w"] = [adapter.weights["w"][0] + 1]
                if batch == 4 and until is not None:
                    send(signal.SIGUSR1)
                if batch == until:
                    return run.flush()
        return adapter.weights["w"][0]

    loop(6)
    assert loop(None) == (8 + 5) / 2 + 5
    told = "after batch 6, resume point 4; not checked: a handler of the script's own was called in between"
    assert told in capsys.readouterr().out


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="nobody can tell of handlers in C here")
def test_a_handler_in_c_stays(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    with (tmp_path / "stacks").open("w") as file:
        faulthandler.register(signal.SIGUSR2, file)
        try:
            trained(tmp_path / "run", (1, 1), signal.SIGUSR2, save_every=3)
        finally:
            faulthandler.unregister(signal.SIGUSR2)
            signal.signal(signal.SIGUSR2, before)
    assert "in trained" in (tmp_path / "stacks").read_text()


def test_the_handler_for_ended_children_is_back_when_the_script_goes_on(tmp_path: Path) -> None:
    def hear(number: int, frame: Any) -> None: ...

    before = signal.signal(signal.SIGCHLD, hear), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        run = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
        with pytest.raises(SystemExit):
            for _ in run.epochs(2):
                for batch in run.batches(range(3)):
                    signal.raise_signal(signal.SIGTERM)
                    run.log(loss=batch)
        assert signal.getsignal(signal.SIGCHLD) is hear
    finally:
        for number, handler in zip((signal.SIGCHLD, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)


def test_workers_that_end_late_raise_nothing_where_the_script_goes_on(tmp_path: Path) -> None:
    ended = []

    def hear(number: int, frame: Any) -> None:
        ended.append(number)
        raise RuntimeError("a worker was ended by a signal")  # as PyTorch's does

    worker = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(100,))
    before = signal.signal(signal.SIGCHLD, hear), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        worker.start()
        run = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
        with pytest.raises(SystemExit):
            for _ in run.epochs(2):
                for batch in run.batches(range(3)):
                    signal.raise_signal(signal.SIGTERM)
                    run.log(loss=batch)
        worker.terminate()
        worker.join()
        assert ended and signal.getsignal(signal.SIGCHLD) is hear
        with pytest.raises(RuntimeError, match="a worker"):
            signal.raise_signal(signal.SIGCHLD)
    finally:
        for number, handler in zip((signal.SIGCHLD, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)


def test_a_signal_sent_again_that_nobody_hears_is_sent_until_somebody_does(
    heard: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []

    def kill(process: int, number: int) -> None:
        sent.append(number)
        if len(sent) > 2:  # the first came just before a call that waits
            signal.raise_signal(number)
            signal.raise_signal(number)

    monkeypatch.setattr(sent_again.os, "kill", kill)
    ours = signal.getsignal(signal.SIGTERM)
    sent_again.send_again([signal.SIGTERM], [])
    deadline = time.monotonic() + 30
    while not heard and time.monotonic() < deadline:
        time.sleep(0.01)
    assert heard == [signal.SIGTERM] and len(sent) == 3
    assert signal.getsignal(signal.SIGTERM) is ours
