"""docs/format.md says enough: what it prints reads a resume point, and so does safetensors."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import zlib
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from outlast.storage import resume_points
from outlast.storage.blobs import Blob
from outlast.storage.commit import Bundle, Committed, commit
from outlast.storage.disk import files
from outlast.storage.format import layout, limits
from outlast.storage.format.dtypes import SAFETENSORS, Bits
from outlast.storage.format.encoding import _TAGS, Immutable
from outlast.storage.logs import Lines

PAGE = Path(__file__).parents[2] / "docs" / "format.md"

STATE: dict[str, Any] = {
    "epoch": 18,
    "weights": [np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, ">i8"), np.zeros((0, 2))],
    "optimizer": {0: (np.float64(0.1), True), "betas": (0.9, 0.999), "$": None},
    "best": float("-inf"),
    "random": b"\x00\xff",
    "half": np.ones(2).astype(ml_dtypes.bfloat16),
    "waves": np.array([[1 + 2j, 3j]]),
    "kept": Immutable({"w": np.arange(4.0), "booster": b"\x01\x02"}),
    "milestones": Counter({30: 1}),
    "names": OrderedDict(b=1, a=2),
    "seen": {3, 1},
    "tags": frozenset(["a"]),
    "last": deque([1, 2], 5),
    "buffer": bytearray(b"\x07"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A resume point with a model, a log with a segment, and all kinds of values."""
    lines = Lines(b"".join(b"%d\n" % n for n in range(1200)))
    models = {"best.keras": files.Content(b"a model")}
    commit(str(tmp_path), Committed(), Bundle(models, {"history.csv": lines}), STATE)
    return tmp_path / "resume-00000001"


@pytest.fixture
def page_reader(tmp_path: Path) -> Path:
    """The reader that the page prints, as a script."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    script = tmp_path / "reader.py"
    script.write_text(code, "utf-8")
    return script


def read_of(script: Path) -> Callable[[Path], dict[str, Any]]:
    names: dict[str, Any] = {"__name__": "reader"}
    exec(compile(script.read_text("utf-8"), str(script), "exec"), names)
    read: Callable[[Path], dict[str, Any]] = names["read"]
    return read


def test_the_reader_that_the_page_prints_finds_every_value(path: Path, page_reader: Path) -> None:
    state = read_of(page_reader)(path)["state"]
    ours = resume_points.load(str(path.parent), 1).state
    assert state.keys() == STATE.keys() == ours.keys()
    assert (state["epoch"], state["best"], state["random"]) == (18, -math.inf, b"\x00\xff")
    for name in ("optimizer", "milestones", "names", "seen", "tags", "last", "buffer"):
        assert state[name] == ours[name] == STATE[name]
        assert type(state[name]) is type(STATE[name])
    assert state["kept"]["booster"] == ours["kept"].value["booster"] == b"\x01\x02"
    assert state["kept"]["w"].tolist() == ours["kept"].value["w"].tolist() == [0, 1, 2, 3]
    assert type(state["optimizer"][0][0]) is np.float64
    for theirs, array, back in zip(state["weights"], STATE["weights"], ours["weights"], strict=True):
        assert theirs.shape == array.shape == back.shape
        assert theirs.tolist() == array.tolist() == back.tolist()
    assert state["half"].tolist() == [0x3F80, 0x3F80]
    assert isinstance(ours["half"], Bits)
    assert state["waves"].tolist() == STATE["waves"].tolist() == ours["waves"].tolist()


def test_it_finds_the_blobs_and_the_log_as_the_page_says(path: Path, page_reader: Path) -> None:
    manifest = read_of(page_reader)(path)
    assert manifest["number"] == 1
    best = manifest["files"]["best.keras"]
    data = (path.parent / best["blob"]).read_bytes()
    assert (len(data), zlib.crc32(data)) == (best["size"], int(best["crc32"], 16))
    (segment,) = manifest["logs"]["history.csv"]["segments"]
    assert manifest["logs"]["history.csv"]["public"] is True
    tail = safetensors.numpy.load_file(path)["log/history.csv"].tobytes()
    content = (path.parent / segment["blob"]).read_bytes() + tail
    assert content == (path.parent / "history.csv").read_bytes()


def test_the_reader_needs_the_standard_library_and_numpy_alone(path: Path, page_reader: Path) -> None:
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__');"
        "print({'outlast', 'safetensors', 'ml_dtypes'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(page_reader), str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'epoch': 18" in done.stdout
    assert done.stdout.endswith("set()\n")


@pytest.mark.parametrize("place", [45, 100, 4500, -1])
def test_the_reader_finds_damage(path: Path, page_reader: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(AssertionError, match="damaged"):
        read_of(page_reader)(path)


def test_the_safetensors_library_reads_a_resume_point(path: Path) -> None:
    tensors = safetensors.numpy.load_file(path)
    manifest = json.loads(tensors["manifest"].tobytes())
    assert manifest["number"] == 1
    name = manifest["state"]["weights"][0]["$tensor"]
    assert np.array_equal(tensors[name], STATE["weights"][0])
    assert tensors["state/half"].dtype == ml_dtypes.bfloat16


def test_the_page_names_the_version_and_every_type() -> None:
    text = PAGE.read_text("utf-8")
    assert text.startswith(f"# The format of a resume point, version {layout.VERSION}\n")
    shown = set(re.findall(r"`([A-Z0-9_]+)`", text))
    assert {name for name in SAFETENSORS.values() if not re.fullmatch(r"[UI](16|32)", name)} <= shown


def test_the_page_names_every_object_every_limit_and_every_name_that_is_kept() -> None:
    text = PAGE.read_text("utf-8")
    assert all(f'`{{"{tag}": ' in text for tag in _TAGS)
    for limit in (limits.JSON_BYTES, limits.JSON_VALUES, limits.INTEGER_BITS):
        assert f"{limit:,}" in text
    assert (
        f"| {limits.DEPTH} |" in text and f"| {limits.NAME_BYTES} bytes, {limits.PATH_BYTES} in all" in text
    )
    for limit in (limits.KEPT_BYTES, limits.SEGMENT_BYTES, limits.LINE_BYTES, limits.ROW_BYTES):
        assert f"{limit >> 20} MiB" in text
    assert all(f"`{name}`" in text for name in layout._OURS | layout._LOGS)


def test_a_blob_that_the_page_would_not_name_is_refused() -> None:
    for name in ("../blob-00000001-0123abcd.keras", "best.keras", "blob-00000001-0123abcd.keras/x", 3):
        with pytest.raises(ValueError):
            Blob.from_json({"blob": name, "size": 1, "crc32": "00000000"})
