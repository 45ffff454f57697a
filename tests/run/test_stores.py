"""A Run asks only its Store where it is kept: a folder, memory, nowhere, or a folder that others write."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.run.training import LOSSES, content, go_on, start, train, weight

from outlast import CSVLogger, EarlyStopping, ModelCheckpoint, Run
from outlast.core.run_state import Position, RunState
from outlast.exceptions import UsageError
from outlast.run.stores import Follower, Store
from outlast.storage.commit import Bundle


class Memory(Store):
    """A second kind of store: it keeps everything in this process."""

    kept: ClassVar[dict[str, Any]] = {}  # by folder, as a disk would

    def __init__(self, folder: str, **options: Any) -> None:
        self._saved = Memory.kept.setdefault(folder, {"state": None, "logs": {}, "number": 0})

    def open(self, resume: str) -> RunState | None:
        self.is_open, self.number = True, self._saved["number"]
        state: RunState | None = copy.deepcopy(self._saved["state"])
        self.committed = state and state.position
        return state

    def log(self, name: str) -> bytes | None:
        return self._saved["logs"].get(name)

    def commit(self, step: Bundle, collect: Callable[[], RunState]) -> None:
        self._saved["state"] = copy.deepcopy(collect())
        self.committed = self._saved["state"].position
        self._saved["number"] += 1
        for name, lines in step.logs.items():
            before = b"" if lines.replaces else self._saved["logs"].get(name, b"")
            self._saved["logs"][name] = before + lines.data


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlast.run.run.FolderStore", Memory)
    Memory.kept.clear()


def callbacks() -> list[Any]:
    return [EarlyStopping(patience=9), ModelCheckpoint(save_best_only=True), CSVLogger()]


@pytest.mark.usefixtures("in_memory")
@pytest.mark.parametrize("left", [0, 1, 3, 5])
def test_a_run_that_is_kept_in_memory_goes_on_as_one_in_a_folder(folder: Path, left: int) -> None:
    go_on(start(folder / "left", callbacks()), 6, until=left)
    run = start(folder / "left", callbacks())
    assert go_on(run, 6) == list(range(left, 6))
    assert (weight(run), run.history["val_loss"], run.committed) == (6, list(LOSSES[:6]), (5, None))
    assert run.best is not None and run.best.value == 3.0
    assert not folder.exists()


def test_a_store_in_a_folder_is_opened_and_read_before_there_is_a_model(folder: Path) -> None:
    train(folder, callbacks(), epochs=3)
    follower = Follower(str(folder))
    state = follower.open("auto")
    assert state is not None and state.position == Position(2)
    assert (follower.number, follower.committed) == (3, Position(2))
    assert Path(follower.model("best.txt")).read_text() == "{'w': [3.0]}"
    assert follower.log("history.csv") == (folder / "history.csv").read_bytes()
    assert follower.log("nothing.csv") is None
    with pytest.raises(UsageError):
        follower.model("nothing.txt")


def test_a_rank_that_follows_trains_along_and_writes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(folder, callbacks(), epochs=3)
    before = content(folder)

    def follow(folder: str, **options: Any) -> Follower:
        return Follower(folder)

    monkeypatch.setattr("outlast.run.run.FolderStore", follow)
    rank = start(folder, callbacks())
    assert go_on(rank, 6) == [3, 4, 5]
    assert (weight(rank), rank.history["val_loss"]) == (6, list(LOSSES[:6]))
    assert content(folder) == before


def test_a_follower_of_nothing_begins_as_its_leader_does(folder: Path) -> None:
    assert Follower(str(folder)).open("auto") is None
    train(folder, epochs=2)
    assert Follower(str(folder)).open("never") is None


def test_nowhere_keeps_nothing_and_says_so() -> None:
    store = Store()
    assert store.open("auto") is None and store.is_open
    seen: list[Mapping[str, Any]] = []
    store.describe({}), store.write_event("start", {}), store.show(Bundle()), store.finish(), store.flush()
    store.commit(Bundle(), lambda: seen.append({}) or RunState())
    assert seen == []  # not even collected
    with pytest.raises(UsageError, match="give it a folder"):
        store.model("best.pt")
    store.close()
    assert not store.is_open
    assert Run(None, callbacks()).committed is None
