"""Work beside the caller's comes back in its order, with its errors, with or without threads."""

from __future__ import annotations

import threading
from typing import Any, NoReturn

import pytest

from outlast.storage.disk import beside

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
        beside.begin(int, "x").result()
