"""JSON lines: equal for equal entries, and a torn line spoils only itself."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from outlast.exceptions import FileError
from outlast.storage import journal
from outlast.storage.disk.calls import calls


def test_records_come_back(tmp_path: Path) -> None:
    path = str(tmp_path / "a.jsonl")
    entries = [{"epoch": 1, "text": 'a "b"\nc\x1b[31m ü'}, {"values": [1.5, None, True]}]
    for entry in entries:
        journal.append(path, entry)
    assert journal.read_end(path) == entries
    assert Path(path).read_text().isascii()


def test_what_json_lacks_becomes_text() -> None:
    line = journal.line({"a": [float("nan"), float("-inf")], 3: (1, 2), "deep": {"x": float("inf")}})
    assert json.loads(line, parse_constant=lambda constant: pytest.fail(constant)) == {
        "a": ["nan", "-inf"],
        "3": [1, 2],
        "deep": {"x": "inf"},
    }


@pytest.mark.parametrize("torn", [b'{"epoch": 2', b"\0\0\0", b"[1]\n", b"nonsense\n", b"\xff\n"])
def test_a_torn_line_spoils_neither_those_before_nor_those_after(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "a.jsonl"
    journal.append(str(path), {"epoch": 1})
    with open(path, "ab") as file:
        file.write(torn)
    journal.append(str(path), {"epoch": 3})
    assert journal.read_end(str(path)) == [{"epoch": 1}, {"epoch": 3}]
    assert torn in path.read_bytes()


def test_a_file_that_is_not_there_has_no_records(tmp_path: Path) -> None:
    assert journal.read_end(str(tmp_path / "a")) == []


def test_an_append_that_fails_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    journal.append(str(path), {"epoch": 1})

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(calls, "write", full)
    with pytest.raises(FileError, match="No space left"):
        journal.append(str(path), {"epoch": 2})
    assert journal.read_end(str(path)) == [{"epoch": 1}]
