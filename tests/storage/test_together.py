"""Files that go to the disk together: all content is safe before the first has a name."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.storage.tap import tapped

from outlast.exceptions import FileError
from outlast.storage.commit import Bundle, Committed, commit
from outlast.storage.disk.files import Content
from outlast.storage.disk.together import Together


def recorded(act: Callable[[], object]) -> list[tuple[str, str]]:
    """The calls that sync or give names, with the last name of their path or target."""
    found: list[tuple[str, str]] = []
    paths: dict[int, str] = {}

    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        result = real(*arguments)
        if name == "open":
            paths[result] = arguments[0]
        elif name == "fsync":
            found.append((name, os.path.basename(paths[arguments[0]])))
        elif name in ("link", "rename"):
            found.append((name, os.path.basename(arguments[1])))
        return result

    with tapped(hook):
        act()
    return found


def make_three(folder: Path) -> None:
    with Together() as new:
        new.seal(str(folder / "a"), Content(b"first"))
        new.replace(str(folder / "b"), Content(b"second"))
        new.seal(str(folder / "c"), Content(b"third"))
        new.sync()
        new.name(but=str(folder / "b"))
        new.name()


def test_names_come_after_all_content_in_their_order(tmp_path: Path) -> None:
    calls = recorded(lambda: make_three(tmp_path))
    assert [name for name, _ in calls] == ["fsync"] * 3 + ["link"] * 2 + ["rename"]
    assert [path for _, path in calls[3:]] == ["a", "c", "b"]
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == {
        "a": b"first",
        "b": b"second",
        "c": b"third",
    }


def test_a_commit_waits_for_all_its_files_at_once(tmp_path: Path) -> None:
    files = {"best.pt": Content(b"model")}
    committed = commit(str(tmp_path), Committed(), Bundle(files), {"epoch": 0})
    calls = recorded(lambda: commit(str(tmp_path), committed, Bundle(files), {"epoch": 1}))
    assert [name for name, _ in calls] == ["fsync"] * 3 + ["link", "rename", "link", "fsync"]
    names = [path for _, path in calls[3:]]
    assert names[0].startswith("blob-00000002")
    assert names[1:] == ["best.pt", "resume-00000002", tmp_path.name]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_if_one_cannot_be_synced_none_gets_a_name(tmp_path: Path, failing: int) -> None:
    count = iter(range(9))

    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        if name == "fsync" and next(count) == failing:
            raise OSError(errno.EIO, "Input/output error")
        return real(*arguments)

    with tapped(hook), pytest.raises(FileError, match="Input/output error"):
        make_three(tmp_path)
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_written_takes_the_others_with_it(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(FileError, match="there is a folder of that name"):
        make_three(tmp_path)
    assert os.listdir(tmp_path) == ["b"]


def test_a_file_is_found_before_and_after_it_has_its_name(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    with Together() as new:
        new.seal(path, Content(b"x"))
        assert Path(new.where(path)).read_bytes() == b"x"
        assert new.where(path) != path
        new.sync()
        new.name()
        assert new.where(path) == path
