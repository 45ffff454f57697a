"""A value that never changes is written once, however many resume points need it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.storage.tap import tapped
from tests.storage.test_recovery import DAMAGES, flip

from outlast.exceptions import CapabilityError, FileError
from outlast.storage import resume_points
from outlast.storage.blobs import Blob
from outlast.storage.commit import Bundle, Committed, commit
from outlast.storage.format import layout, limits
from outlast.storage.format.encoding import Immutable
from outlast.storage.recovery import recover
from outlast.storage.survey import survey

LARGE = 1_000_000  # bytes


def weights(seed: int) -> Immutable:
    return Immutable({"w": np.random.default_rng(seed).integers(0, 256, LARGE, np.uint8)})


class Written:
    """Counts the bytes that are written."""

    def __init__(self) -> None:
        self.bytes = 0

    def __call__(self, name: str, arguments: tuple[Any, ...], real: Any) -> Any:
        result = real(*arguments)
        if name in ("write", "pwrite"):
            self.bytes += result
        return result


def immutables(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if layout.blob_kind(name) == layout.IMMUTABLE)


def test_twenty_commits_with_one_change_of_a_large_value_write_it_twice(tmp_path: Path) -> None:
    written, committed, best = Written(), Committed(), weights(0)
    with tapped(written):
        for n in range(20):
            if n == 10:
                best = weights(1)
            committed = commit(str(tmp_path), committed, Bundle(), {"n": n, "best": best})
    assert 2 * LARGE <= written.bytes < 2 * LARGE + 20 * 20_000
    assert len(immutables(tmp_path)) == 1  # the first has gone with the resume points that named it
    back = recover(str(tmp_path)).state["best"]
    assert isinstance(back, Immutable)
    assert np.array_equal(back.value["w"], best.value["w"])


@pytest.mark.parametrize("value", [b"a booster" * 1000, {"trees": (b"1", b"2"), "round": 3}, None, 1.5])
def test_a_part_may_be_bytes_or_any_tree(tmp_path: Path, value: Any) -> None:
    committed = commit(str(tmp_path), Committed(), Bundle(), {"part": Immutable(value)})
    assert resume_points.load(str(tmp_path), 1).state["part"].value == value
    assert [blob.name for blob in committed.sealed.values()] == immutables(tmp_path)
    assert committed.kept == {*immutables(tmp_path)}


def test_what_was_loaded_is_committed_again_without_a_byte(tmp_path: Path) -> None:
    commit(str(tmp_path), Committed(), Bundle(), {"best": weights(0)})
    found = recover(str(tmp_path))
    written = Written()
    with tapped(written):
        committed = commit(str(tmp_path), found.committed, Bundle(), {"n": 2, "best": found.state["best"]})
    assert written.bytes < 20_000
    assert immutables(tmp_path) == [blob.name for blob in committed.sealed.values()]
    assert recover(str(tmp_path)).findings == ()


def test_two_places_that_hold_the_same_object_share_a_blob(tmp_path: Path) -> None:
    best = weights(0)
    commit(str(tmp_path), Committed(), Bundle(), {"a": best, "b": [best], "c": weights(0)})
    assert len(immutables(tmp_path)) == 2
    state = recover(str(tmp_path)).state
    assert state["a"] is state["b"][0] and state["c"] is not state["a"]


def test_a_part_that_is_given_up_goes_once_no_resume_point_names_it(tmp_path: Path) -> None:
    committed = commit(str(tmp_path), Committed(), Bundle(), {"best": weights(0)})
    committed = commit(str(tmp_path), committed, Bundle(), {})
    assert len(immutables(tmp_path)) == 1 and committed.sealed == {}
    commit(str(tmp_path), committed, Bundle(), {})
    assert immutables(tmp_path) == []


def test_who_only_looks_does_not_load_a_part_but_verifies_it(tmp_path: Path) -> None:
    commit(str(tmp_path), Committed(), Bundle(), {"best": weights(0)})
    (name,) = immutables(tmp_path)
    for look in (resume_points.peek, resume_points.verify):
        point = look(str(tmp_path), 1)
        assert isinstance(point.state["best"], Blob) and point.state["best"].name == name
        assert point.blobs == {name} and point.values == {}
    assert survey(str(tmp_path), resume_points.verify).findings == ()
    flip(tmp_path / name)
    (finding,) = survey(str(tmp_path), resume_points.verify).findings
    assert finding == f"{name} (state/best) is lost"


@pytest.mark.parametrize("damage", [*DAMAGES, "missing", "another part"])
def test_a_lost_immutable_makes_the_resume_point_before_it_the_truth(tmp_path: Path, damage: str) -> None:
    folder = str(tmp_path)
    committed = commit(folder, Committed(), Bundle(), {"n": 1, "best": weights(0)})
    commit(folder, committed, Bundle(), {"n": 2, "best": weights(1)})
    first, second = (tmp_path / name for name in immutables(tmp_path))
    if damage == "missing":
        second.unlink()
    elif damage == "another part":
        second.unlink()
        second.write_bytes(first.read_bytes())
    else:
        DAMAGES[damage](second)
    found = recover(folder)
    assert found.state["n"] == 1
    assert np.array_equal(found.state["best"].value["w"], weights(0).value["w"])
    assert f"resume point 2 was set aside: it needs {second.name}" in found.findings[0]


def test_a_part_that_all_resume_points_need_is_none_once_it_is_lost_and_it_is_said(tmp_path: Path) -> None:
    folder, best = str(tmp_path), weights(0)
    committed = Committed()
    for n in (1, 2, 3):
        committed = commit(folder, committed, Bundle(), {"n": n, "callbacks": {"best": best}})
    (name,) = immutables(tmp_path)
    flip(tmp_path / name)
    found = recover(folder)
    assert found.state == {"n": 3, "callbacks": {"best": None}}
    assert found.findings == (f"{name} (state/callbacks/best) is lost",)
    assert (tmp_path / f"damaged-{name}").exists()
    commit(folder, found.committed, Bundle(), found.state)
    assert recover(folder).findings == ()


def test_after_a_save_that_failed_the_objects_of_the_training_are_known_still(tmp_path: Path) -> None:
    folder, best = str(tmp_path), weights(0)
    committed = commit(folder, Committed(), Bundle(), {"best": best})

    def refuse(name: str, arguments: tuple[Any, ...], real: Any) -> Any:
        if name == "link":
            raise OSError(5, "Input/output error")
        return real(*arguments)

    with tapped(refuse), pytest.raises(FileError):
        commit(folder, committed, Bundle(), {"best": best})
    again = recover(folder, committed).committed
    assert [*again.sealed] == [best]
    written = Written()
    with tapped(written):
        commit(folder, again, Bundle(), {"best": best})
    assert written.bytes < 20_000


@pytest.mark.parametrize(
    ("value", "said"),
    [(1j, "state/best: complex is not supported"), (Immutable(1), "state/best: an Immutable within another")],
)
def test_what_a_part_may_not_hold_is_refused_before_anything_is_written(
    tmp_path: Path, value: Any, said: str
) -> None:
    with pytest.raises(CapabilityError, match=said):
        commit(str(tmp_path), Committed(), Bundle(), {"best": Immutable(value)})
    assert os.listdir(tmp_path) == []


def test_a_part_that_could_not_be_read_again_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "JSON_VALUES", 999)
    with pytest.raises(CapabilityError, match="state/best: it has too many values"):
        commit(str(tmp_path), Committed(), Bundle(), {"best": Immutable([0] * 1000)})
    assert os.listdir(tmp_path) == []
