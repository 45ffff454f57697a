"""The background thread: one item in flight, no error lost, nobody waits in vain."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from outlast.exceptions import UsageError
from outlast.storage.disk.writer import Writer

WAIT = 30  # seconds, after which a test that hangs fails


@pytest.fixture
def writer() -> Iterator[Writer]:
    writer = Writer()
    yield writer
    writer.close()


def test_items_run_one_after_the_other_on_one_other_thread(writer: Writer) -> None:
    threads = []
    for _ in range(3):
        writer.submit(lambda: threads.append(threading.get_ident()))
    writer.flush()
    assert len(threads) == 3
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


def test_training_goes_on_while_an_item_is_written(writer: Writer) -> None:
    go, done = threading.Event(), []

    def slow() -> None:
        assert go.wait(WAIT)
        done.append("written")

    writer.submit(slow)
    assert done == []  # reached although the item has not ended
    go.set()
    writer.flush()
    assert done == ["written"]


def test_the_next_item_waits_for_the_one_in_flight(writer: Writer) -> None:
    started, go, done = threading.Event(), threading.Event(), []

    def slow() -> None:
        started.set()
        assert go.wait(WAIT)
        done.append("first")

    writer.submit(slow)
    assert started.wait(WAIT)
    second = threading.Thread(target=lambda: writer.submit(lambda: done.append("second")))
    second.start()
    second.join(0.05)
    assert second.is_alive() and done == []
    go.set()
    second.join(WAIT)
    writer.flush()
    assert done == ["first", "second"]


@pytest.mark.parametrize("call", ["submit", "flush", "close"])
def test_an_error_is_raised_at_the_next_call_once(call: str) -> None:
    writer, ran = Writer(), threading.Event()

    def broken() -> None:
        raise OSError("the disk is full")

    writer.submit(broken)
    assert writer._item is not None
    writer._item.wait()  # but do not ask for the error
    with pytest.raises(OSError, match="the disk is full"):
        getattr(writer, call)(*([ran.set] if call == "submit" else []))
    writer.close()
    assert not ran.is_set()


def test_the_thread_goes_on_after_an_error(writer: Writer) -> None:
    def broken() -> None:
        raise ValueError("no")

    writer.submit(broken)
    with pytest.raises(ValueError):
        writer.flush()
    done: list[str] = []
    writer.submit(lambda: done.append("yes"))
    writer.flush()
    assert done == ["yes"]


def test_a_closed_writer_takes_nothing_and_its_thread_is_gone() -> None:
    writer = Writer()
    before = threading.active_count()
    writer.submit(lambda: None)
    writer.close()
    writer.close()
    assert threading.active_count() == before
    with pytest.raises(UsageError, match="closed"):
        writer.submit(lambda: None)


def test_a_writer_that_never_wrote_can_be_closed() -> None:
    Writer().close()


@pytest.mark.skipif(sys.platform != "linux", reason="nice belongs to the process elsewhere")
def test_the_thread_is_polite_and_the_others_are_not_touched(writer: Writer) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    seen = []
    writer.submit(lambda: seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    writer.flush()
    assert seen == [19]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def until_somebody_waits(writer: Writer) -> None:
    deadline = time.monotonic() + WAIT
    while not writer._helpers:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.skipif(sys.platform != "linux", reason="nice belongs to the process elsewhere")
def test_work_moves_to_a_thread_of_the_priority_of_who_waits(writer: Writer) -> None:
    priorities: list[int] = []

    def pieces() -> Iterator[None]:
        for number in range(5):
            if number == 2:
                until_somebody_waits(writer)
            priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            yield

    writer.submit(lambda: writer.drain(pieces()))
    writer.flush()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    # Whether the first two were lent already depends on who was faster.
    assert priorities[2:] in ([19, own, own], [own, own, own])
    assert own != 19


def test_an_error_in_lent_work_fails_the_item(writer: Writer) -> None:
    def pieces() -> Iterator[None]:
        until_somebody_waits(writer)
        yield
        raise OSError("in the lent part")

    writer.submit(lambda: writer.drain(pieces()))
    with pytest.raises(OSError, match="in the lent part"):
        writer.flush()


@contextmanager
def interrupted_at(number: int, *sources: str) -> Iterator[list[str]]:
    """Ctrl-C before the line of that number, counted over all that this thread runs of these files."""
    lines = 0
    where: list[str] = []

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.endswith(sources):
            return None
        if event == "line":
            lines += 1
            if lines == number and not where:
                where.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield where
    except KeyboardInterrupt:
        assert where
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("error", [None, OSError("the disk is full")])
def test_whatever_line_of_the_foreground_is_interrupted_the_writer_ends(error: Exception | None) -> None:
    """No line between taking part in an item and leaving it may keep the writer waiting."""
    tried = set()
    for number in range(1, 2000):
        writer, done = Writer(), []

        def pieces(writer: Writer = writer, done: list[int] = done) -> Iterator[None]:
            for piece in range(3):
                for _ in range(50):
                    if not writer._helpers:
                        time.sleep(0.0002)
                done.append(piece)
                yield
            if error is not None:
                raise error

        with interrupted_at(number, "disk/writer.py") as where:
            writer.submit(lambda: writer.drain(pieces()))  # noqa: B023
            with suppress(OSError):
                writer.flush()
            writer.close()
        if not where:
            break
        tried.add(*where)
        later = threading.Thread(target=ended, args=(writer,))
        later.start()
        later.join(WAIT)
        assert not later.is_alive(), f"interrupted at {where}, it waits for ever"
        assert done in ([], [0, 1, 2]), f"interrupted at {where}"
    assert len(tried) > 30
    assert {"submit", "_start", "_wait", "wait", "flush", "close", "_finish"} <= {
        where.partition(":")[0] for where in tried
    }


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("thread", ["the writer's", "the helper's"])
def test_the_start_of_a_thread_can_be_interrupted(
    monkeypatch: pytest.MonkeyPatch, thread: str, started: bool
) -> None:
    writer, done = Writer(), []
    real = threading.Thread.start

    def start(self: threading.Thread) -> None:
        if started:
            real(self)
        raise KeyboardInterrupt

    if thread == "the helper's":
        writer.submit(lambda: None)
        writer.flush()
        go = threading.Event()
        writer.submit(lambda: (go.wait(WAIT), done.append("first")))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(KeyboardInterrupt):
            writer.submit(lambda: done.append("second"))
    if thread == "the helper's":
        go.set()
    writer.submit(lambda: done.append("third"))
    writer.close()
    assert done in (["first", "third"], ["third"])


def ended(writer: Writer) -> None:
    """What a program does with a writer at its end."""
    with suppress(OSError):
        writer.flush()
    with suppress(OSError):
        writer.close()
    assert writer._item is None or writer._item.ended


def test_an_item_whose_submit_was_interrupted_is_written_before_the_next(writer: Writer) -> None:
    """Else the next copies its state over the one that is being written."""
    done: list[str] = []

    def interrupted(token: None) -> None:
        raise KeyboardInterrupt

    writer.submit(lambda: None)
    writer.flush()
    wake = writer._wake
    writer._wake = SimpleNamespace(put=interrupted)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        writer.submit(lambda: done.append("first"))
    writer._wake = wake
    writer.submit(lambda: done.append("second"))
    writer.flush()
    assert done == ["first", "second"]


def test_a_state_that_was_written_is_let_go(writer: Writer) -> None:
    state = np.zeros(9)
    alive = weakref.ref(state)
    writer.submit(partial(np.sum, state))
    writer.flush()
    del state
    assert alive() is None


def test_work_is_done_even_when_no_thread_can_be_started(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    tried = threading.Event()

    def pieces() -> Iterator[None]:
        for number in range(3):
            assert tried.wait(WAIT)
            done.append(number)
            yield

    def refused(thread: threading.Thread) -> None:
        tried.set()
        raise RuntimeError("can't create new thread at interpreter shutdown")

    writer.submit(lambda: writer.drain(pieces()))
    monkeypatch.setattr(threading.Thread, "start", refused)
    writer.flush()
    assert done == [0, 1, 2]


SCRIPT = """
import time
from outlast.storage.disk.writer import Writer
writer = Writer()
writer.submit(lambda: (time.sleep(0.3), print("written", flush=True)))
"""


def test_a_script_that_ends_without_a_word_still_ends_its_writing() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, timeout=WAIT
    )
    assert (done.stdout, done.stderr, done.returncode) == ("written\n", "", 0)


def test_a_script_that_fails_still_ends_its_writing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + "raise SystemExit(3)"],
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("written\n", "", 3)


def test_a_forked_child_neither_writes_nor_waits(writer: Writer) -> None:
    go = threading.Event()
    writer.submit(lambda: go.wait(WAIT))
    child = os.fork()
    if child == 0:
        try:
            writer.flush()
            writer.submit(lambda: None)
        except UsageError:
            writer.close()
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go.set()


def test_without_a_thread_an_item_runs_where_it_is_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    writer, ran = Writer(), []

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        writer.submit(lambda: ran.append(threading.current_thread()))
        writer.submit(lambda: 1 / 0)
        assert ran == [threading.current_thread()]
        with pytest.raises(ZeroDivisionError):
            writer.flush()
    writer.submit(lambda: ran.append(threading.current_thread()))
    writer.close()
    assert ran[1] is not ran[0]
