"""Names in a run's folder: what they mean, and that none leads out of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.storage.workload import RUN

from outlast.exceptions import ArgumentError
from outlast.storage.format.layout import (
    IMMUTABLE,
    LINES,
    MODEL,
    blob_kind,
    blob_names,
    blob_number,
    check_log_name,
    is_blob,
    is_blob_of,
    log_path,
    published_path,
    resume_name,
    resume_number,
)


@pytest.mark.parametrize("number", [1, 42, 99_999_999, 100_000_000, 12_345_678_901])
def test_a_resume_points_name_tells_its_number(number: int) -> None:
    assert resume_number(resume_name(number)) == number


@pytest.mark.parametrize(
    "name",
    [
        "resume-1",
        "damaged-resume-00000001",
        "damaged-resume-00000001.1",
        "a",
        "resume-0000000x",
        "resume-000000001",
        "resume-\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0661",
    ],
)
def test_what_is_no_resume_point_is_not_taken_for_one(name: str) -> None:
    assert resume_number(name) is None


@pytest.mark.parametrize("file", ["best.keras", "w.weights.h5", "model", "a-0.53.keras", "x/y.pt"])
def test_a_blobs_names_are_told_from_those_of_people(file: str) -> None:
    names = [name for kind in ("", LINES, IMMUTABLE) for name in blob_names(RUN, 7, file=file, kind=kind)[:3]]
    assert all(map(is_blob, names))
    assert len(set(names)) == 9
    assert [blob_kind(name) for name in names] == [MODEL] * 3 + [LINES] * 3 + [IMMUTABLE] * 3
    assert {blob_number(name) for name in names} == {7}
    assert all(is_blob_of(RUN, name) for name in names)
    assert not any(is_blob_of("f" * 32, name) for name in names)
    assert not is_blob(file)
    assert not is_blob("blob-notes.txt")
    assert not is_blob("blob-00000001.keras")  # as version 1 named them


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../a", "a/../../b", "/etc/passwd", "a//b", "./a", "a/", "a/./b"),
        *("a\0b", "a\nb", "\x1b[31mred.keras", "a\x7f"),
        *("LOCK", "run.json", "events.jsonl", "resume-00000001", "blob-00000001-0123abcd.keras"),
        *("journal.jsonl", "rows.jsonl", "IDENTITY", "LOCK.held", "identity", "Lock", "Run.json"),
        *("resume-best.keras", "blob-best.keras", "Blob-1.keras"),
        *("a" * 201, "ü" * 101, "a/" * 600 + "a"),
        *("blob-rows-00000001-0123abcd/a", ".best.x0123456789ab.keras", ".a.x0123456789ab/b"),
    ],
)
def test_a_name_that_leads_out_or_is_the_runs_own_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArgumentError, match="cannot be a file of a run") as caught:
        published_path(str(tmp_path), name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name", ["best.keras", "models/epoch-0001.keras", "Größe 3.csv", ".hidden", "a..b", "a" * 200]
)
def test_other_names_are_taken(tmp_path: Path, name: str) -> None:
    assert published_path(str(tmp_path), name) == str(tmp_path / name)


def test_a_link_on_the_way_that_leads_out_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "out").symlink_to(tmp_path)
    (run / "in").symlink_to(run)
    with pytest.raises(ArgumentError, match="symbolic link"):
        published_path(str(run), "out/best.keras")
    published_path(str(run), "in/best.keras")


def test_a_run_that_is_reached_through_a_link_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "real")
    published_path(str(tmp_path / "run"), "models/best.keras")


def test_the_runs_own_logs_have_their_names(tmp_path: Path) -> None:
    for name in ("journal.jsonl", "rows.jsonl"):
        check_log_name(name)
        assert log_path(str(tmp_path), name) == str(tmp_path / name)
    with pytest.raises(ArgumentError, match="keeps that name for itself"):
        log_path(str(tmp_path), "events.jsonl")


def test_a_blob_of_a_view_with_the_longest_name_can_be_named_and_set_aside() -> None:
    file = "a" * 20 + "." + "b" * 179
    published_path("run", file)
    longest = blob_names(RUN, 10**9, file=file)[-1]
    assert is_blob(longest) and len(f"damaged-{longest}.9999") <= 255
