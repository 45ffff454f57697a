"""Work beside the caller's comes back in its order, with its errors, with or without threads."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from outlast.storage.disk import beside, files
from outlast.storage.disk.calls import calls

MUCH = 64 << 20


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_cores", lambda: 3)


def test_results_come_in_the_order_of_the_items_whoever_did_the_work() -> None:
    threads: set[str] = set()
    meeting = threading.Barrier(3)

    def work(item: int) -> int:
        if threading.current_thread().name not in threads:
            threads.add(threading.current_thread().name)
            meeting.wait(60)  # all three have begun
        return item * 2

    sizes = [MUCH, 1, MUCH, 1, 1, MUCH, 1]
    assert beside.mapped(work, range(7), sizes) == [0, 2, 4, 6, 8, 10, 12]
    assert len(threads) == 3


def test_a_little_work_needs_no_thread() -> None:
    here = threading.current_thread()
    assert beside.mapped(lambda item: threading.current_thread(), [1, 2], [1, 1]) == [here, here]


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_an_error_is_raised_once_nobody_works_any_more(bad: int) -> None:
    done = []
    others_may_go_on = threading.Event()

    def work(item: int) -> None:
        if item == bad:
            others_may_go_on.set()
            raise OSError(f"item {item}")
        others_may_go_on.wait(60)
        done.append(item)

    with pytest.raises(OSError, match=f"item {bad}"):
        beside.mapped(work, range(3), [MUCH] * 3)
    assert sorted(done) == sorted({0, 1, 2} - {bad})


def test_where_no_thread_is_to_be_had_the_caller_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: Any) -> NoReturn:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert beside.mapped(str, range(4), [MUCH] * 4) == ["0", "1", "2", "3"]
    with pytest.raises(ValueError, match="invalid literal"):
        work = beside.Work(int, "x")
        work.begin()
        work.result()


@pytest.mark.parametrize("has_begun", [True, False])
def test_ctrl_c_while_a_thread_starts_leaves_nobody_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_begun: bool
) -> None:
    start, pwrite = threading.Thread.start, calls.pwrite

    def interrupted(thread: threading.Thread) -> NoReturn:
        if has_begun:
            start(thread)
        raise KeyboardInterrupt

    def slow(fd: int, data: memoryview, offset: int) -> int:
        time.sleep(0.2)
        return pwrite(fd, data, offset)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    monkeypatch.setattr(calls, "pwrite", slow)
    with pytest.raises(KeyboardInterrupt):
        files.replace(str(tmp_path / "model"), files.Content(bytes(20 << 20)))
    with open(tmp_path / "mine", "wb", 0) as file:  # it gets the descriptor's number
        file.write(b"mine")
        time.sleep(0.5)
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["mine"]
