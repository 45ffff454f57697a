"""A log keeps its lines, and the file that people read is brought back to them."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.storage.workload import RUN

from outlast.exceptions import DamagedFile
from outlast.storage.blobs import Blob, Sealer
from outlast.storage.disk import files, reading
from outlast.storage.format import layout, limits
from outlast.storage.logs import Lines, Log, extend_published, mend_published

LINES = [b"%d,%f\n" % (i, i / 7) for i in range(50)]


def sealing(folder: Path) -> Callable[[bytes], Blob]:
    sealer = Sealer(str(folder), RUN, 1)
    return lambda data: sealer.seal(files.Content(data), kind=layout.LINES)


def grown(folder: Path, lines: list[bytes]) -> Log:
    log = Log(public=True)
    for line in lines:
        log = log.after(Lines(line)).with_short_tail(sealing(folder))
    return log


def test_a_log_that_grew_keeps_every_line_and_a_short_tail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEPT_LINES", 10)
    monkeypatch.setattr(limits, "REMAINING_LINES", 4)
    log = grown(tmp_path, LINES)
    assert log.content(str(tmp_path)) == b"".join(LINES)
    assert log.size == len(b"".join(LINES))
    assert log.tail.count(b"\n") <= 10
    assert len(log.segments) == 6


def test_by_default_a_resume_point_holds_at_most_a_thousand_lines() -> None:
    log = Log(public=True, tail=b"x\n" * 1000)
    assert log.with_short_tail(lambda data: pytest.fail("not yet")) is log
    spilled = log.after(Lines(b"y\n")).with_short_tail(lambda data: Blob("b", len(data), 0))
    assert spilled.tail == b"x\n" * 499 + b"y\n"


def test_a_log_that_is_replaced_goes_to_a_segment_at_once(tmp_path: Path) -> None:
    log = grown(tmp_path, LINES[:3]).after(Lines(b"wider\n", replaces=True))
    log = log.with_short_tail(sealing(tmp_path), seal_all=True)
    assert (log.tail, len(log.segments)) == (b"", 1)
    assert log.content(str(tmp_path)) == b"wider\n"


def test_a_segment_that_was_changed_is_damage(tmp_path: Path) -> None:
    log = Log(public=True, tail=b"a\nb\n").with_short_tail(sealing(tmp_path), seal_all=True)
    (tmp_path / log.segments[0].name).write_bytes(b"a\nc\n")
    with pytest.raises(DamagedFile, match="blob-rows-00000001-0123abcd is damaged"):
        log.content(str(tmp_path))


LOG = Log(public=True, tail=b"1\n2\n3\n")


@pytest.mark.parametrize(
    ("found", "finding"),
    [
        (b"1\n2\n3\n", None),
        (b"1\n2\n3\n4\n", "training writes them again"),
        (b"1\n2\n3\n4", "training writes them again"),
        (b"1\n2\n", "completed"),
        (b"1\n2\n3", "completed"),
        (b"", "completed"),
        (None, "completed"),
    ],
)
def test_extra_lines_are_cut_and_missing_ones_added(
    tmp_path: Path, found: bytes | None, finding: str | None
) -> None:
    if found is not None:
        (tmp_path / "a.csv").write_bytes(found)
    said = mend_published(str(tmp_path), "a.csv", LOG)
    assert said is None if finding is None else said is not None and finding in said
    assert (tmp_path / "a.csv").read_bytes() == b"1\n2\n3\n"
    assert os.listdir(tmp_path) == ["a.csv"]


@pytest.mark.parametrize("found", [b"1\n9\n3\n", b"1\r\n2\r\n3\r\n", b"\0\0\0\0\0\0", b"1\n2\n\0\0"])
def test_a_file_that_was_edited_or_torn_inside_is_kept_beside(tmp_path: Path, found: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(found)
    said = mend_published(str(tmp_path), "a.csv", LOG)
    assert said is not None and "a.csv.conflict" in said
    assert (tmp_path / "a.csv").read_bytes() == b"1\n2\n3\n"
    assert (tmp_path / "a.csv.conflict").read_bytes() == found


def test_a_link_is_moved_aside_and_what_it_points_to_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"1\n2\n3\n4\n")
    run = tmp_path / "run"
    run.mkdir()
    (run / "a.csv").symlink_to(precious)
    mend_published(str(run), "a.csv", LOG)
    assert precious.read_bytes() == b"1\n2\n3\n4\n"
    assert (run / "a.csv").read_bytes() == b"1\n2\n3\n" and not (run / "a.csv").is_symlink()
    assert (run / "a.csv.conflict").is_symlink()


def test_a_wider_table_of_a_commit_without_end_is_no_conflict(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"1,NA\n2,NA\n3,NA\n4,5\n")
    wider = b"1,NA\n2,NA\n3,NA\n"
    said = mend_published(str(tmp_path), "a.csv", LOG, published=[Blob("b", len(wider), zlib.crc32(wider))])
    assert said is not None and "put back" in said
    assert os.listdir(tmp_path) == ["a.csv"]


def test_lines_follow_those_of_the_log_whatever_became_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    said = []
    for found in (b"1\n2\n3\n", b"1\n2\n3\n4\n5\n", b"edited\n"):
        path.write_bytes(found)
        said.append(extend_published(str(tmp_path), "a.csv", LOG, Lines(b"4\n")))
        assert path.read_bytes() == b"1\n2\n3\n4\n"
    assert [bool(finding) for finding in said] == [False, True, True]
    assert (tmp_path / "a.csv.conflict").read_bytes() == b"edited\n"


def test_the_first_lines_take_the_place_of_those_a_killed_start_left(tmp_path: Path) -> None:
    for left in (b"epoch\n1\n", b"epoch\n1\n2\n", b"ep", b""):
        (tmp_path / "a.csv").write_bytes(left)
        assert extend_published(str(tmp_path), "a.csv", None, Lines(b"epoch\n1\n")) is None
        assert (tmp_path / "a.csv").read_bytes() == b"epoch\n1\n"
    assert os.listdir(tmp_path) == ["a.csv"]


@pytest.mark.parametrize("whole", [False, True])
def test_a_foreign_file_of_the_same_name_steps_aside(tmp_path: Path, whole: bool) -> None:
    (tmp_path / "a.csv").write_bytes(b"my thesis\n")
    said = extend_published(str(tmp_path), "a.csv", None, Lines(b"epoch\n", replaces=whole))
    assert said == "a.csv was there before the run: now a.csv.conflict"
    assert (tmp_path / "a.csv").read_bytes() == b"epoch\n"
    assert (tmp_path / "a.csv.conflict").read_bytes() == b"my thesis\n"


def test_too_many_open_files_is_no_verdict_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_bytes(b"1\n")

    def refused(*arguments: object) -> bytes:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(reading, "read_part", refused)
    with pytest.raises(OSError, match="too many open files"):
        mend_published(str(tmp_path), "a.csv", LOG)
    assert os.listdir(tmp_path) == ["a.csv"]
