"""What a commit leaves on the disk, and in which order it comes there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.storage.tap import tapped

from outlast.exceptions import ArgumentError, CapabilityError, FileError
from outlast.storage import resume_points
from outlast.storage.commit import Bundle, Committed, commit, stage
from outlast.storage.disk import files
from outlast.storage.format import layout
from outlast.storage.logs import Lines
from outlast.storage.recovery import recover


def writes(data: bytes) -> Callable[[str], None]:
    return files.Content(data)


def names(folder: Path) -> list[str]:
    found = (str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in found if name != layout.IDENTITY)


def test_a_commit_makes_a_resume_point_a_blob_and_the_published_files(tmp_path: Path) -> None:
    step = Bundle({"best.keras": writes(b"model")}, {"history.csv": Lines(b"epoch\n0\n")})
    committed = commit(str(tmp_path), Committed(), step, {"epoch": 1, "weights": np.arange(3)})
    assert names(tmp_path) == [
        "best.keras",
        "blob-00000001-0123abcd.keras",
        "history.csv",
        "resume-00000001",
    ]
    assert (tmp_path / "best.keras").read_bytes() == b"model"
    assert (tmp_path / "history.csv").read_bytes() == b"epoch\n0\n"
    point = resume_points.load(str(tmp_path), 1)
    assert point.state["epoch"] == 1
    assert point.state["weights"].tolist() == [0, 1, 2]
    assert Committed.of(point) == committed


def test_the_two_newest_resume_points_and_their_blobs_stay(tmp_path: Path) -> None:
    committed = Committed()
    for n in range(1, 6):
        committed = commit(str(tmp_path), committed, Bundle({"best.pt": writes(b"%d" % n)}), {"n": n})
    assert names(tmp_path) == [
        "best.pt",
        "blob-00000004-0123abcd.pt",
        "blob-00000005-0123abcd.pt",
        "resume-00000004",
        "resume-00000005",
    ]


def test_a_blob_stays_as_long_as_a_resume_point_names_it(tmp_path: Path) -> None:
    committed = commit(str(tmp_path), Committed(), Bundle({"best.pt": writes(b"1")}), 1)
    for n in range(2, 6):
        committed = commit(str(tmp_path), committed, Bundle(), n)
    assert committed.files["best.pt"].name == "blob-00000001-0123abcd.pt"
    assert "blob-00000001-0123abcd.pt" in names(tmp_path)
    committed = commit(str(tmp_path), committed, Bundle({"best.pt": writes(b"2")}), 6)
    assert "blob-00000001-0123abcd.pt" in names(tmp_path)  # resume point 5 names it
    commit(str(tmp_path), committed, Bundle(), 7)
    assert "blob-00000001-0123abcd.pt" not in names(tmp_path)


def test_two_models_of_one_commit_have_two_blobs(tmp_path: Path) -> None:
    step = Bundle({"a.pt": writes(b"a"), "b.pt": writes(b"b")})
    committed = commit(str(tmp_path), Committed(), step, 1)
    made = [blob.name for blob in committed.files.values()]
    assert made == ["blob-00000001-0123abcd.pt", "blob-00000001-0123abcd-1.pt"]


def test_two_published_files_can_share_a_blob(tmp_path: Path) -> None:
    step = Bundle({"best.pt": "model-1.pt", "model-1.pt": writes(b"m")})
    committed = commit(str(tmp_path), Committed(), step, 1)
    assert (tmp_path / "best.pt").read_bytes() == b"m"
    assert committed.files["best.pt"] == committed.files["model-1.pt"]
    committed = commit(str(tmp_path), committed, Bundle({"model-1.pt": None}), 2)
    assert not (tmp_path / "model-1.pt").exists()
    assert (tmp_path / "blob-00000001-0123abcd.pt").exists()


def test_a_published_file_that_is_given_up_goes_only_after_the_commit(tmp_path: Path) -> None:
    committed = commit(str(tmp_path), Committed(), Bundle({"a.pt": writes(b"a")}), 1)
    staged = stage(str(tmp_path), committed, Bundle({"a.pt": None, "b.pt": writes(b"b")}))
    assert (tmp_path / "a.pt").exists() and (tmp_path / "b.pt").exists()
    after = commit(str(tmp_path), staged, Bundle(), 2)
    assert not (tmp_path / "a.pt").exists()
    assert after.files.keys() == {"b.pt"}


def test_a_published_file_that_comes_back_before_the_commit_stays(tmp_path: Path) -> None:
    committed = commit(str(tmp_path), Committed(), Bundle({"a.pt": writes(b"a")}), 1)
    committed = stage(str(tmp_path), committed, Bundle({"a.pt": None}))
    committed = stage(str(tmp_path), committed, Bundle({"a.pt": writes(b"new")}))
    commit(str(tmp_path), committed, Bundle(), 2)
    assert (tmp_path / "a.pt").read_bytes() == b"new"


def test_what_was_staged_is_shown_and_becomes_safe_with_the_next_commit(tmp_path: Path) -> None:
    folder = str(tmp_path)
    committed = commit(folder, Committed(), Bundle({}, {"a.csv": Lines(b"1\n")}), 1)
    for n in (2, 3):
        step = Bundle({"best.pt": writes(b"%d" % n)}, {"a.csv": Lines(b"%d\n" % n)})
        committed = stage(folder, committed, step)
        assert (tmp_path / "best.pt").read_bytes() == b"%d" % n
    assert (tmp_path / "a.csv").read_bytes() == b"1\n2\n3\n"
    assert resume_points.numbers(folder) == [1]
    committed = commit(folder, committed, Bundle(), 3)
    assert resume_points.load(folder, 2).logs["a.csv"].tail == b"1\n2\n3\n"
    assert names(tmp_path) == [
        *("a.csv", "best.pt", "blob-00000002-0123abcd-1.pt"),
        *("resume-00000001", "resume-00000002"),
    ]


def test_a_log_that_is_not_published_is_in_the_resume_point_alone(tmp_path: Path) -> None:
    step = Bundle({}, {"rows": Lines(b"{}\n", public=False)})
    commit(str(tmp_path), Committed(), step, None)
    assert names(tmp_path) == ["resume-00000001"]
    assert resume_points.load(str(tmp_path), 1).logs["rows"].tail == b"{}\n"


def test_published_files_may_be_in_folders_of_the_run(tmp_path: Path) -> None:
    step = Bundle({"models/a.pt": writes(b"a")})
    commit(str(tmp_path), Committed(), step, None)
    assert (tmp_path / "models" / "a.pt").read_bytes() == b"a"


def test_a_name_that_leads_out_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(ArgumentError):
        commit(str(run), Committed(), Bundle({"a.pt": writes(b"a"), "../b": writes(b"b")}), None)
    with pytest.raises(ArgumentError):
        commit(str(run), Committed(), Bundle({}, {"../b.csv": Lines(b"b")}), None)
    assert names(tmp_path) == []


def test_a_state_that_has_no_place_leaves_the_resume_point_before(tmp_path: Path) -> None:
    committed = commit(str(tmp_path), Committed(), Bundle(), {"epoch": 1})
    with pytest.raises(CapabilityError, match="state/bad: complex is not supported"):
        commit(str(tmp_path), committed, Bundle(), {"bad": 1j})
    assert recover(str(tmp_path)).state == {"epoch": 1}


def test_two_writers_cannot_both_make_the_next_resume_point(tmp_path: Path) -> None:
    committed = commit(str(tmp_path), Committed(), Bundle(), "common")
    commit(str(tmp_path), committed, Bundle(), "ours")
    with pytest.raises(FileError) as caught:
        commit(str(tmp_path), committed, Bundle(), "theirs")
    assert caught.value.errno == errno.EEXIST
    assert recover(str(tmp_path)).state == "ours"


def test_a_saver_that_makes_no_file_is_an_error(tmp_path: Path) -> None:
    for saver in (lambda path: None, os.mkdir):
        with pytest.raises(FileError):
            commit(str(tmp_path), Committed(), Bundle({"a.pt": saver}), None)
    assert recover(str(tmp_path)).state is None


def test_a_table_that_was_edited_while_training_is_said_and_kept(tmp_path: Path) -> None:
    committed = commit(str(tmp_path), Committed(), Bundle({}, {"a.csv": Lines(b"1\n")}), 1)
    (tmp_path / "a.csv").write_bytes(b"mine now\n")
    said: list[str] = []
    commit(str(tmp_path), committed, Bundle({}, {"a.csv": Lines(b"2\n")}), 2, say=said.append)
    assert (tmp_path / "a.csv").read_bytes() == b"1\n2\n"
    assert (tmp_path / "a.csv.conflict").read_bytes() == b"mine now\n"
    assert len(said) == 1 and "a.csv.conflict" in said[0]


def test_equal_steps_make_equal_resume_points(tmp_path: Path) -> None:
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        step = Bundle({"best.pt": writes(b"m")}, {"a.csv": Lines(b"1\n")})
        commit(str(folder), Committed(), step, {"w": np.arange(4.0)})
    first, second = ((tmp_path / name / "resume-00000001").read_bytes() for name in "ab")
    assert first == second


def test_a_small_commit_costs_two_syncs_and_four_with_a_new_model(tmp_path: Path) -> None:
    synced: list[str] = []

    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        if name == "fsync":
            synced.append(name)
        return real(*arguments)

    committed = commit(str(tmp_path), Committed(), Bundle(), 0)
    with tapped(hook):
        committed = commit(str(tmp_path), committed, Bundle({}, {"a.csv": Lines(b"1\n")}), 1)
        assert len(synced) == 2
        commit(str(tmp_path), committed, Bundle({"best.pt": writes(b"m")}), 2)
        assert len(synced) == 2 + 4


def test_a_commit_does_not_grow_with_the_history(tmp_path: Path) -> None:
    committed = Committed()
    sizes = []
    for n in range(6):
        lines = Lines(b"".join(b"%06d,0.123456\n" % i for i in range(1000 * n, 1000 * (n + 1))))
        committed = commit(str(tmp_path), committed, Bundle({}, {"a.csv": lines}), n)
        sizes.append((tmp_path / f"resume-{committed.number:08d}").stat().st_size)
    assert max(sizes) <= sizes[0] + 4096
    assert recover(str(tmp_path)).committed.logs["a.csv"].content(str(tmp_path)).count(b"\n") == 6000
