"""From whatever was left, a run goes on from its newest whole resume point."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.storage import workload

from outlast.exceptions import DamagedFile, FileError, UnknownFormat
from outlast.storage import recovery, resume_points
from outlast.storage.commit import Bundle, Committed, commit, stage
from outlast.storage.disk import files
from outlast.storage.disk.temporary import temporary_name
from outlast.storage.format import document, limits, tensors
from outlast.storage.format import reader as tensor_reader
from outlast.storage.logs import Lines
from outlast.storage.recovery import recover
from outlast.storage.survey import survey


def writes(data: bytes) -> Callable[[str], None]:
    return files.Content(data)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three resume points were made; both that are left name the same best model."""
    folder = tmp_path / "run"
    folder.mkdir()
    committed = Committed()
    for n in (1, 2, 3):
        models = {"best.keras": writes(b"model" * 100)} if n == 1 else {}
        lines = {"history.csv": Lines(b"%d\n" % n), "rows": Lines(b"{}\n", public=False)}
        committed = commit(str(folder), committed, Bundle(models, lines), {"n": n, "w": np.full(9, n)})
    return folder


def flip(path: Path, place: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit flipped at the end": flip,
    "a bit flipped in the length": lambda path: flip(path, 0),
    "a bit flipped in the header": lambda path: flip(path, 60),
    "a bit flipped in the padding": lambda path: flip(path, 4000),
    "a bit flipped in the body": lambda path: flip(path, 4100),
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "emptied": lambda path: os.truncate(path, 0),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a link": lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
    "a pickle": lambda path: path.write_bytes(b"cos\nsystem\n(S'echo hacked >&2'\ntR."),
}


def test_nothing_is_found_wrong_where_nothing_is(run: Path) -> None:
    before = workload.content(run)
    found = recover(str(run))
    assert found.findings == ()
    assert found.state["n"] == 3
    assert workload.content(run) == before


def test_a_folder_without_a_run_starts_anew(tmp_path: Path) -> None:
    found = recover(str(tmp_path))
    assert (found.committed, found.state, found.findings) == (Committed(), None, ())


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_resume_point_is_moved_aside_and_the_one_before_used(run: Path, damage: str) -> None:
    DAMAGES[damage](run / "resume-00000003")
    found = recover(str(run))
    assert found.state["n"] == 2
    assert found.committed.number == 2
    assert "resume point 3 was set aside" in found.findings[0]
    assert os.path.lexists(run / "damaged-resume-00000003")
    assert (run / "history.csv").read_bytes() == b"1\n2\n"
    assert recover(str(run)).findings == ()
    commit(str(run), found.committed, Bundle(), {"n": 3})
    assert recover(str(run)).state == {"n": 3}


def test_a_damaged_resume_point_before_the_newest_is_moved_aside_too(run: Path) -> None:
    flip(run / "resume-00000002", 60)
    found = recover(str(run))
    assert found.state["n"] == 3
    assert "resume point 2 was set aside" in found.findings[0]
    assert (run / "damaged-resume-00000002").exists()


def test_if_no_resume_point_is_whole_nothing_is_touched(run: Path) -> None:
    for name in ("resume-00000002", "resume-00000003"):
        flip(run / name)
    (run / temporary_name("x")).write_bytes(b"")
    before = workload.content(run)
    for _ in range(2):
        with pytest.raises(DamagedFile, match='resume="never"'):
            recover(str(run))
    assert workload.content(run) == before


def test_a_first_resume_point_that_was_torn_is_no_obstacle(tmp_path: Path) -> None:
    commit(str(tmp_path), Committed(), Bundle(), 1)
    os.truncate(tmp_path / "resume-00000001", 5000)
    found = recover(str(tmp_path))
    assert found.state is None
    assert "resume point 1 was set aside" in found.findings[0]
    commit(str(tmp_path), found.committed, Bundle(), 1)
    assert recover(str(tmp_path)).state == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_blob_that_both_name_is_made_again_from_its_view(run: Path, damage: str) -> None:
    whole = (run / "blob-00000001-0123abcd.keras").read_bytes()
    path = run / "blob-00000001-0123abcd.keras"
    if damage.startswith("a bit"):
        flip(path, 3)
    else:
        DAMAGES[damage](path)
    found = recover(str(run))
    assert found.state["n"] == 3
    assert found.findings == ("blob-00000001-0123abcd.keras was made again from best.keras",)
    assert path.read_bytes() == whole
    assert os.path.lexists(run / "damaged-blob-00000001-0123abcd.keras")
    assert recover(str(run)).findings == ()


