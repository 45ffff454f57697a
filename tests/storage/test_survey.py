"""A survey believes nothing: not what a resume point says of its blobs, nor where a name leads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from outlast.storage import files
from outlast.storage.blobs import Blob
from outlast.storage.commit import Step, Truth, commit
from outlast.storage.reading import crc32_file, crc32_part
from outlast.storage.survey import survey


def test_a_twin_is_not_looked_for_outside_the_folder(tmp_path: Path) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    run.mkdir()
    step = Step({"models/best.bin": lambda path: files.write_bytes(path, b"model")})
    commit(str(run), Truth(), step, 1)
    (run / "blob-00000001.bin").unlink()
    assert [twin.view for twin in survey(str(run)).replaceable.values()] == ["models/best.bin"]
    os.rename(run / "models", outside)
    (run / "models").symlink_to(outside)
    assert survey(str(run)).replaceable == {}
    assert [blob.name for blob in survey(str(run)).lost] == ["blob-00000001.bin"]


@pytest.mark.parametrize("size", [-1, 1 << 63, 10**30])
def test_a_size_that_no_file_has_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        Blob.from_json({"blob": "blob-00000001", "size": size, "crc32": "0"})


def test_the_checksum_of_a_part_is_that_of_all_its_bytes_or_none(tmp_path: Path) -> None:
    (tmp_path / "all").write_bytes(b"0123456789")
    (tmp_path / "part").write_bytes(b"3456")
    assert crc32_part(str(tmp_path / "all"), 3, 4) == crc32_file(str(tmp_path / "part"))
    assert crc32_part(str(tmp_path / "all"), 7, 3) is not None
    assert crc32_part(str(tmp_path / "all"), 7, 4) is None
