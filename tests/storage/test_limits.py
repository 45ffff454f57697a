"""Whatever a reader would refuse, the writer refuses before it writes; the text names the limit."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from tests.storage.test_tensors import read

from outlast import CSVLogger, ModelCheckpoint, Run, open_run
from outlast.exceptions import ArgumentError, CapabilityError
from outlast.storage import journal, resume_points
from outlast.storage.blobs import Blob
from outlast.storage.commit import Bundle, Committed, commit
from outlast.storage.disk import files
from outlast.storage.format import limits, tensors
from outlast.storage.format import reader as tensor_reader
from outlast.storage.logs import Lines, Log
from outlast.storage.recovery import recover
from outlast.testing import FakeAdapter

OWN = ["journal.jsonl", "rows.jsonl", "run.json", "LOCK", "IDENTITY", "events.jsonl"]
OWN += ["resume-00000007", "resume-best.txt", "blob-best.txt"]


def train(folder: Path, *callbacks: Any, epochs: int = 2, **metrics: Any) -> Run:
    with Run(folder, callbacks, adapter=FakeAdapter({"w": [0.0]})) as run:
        for epoch in run.epochs(epochs):
            run.log(val_loss=float(epoch), **metrics)
    return run


@pytest.mark.parametrize(
    ("callback", "name"),
    [
        *((CSVLogger, name) for name in (*OWN, "a" * 201)),
        *((ModelCheckpoint, name) for name in ("resume-best.txt", "blob-best.txt", "a" * 201 + ".txt")),
    ],
)
def test_a_callback_cannot_have_a_name_of_the_runs_own(tmp_path: Path, callback: Any, name: str) -> None:
    with pytest.raises(ArgumentError, match="cannot be a file of a run"):
        train(tmp_path / "run", callback(name))
    assert not (tmp_path / "run").exists() or resume_points.numbers(str(tmp_path / "run")) == []
    train(tmp_path / "run")  # which keeps a journal and rows all the same
    assert len(open_run(tmp_path / "run").history.rows) == 2


@pytest.mark.parametrize("name", OWN)
def test_a_commit_refuses_such_a_name_before_it_writes(tmp_path: Path, name: str) -> None:
    step = Bundle({"a.txt": files.Content(b"a"), name: files.Content(b"b")})
    with pytest.raises(ArgumentError, match="keeps that name for itself"):
        commit(str(tmp_path), Committed(), step, 1)
    assert os.listdir(tmp_path) == []


def test_a_reason_that_nobody_could_read_again_is_refused_and_the_run_goes_on(tmp_path: Path) -> None:
    with Run(tmp_path / "run", adapter=FakeAdapter({"w": [0.0]})) as run:
        for epoch in run.epochs(3):
            run.log(val_loss=float(epoch))
            if epoch == 1:
                with pytest.raises(ArgumentError, match=r"1,048,576 are the limit; it holds .*values"):
                    run.stop("x" * 1_200_000)
    assert train(tmp_path / "run", epochs=4).decisions == []


def test_a_row_may_be_as_long_as_a_reader_takes_and_not_longer(tmp_path: Path) -> None:
    train(tmp_path / "run", many=np.zeros(100_000))  # more than a line of the journal may have
    assert len(open_run(tmp_path / "run").history.rows) == 2
    with pytest.raises(ArgumentError, match=r"16,777,216 are the limit; it holds .*many \([0-9,]{10,}\)"):
        journal.line({"epoch": 1, "many": "x" * (1 << 24)}, limits.ROW_BYTES)


def test_a_line_of_a_log_that_is_too_long_is_refused_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEGMENT_BYTES", 10)
    Lines(b"123456789\n" * 5)
    with pytest.raises(ArgumentError, match="A line of 11 bytes is too long for a log, 10 are the limit"):
        Lines(b"1\n1234567890\n")


def test_many_lines_go_to_segments_that_a_reader_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEGMENT_BYTES", 20)
    sealed: list[bytes] = []

    def seal(data: bytes) -> Blob:
        sealed.append(data)
        return Blob("blob-rows-00000001-0123abcd", len(data), 0)

    data = b"".join(b"%06d\n" % n for n in range(10))
    log = Log(True).after(Lines(data)).with_short_tail(seal, seal_all=True)
    assert b"".join(sealed) == data and log.size == len(data) and log.tail == b""
    assert all(len(one) <= 20 and one.endswith(b"\n") for one in sealed)


def test_a_state_that_is_too_large_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Bundle({"best.txt": files.Content(b"model")}, {"a.csv": Lines(b"1\n")})
    monkeypatch.setattr(limits, "JSON_VALUES", 500)
    with pytest.raises(CapabilityError, match=r"too many values .* 500 values .* are the limit"):
        commit(str(tmp_path), Committed(), step, [0] * 501)
    with pytest.raises(CapabilityError, match=r"60 arrays are too many for one file, .* fewer than 50"):
        commit(str(tmp_path), Committed(), step, [np.zeros(1)] * 60)
    monkeypatch.setattr(limits, "JSON_BYTES", 1000)
    with pytest.raises(CapabilityError, match=r"too long texts; .* 1,000 bytes are the limit"):
        commit(str(tmp_path), Committed(), step, "x" * 1000)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("shape", [(), (0, 1, 0, 1, 0, 1, 0, 1)])
@pytest.mark.parametrize("dtype", ["u1", "c16"])
def test_as_many_arrays_as_may_be_written_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], dtype: str
) -> None:
    monkeypatch.setattr(limits, "JSON_VALUES", 5000)
    most = (5000 - 10) // (10 + len(shape))
    state = {f"a,[{{{n}": np.zeros(shape, dtype) for n in range(most)}
    tensors.check_number({name: array for name, array in state.items()})
    with pytest.raises(CapabilityError):
        tensors.check_number({**state, "one more": np.zeros(shape, dtype)})
    many = {f"state/{n}": array for n, array in enumerate(state.values())}
    tensors.write(str(tmp_path / "t"), many, {"format": "f", "version": "2", "run": "r"})
    assert len(read(tmp_path / "t")) == most


def lines_run(act: Any) -> int:
    """How many lines of outlast a call runs."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace if "outlast" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


def test_the_work_of_a_reader_grows_with_the_number_of_arrays_and_not_with_its_square(
    tmp_path: Path,
) -> None:
    work = []
    for number in (250, 500, 1000):
        folder = tmp_path / str(number)
        folder.mkdir()
        commit(str(folder), Committed(), Bundle(), [np.zeros(1)] * number)
        work.append(lines_run(lambda folder=folder: resume_points.load(str(folder), 1)))
    assert work[2] - work[1] < 2.1 * (work[1] - work[0])


def test_what_a_header_says_of_an_array_is_looked_up_once(tmp_path: Path) -> None:
    """No set, list or dict of all names is made for each of them: 40,000 would take minutes."""
    tensors.write(str(tmp_path / "t"), {f"state/{n}": np.zeros(0, np.uint8) for n in range(40_000)}, {})
    with tensor_reader.opened(str(tmp_path / "t")) as file:
        assert len(file.places) == 40_000
        assert set(file.metadata) == {"header_crc32"}


def test_a_state_of_eight_thousand_arrays_comes_back(tmp_path: Path) -> None:
    commit(str(tmp_path), Committed(), Bundle(), {n: np.array(n) for n in range(8000)})
    assert [int(one) for one in recover(str(tmp_path)).state.values()] == [*range(8000)]