def test_a_missing_blob_is_made_again_from_its_view(run: Path) -> None:
    (run / "blob-00000001-0123abcd.keras").unlink()
    found = recover(str(run))
    assert found.findings == ("blob-00000001-0123abcd.keras was made again from best.keras",)
    assert (run / "blob-00000001-0123abcd.keras").read_bytes() == b"model" * 100


def test_if_blob_and_view_are_damaged_the_newest_is_taken_and_the_loss_is_said(run: Path) -> None:
    flip(run / "blob-00000001-0123abcd.keras", 0)
    flip(run / "best.keras", 0)
    found = recover(str(run))
    assert found.state["n"] == 3
    assert found.findings == ("blob-00000001-0123abcd.keras (best.keras) is lost",)
    assert "best.keras" not in found.committed.files
    assert (run / "damaged-blob-00000001-0123abcd.keras").exists()
    commit(str(run), found.committed, Bundle(), {"n": 4})
    assert recover(str(run)).findings == ()


def test_if_only_the_newests_blob_is_lost_the_one_before_is_used(run: Path) -> None:
    committed = recover(str(run)).committed
    commit(str(run), committed, Bundle({"best.keras": writes(b"better")}), {"n": 4})
    (run / "blob-00000004-0123abcd.keras").unlink()
    (run / "best.keras").unlink()
    found = recover(str(run))
    assert found.state["n"] == 3
    assert "resume point 4 was set aside: it needs blob-00000004-0123abcd.keras" in found.findings[0]
    assert (run / "best.keras").read_bytes() == b"model" * 100


def test_the_best_model_is_put_back_whatever_became_of_it(run: Path) -> None:
    for damage in DAMAGES.values():
        if damage is DAMAGES["a folder"]:
            continue
        (run / "best.keras").unlink()
        (run / "best.keras").write_bytes(b"x" * 5000)
        damage(run / "best.keras")
        was_there = os.path.lexists(run / "best.keras")
        (found,) = recover(str(run)).findings
        assert ("had been changed: put back, the other is best.keras.conflict" in found) == was_there
        assert (run / "best.keras").read_bytes() == b"model" * 100
        assert not (run / "best.keras").is_symlink()


def test_a_folder_in_the_place_of_a_view_is_refused_with_the_way_out(run: Path) -> None:
    (run / "best.keras").unlink()
    (run / "best.keras").mkdir()
    with pytest.raises(FileError, match="non-directory"):
        recover(str(run))


def test_saving_over_the_best_model_does_not_reach_the_truth(run: Path) -> None:
    with open(run / "best.keras", "r+b") as file:
        file.write(b"overwritten in place")
    assert (run / "blob-00000001-0123abcd.keras").read_bytes() == b"model" * 100
    recover(str(run))
    assert (run / "best.keras").read_bytes() == b"model" * 100


def test_the_history_is_written_again_if_it_is_gone_and_kept_if_it_was_edited(run: Path) -> None:
    (run / "history.csv").unlink()
    assert recover(str(run)).findings == ("history.csv was completed",)
    (run / "history.csv").write_bytes(b"my notes\n")
    (finding,) = recover(str(run)).findings
    assert "history.csv.conflict" in finding
    assert (run / "history.csv").read_bytes() == b"1\n2\n3\n"
    assert (run / "history.csv.conflict").read_bytes() == b"my notes\n"


