"""A survey believes nothing: not what a resume point says of its blobs, nor where a name leads."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from tests.storage.workload import RUN

from outlast.exceptions import CapabilityError, DamagedFile
from outlast.storage import identity, logs, resume_points
from outlast.storage.blobs import Blob
from outlast.storage.commit import Bundle, Committed, commit
from outlast.storage.disk import files
from outlast.storage.disk.reading import crc32_file, crc32_part
from outlast.storage.format import limits, tensors
from outlast.storage.survey import survey


def test_a_twin_is_not_looked_for_outside_the_folder(tmp_path: Path) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    run.mkdir()
    step = Bundle({"models/best.bin": files.Content(b"model")})
    commit(str(run), Committed(), step, 1)
    (run / "blob-00000001-0123abcd.bin").unlink()
    assert [twin.file for twin in survey(str(run)).replaceable.values()] == ["models/best.bin"]
    os.rename(run / "models", outside)
    (run / "models").symlink_to(outside)
    assert survey(str(run)).replaceable == {}
    assert [blob.name for blob in survey(str(run)).lost] == ["blob-00000001-0123abcd.bin"]


@pytest.mark.parametrize("size", [-1, 1 << 63, 10**30])
def test_a_size_that_no_file_has_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        Blob.from_json({"blob": "blob-00000001-0123abcd", "size": size, "crc32": "0"})


def test_the_checksum_of_a_part_is_that_of_all_its_bytes_or_none(tmp_path: Path) -> None:
    (tmp_path / "all").write_bytes(b"0123456789")
    (tmp_path / "part").write_bytes(b"3456")
    assert crc32_part(str(tmp_path / "all"), 3, 4) == crc32_file(str(tmp_path / "part"))
    assert crc32_part(str(tmp_path / "all"), 7, 3) is not None
    assert crc32_part(str(tmp_path / "all"), 7, 4) is None


def bomb(path: Path, filler: bytes, size: int) -> None:
    """A resume point whose header fits its checksum, and has ``size`` bytes of JSON lists."""
    metadata = b'{"header_crc32":"00000000","format":"outlast resume point","version":"2"}'
    text = b'{"__metadata__":' + metadata + b',"x":[' + filler * (size // len(filler)) + b"0]}"
    text += b" " * (-(8 + len(text)) % tensors.PAGE)
    path.write_bytes(tensors.sealed_header(len(text).to_bytes(8, "little") + text))


@pytest.mark.parametrize("filler", [b"[],", b"{},", b"1,"])
def test_a_header_that_would_swell_is_refused_unparsed(tmp_path: Path, filler: bytes) -> None:
    bomb(tmp_path / "resume-00000009", filler, 8_000_000)
    tracemalloc.start()
    with pytest.raises(DamagedFile, match="too many values"):
        survey(str(tmp_path))
    assert tracemalloc.get_traced_memory()[1] < 80_000_000  # a few copies of the text
    tracemalloc.stop()


def test_a_manifest_that_would_swell_is_refused_unparsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity.give(str(tmp_path), RUN)
    commit(str(tmp_path), Committed(number=8), Bundle(), [0] * 1000)
    monkeypatch.setattr(limits, "JSON_VALUES", 999)
    with pytest.raises(DamagedFile, match="too many values"):
        survey(str(tmp_path))


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JSON_VALUES", 999)
    with pytest.raises(CapabilityError, match="too many values"):
        commit(str(tmp_path), Committed(), Bundle(), [0] * 1000)
    with pytest.raises(CapabilityError, match="200 arrays are too many"):
        tensors.write(str(tmp_path / "t"), {str(n): np.zeros(1) for n in range(200)}, {})
    assert os.listdir(tmp_path) == []


def test_a_text_that_is_no_text_is_damage(tmp_path: Path) -> None:
    path = str(tmp_path / "resume-00000002")
    metadata = {"format": resume_points.FORMAT, "version": "2", "run": RUN}
    tensors.write(path, {"manifest": np.zeros(8, np.float32)}, metadata)
    with pytest.raises(DamagedFile, match="'manifest' is not a text"):
        survey(str(tmp_path))


def test_few_lines_that_are_very_long_go_to_a_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEPT_BYTES", 10)
    sealed: list[bytes] = []

    def seal(old: bytes) -> Blob:
        sealed.append(old)
        return Blob("blob-rows-00000001-0123abcd", len(old), 0)

    short = logs.Log(True).after(logs.Lines(b"12345678\n")).with_short_tail(seal)
    assert (short.tail, sealed) == (b"12345678\n", [])
    long = short.after(logs.Lines(b"9\n")).with_short_tail(seal)
    assert (long.tail, sealed, long.size) == (b"", [b"12345678\n9\n"], 11)