@pytest.fixture
def long_run(tmp_path: Path) -> Path:
    """Its old lines are in segments."""
    folder = tmp_path / "run"
    folder.mkdir()
    lines = [b"".join(b"%d\n" % i for i in range(n, n + 1500)) for n in (0, 1500)]
    committed = Committed()
    for part in lines:
        step = Bundle({}, {"history.csv": Lines(part), "rows": Lines(part, public=False)})
        committed = commit(str(folder), committed, step, len(part))
    return folder


def test_a_damaged_segment_is_made_again_from_the_table(long_run: Path) -> None:
    whole = workload.content(long_run)
    for name in ("blob-rows-00000001-0123abcd", "blob-rows-00000002-0123abcd"):
        flip(long_run / name, 5)
        assert recover(str(long_run)).findings == (f"{name} was made again from history.csv",)
        (long_run / f"damaged-{name}").unlink()
        assert workload.content(long_run) == whole


def test_lines_that_stand_nowhere_else_are_lost_and_it_is_said(long_run: Path) -> None:
    flip(long_run / "blob-rows-00000001-0123abcd-1", 5)
    found = recover(str(long_run))
    assert found.findings == ("blob-rows-00000001-0123abcd-1 (old lines of rows) is lost",)
    left = found.committed.logs["rows"].content(str(long_run))
    assert left.startswith(b"1000\n") and left.endswith(b"2999\n")


@pytest.mark.parametrize("version", ["0", "1", "3", "1.5", "x"])
def test_another_version_is_refused_with_both_named_and_nothing_touched(
    run: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    point = resume_points.load(str(run), 3)
    with monkeypatch.context() as patch:
        patch.setattr(document, "_VERSION", version)
        resume_points.seal(str(run), replace(point, number=4))
    (run / temporary_name("x")).write_bytes(b"")
    (run / "best.keras").unlink()
    before = workload.content(run)
    with pytest.raises(UnknownFormat, match=rf"has version {version} .* reads version 2"):
        recover(str(run))
    assert workload.content(run) == before


def test_what_was_left_by_killed_writers_goes_and_what_is_somebody_elses_stays(run: Path) -> None:
    (run / "models").mkdir()
    (run / "other run").mkdir()
    (run / "other run" / "LOCK").write_bytes(b"")
    left = [run / temporary_name("a.keras"), run / "models" / temporary_name("b")]
    foreign = [run / "notes.txt", run / "other run" / temporary_name("c"), run / ".hidden"]
    for path in [*left, *foreign, run / "blob-00000009-0123abcd.keras", run / "blob-rows-00000009-0123abcd"]:
        path.write_bytes(b"x")
    recover(str(run))
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in foreign)
    assert not (run / "blob-00000009-0123abcd.keras").exists()
    assert not (run / "blob-rows-00000009-0123abcd").exists()


def test_orders_are_by_number_not_by_time(run: Path) -> None:
    os.utime(run / "resume-00000002", (2e9, 2e9))
    os.utime(run / "resume-00000003", (1, 1))
    assert recover(str(run)).state["n"] == 3


def test_a_survey_changes_nothing_and_can_leave_the_arrays_alone(run: Path) -> None:
    flip(run / "blob-00000001-0123abcd.keras", 0)
    (run / "history.csv").unlink()
    before = workload.content(run)
    found = survey(str(run), resume_points.verify)
    assert found.point is not None and found.before is not None
    assert isinstance(found.point.state["w"], tensor_reader.Place)
    assert found.point.state["w"].shape == (9,)
    assert found.before.number == 2
    assert workload.content(run) == before


def test_a_survey_beside_a_writer_sees_a_whole_run(run: Path) -> None:
    """What it was about to read is deleted by two commits in between: it looks again."""
    committed = recover(str(run)).committed

    def read(folder: str, number: int) -> resume_points.ResumePoint:
        nonlocal committed
        if committed.number < 8:
            for _ in range(2):
                n = committed.number + 1
                step = Bundle({"best.keras": writes(b"%d" % n)})
                committed = commit(folder, committed, step, {"n": n})
        return resume_points.load(folder, number)

    found = survey(str(run), read)
    assert found.point is not None
    assert found.point.number == 8 or found.point.number == 9
    assert found.findings == ()


@pytest.mark.parametrize("name", ["../best.keras", "/tmp/x", "LOCK", "a\nb"])
def test_a_resume_point_that_names_views_outside_is_damage(
    run: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    point = resume_points.load(str(run), 3)
    evil = replace(point, number=4, files={name: point.files["best.keras"]}, logs={})
    resume_points.seal(str(run), evil)
    found = recover(str(run))
    assert found.committed.number == 3
    assert "resume point 4 was set aside" in found.findings[0]


def test_too_many_open_files_is_an_error_not_a_verdict(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = workload.content(run)

    def refused(*arguments: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(FileError, match="Too many open files") as caught:
        recover(str(run))
    assert not isinstance(caught.value, DamagedFile)
    monkeypatch.undo()
    assert workload.content(run) == before


def test_a_renamed_resume_point_is_damage(run: Path) -> None:
    shutil.copy(run / "resume-00000002", run / "resume-00000007")
    found = recover(str(run))
    assert found.committed.number == 3
    assert "it is resume point 2" in found.findings[0]


def test_everything_that_is_moved_aside_is_kept_by_later_commits(run: Path) -> None:
    flip(run / "resume-00000003")
    committed = recover(str(run)).committed
    for n in range(3, 7):
        committed = commit(str(run), committed, Bundle(), {"n": n})
    flip(run / "resume-00000006")
    recover(str(run))
    assert (run / "damaged-resume-00000003").exists()
    assert (run / "damaged-resume-00000006").exists()


def test_a_table_is_made_again_from_the_resume_point_alone(tmp_path: Path) -> None:
    """Even one that was written whole: its lines are in the resume point as long as they are few."""
    committed = Committed()
    for n in (1, 2):
        table = b"".join(b"%d\n" % i for i in range(n + 1))
        committed = commit(
            str(tmp_path), committed, Bundle({}, {"history.csv": Lines(table, replaces=True)}), {"n": n}
        )
    for path in tmp_path.iterdir():
        if path.name not in ("resume-00000002", "IDENTITY"):
            path.unlink()
    found = recover(str(tmp_path))
    assert found.findings[-1] == "history.csv was completed"
    assert (tmp_path / "history.csv").read_bytes() == table


def test_a_table_that_a_commit_without_end_had_replaced_is_put_back_and_is_no_conflict(
    tmp_path: Path,
) -> None:
    committed = commit(
        str(tmp_path), Committed(), Bundle({}, {"history.csv": Lines(b"1\n", replaces=True)}), 1
    )
    stage(str(tmp_path), committed, Bundle({}, {"history.csv": Lines(b"1,NA\n2,3\n", replaces=True)}))
    assert (tmp_path / "history.csv").read_bytes() == b"1,NA\n2,3\n"
    found = recover(str(tmp_path))
    assert found.findings == ("history.csv was put back to its last saved state",)
    left = ["IDENTITY", "blob-rows-00000001-0123abcd", "history.csv", "resume-00000001"]
    assert sorted(os.listdir(tmp_path)) == left


@pytest.mark.parametrize("later", [0, 1, 3])
def test_a_replaced_table_is_no_conflict_either_if_the_resume_point_is_lost_that_replaced_it(
    tmp_path: Path, later: int
) -> None:
    committed = commit(
        str(tmp_path), Committed(), Bundle({}, {"history.csv": Lines(b"1\n", replaces=True)}), 1
    )
    for n in range(later):
        committed = commit(str(tmp_path), committed, Bundle({}, {"history.csv": Lines(b"%d\n" % n)}), n)
    commit(str(tmp_path), committed, Bundle({}, {"history.csv": Lines(b"1,NA\n2,3\n", replaces=True)}), 9)
    flip(tmp_path / f"resume-{later + 2:08d}")
    found = recover(str(tmp_path))
    assert found.committed.number == later + 1
    assert found.findings[1:] == ("history.csv was put back to its last saved state",)
    assert not [*tmp_path.glob("*.conflict")]


def test_the_copy_of_a_replaced_table_is_made_again(tmp_path: Path) -> None:
    committed = commit(
        str(tmp_path), Committed(), Bundle({}, {"history.csv": Lines(b"1\n", replaces=True)}), 1
    )
    commit(str(tmp_path), committed, Bundle({}, {"history.csv": Lines(b"2\n")}), 2)
    (name,) = (path for path in tmp_path.iterdir() if path.name.startswith("blob-rows"))
    before = name.read_bytes()
    for damage in (flip, Path.unlink):
        damage(name)
        assert all("was made again" in one for one in recover(str(tmp_path)).findings)
        assert name.read_bytes() == before == b"1\n"


FORGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "an infinite size": lambda manifest: manifest["files"]["best.keras"].update(size=1e400),
    "a size of 400 digits": lambda manifest: manifest["files"]["best.keras"].update(size=10**400),
    "a size of 400 digits and a fraction": lambda manifest: manifest["files"]["best.keras"].update(
        size="a float of 400 digits"
    ),
    "a size with a fraction": lambda manifest: manifest["files"]["best.keras"].update(size=500.0),
    "a size that is true": lambda manifest: manifest["files"]["best.keras"].update(size=True),
    "an infinite number": lambda manifest: manifest.update(number=1e400),
    "an infinity in the state": lambda manifest: manifest["state"].update(n=1e400),
    "a checksum of 400 digits": lambda manifest: manifest["files"]["best.keras"].update(crc32=7),
    "a blob without a name": lambda manifest: manifest["files"]["best.keras"].update(blob=7),
    "an immutable that leads out": lambda manifest: manifest.update(immutables={"x": {"blob": "../x"}}),
    "no immutables": lambda manifest: manifest.pop("immutables"),
    "immutables that are a number": lambda manifest: manifest.update(immutables=7),
    "a file that the run keeps for itself": lambda manifest: manifest["files"].update(
        {"journal.jsonl": manifest["files"]["best.keras"]}
    ),
}


@pytest.mark.parametrize("forged", FORGED)
def test_numbers_that_were_made_up_are_damage_and_no_traceback(run: Path, forged: str) -> None:
    path = run / "resume-00000003"
    with tensor_reader.opened(str(path)) as file:
        content = {name: file.read(name) for name in file.places}
        metadata = {key: text for key, text in file.metadata.items() if key != "header_crc32"}
    manifest = json.loads(content["manifest"].tobytes())
    FORGED[forged](manifest)
    text = (
        json.dumps(manifest).replace("Infinity", "1e400").replace('"a float of 400 digits"', "1" * 400 + ".0")
    )
    path.unlink()
    tensors.write(str(path), {**content, "manifest": np.frombuffer(text.encode(), np.uint8)}, metadata)
    for look in (resume_points.peek, resume_points.verify, resume_points.load):
        with pytest.raises(DamagedFile):
            look(str(run), 3)
    assert recover(str(run)).state["n"] == 2


def test_huge_files_that_are_planted_take_no_memory(run: Path) -> None:
    for name in ("blob-rows-00000009-0123abcd", "history.csv"):
        with open(run / name, "r+b" if name == "history.csv" else "wb") as file:
            file.truncate(400_000_000)  # sparse
    tracemalloc.start()
    recover(str(run))
    assert tracemalloc.get_traced_memory()[1] < 60_000_000
    tracemalloc.stop()
    assert (run / "history.csv").read_bytes() == b"1\n2\n3\n"


def test_a_planted_file_that_is_larger_than_any_of_ours_is_not_read(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(recovery, "crc32_file", lambda path: read.append(Path(path).name) or 0)
    for number, size in ((8, 1000), (9, limits.SEGMENT_BYTES + 1)):
        with open(run / f"blob-rows-0000000{number}-0123abcd", "wb") as file:
            file.truncate(size)
    recover(str(run))
    assert read == ["blob-rows-00000008-0123abcd"]
