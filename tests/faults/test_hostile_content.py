"""A hostile run directory: forged paths, pickles, code, bombs. Nothing runs, nothing swells."""

from __future__ import annotations

import io
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.faults.forged import forge_file, forge_journal, forge_manifest, newest
from tests.faults.training import torch_run, train

import outlast
from outlast.exceptions import ArgumentError, DamagedFile

BEFORE, AFTER = 2, 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that has done ``BEFORE`` epochs."""
    train(tmp_path / "run", epochs=BEFORE)
    return tmp_path / "run"


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A file outside, which must stay as it is, and stay the only one."""
    path = tmp_path / "outside" / "secret.txt"
    path.parent.mkdir()
    path.write_text("a secret")
    yield path
    assert os.listdir(path.parent) == ["secret.txt"]
    assert path.read_text() == "a secret"


OUT = "../outside/secret.txt"


def rename_key(mapping: dict[str, Any], new: str) -> None:
    mapping[new] = mapping.pop(next(iter(mapping)))


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a name outside": lambda manifest: rename_key(manifest["files"], OUT),
    "an absolute name": lambda manifest: rename_key(manifest["files"], "/etc/passwd"),
    "a name with NUL": lambda manifest: rename_key(manifest["files"], "a\0b"),
    "a blob": lambda manifest: manifest["files"]["best.txt"].update(blob=OUT),
    "a blob that begins well": lambda manifest: manifest["files"]["best.txt"].update(
        blob="blob-00000001-0123abcd.txt/../../outside/secret.txt"
    ),
    "a log": lambda manifest: rename_key(manifest["logs"], OUT),
    "no logs": lambda manifest: manifest.update(logs=True),
    "no state": lambda manifest: manifest.pop("state"),
    "another number": lambda manifest: manifest.update(number=7),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_forged_resume_point_is_set_aside_and_the_one_before_is_used(
    folder: Path, outside: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    forge_manifest(folder, DAMAGES[damage])
    run = train(folder, epochs=AFTER)
    assert "resume point 2 was set aside" in capsys.readouterr().out
    assert [row["epoch"] for row in run.history.rows] == [0, 1, 2]
    assert os.path.exists(folder / "damaged-resume-00000002")


def test_a_model_that_a_forged_state_would_delete_outside_is_refused_by_name(
    folder: Path, outside: Path
) -> None:
    def change(manifest: dict[str, Any]) -> None:
        for state in manifest["state"]["callbacks"].values():
            for kept in state["state"].get("kept", ()):
                kept[0] = OUT

    forge_manifest(folder, change)
    with pytest.raises(ArgumentError, match=r"secret.txt' cannot be a file of a run: it leads out"):
        train(folder, epochs=AFTER)


def test_a_best_model_that_a_forged_journal_puts_outside_is_none(folder: Path, outside: Path) -> None:
    forge_journal(folder, lambda decision: decision["values"].update(path=OUT, copies=[OUT]))
    past = outlast.open_run(folder)
    assert past.best is None or past.best.path is None
    assert past.checkpoints == []
    with pytest.raises(outlast.exceptions.UsageError):
        past.load_best()


# What a file may be that Python would unpickle: it makes a folder when it is loaded.


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A folder that a payload makes; nobody may."""
    yield tmp_path / "marker"
    assert not (tmp_path / "marker").exists()


def test_the_payload_would_do_harm(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "harm")))
    assert (tmp_path / "harm").exists()


NAMES = [
    *("LOCK", "run.json", "events.jsonl", "journal.jsonl", "history.csv", "best.txt", "models/02.txt"),
    *(
        "resume-00000001",
        "resume-00000002",
        "resume-00000003",
        "blob-00000001-0123abcd.txt",
        "blob-rows-00000001-0123abcd",
    ),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_under_any_name_is_never_loaded(
    folder: Path, tmp_path: Path, marker: Path, name: str
) -> None:
    (folder / name).write_bytes(pickle.dumps(Payload(marker)))
    run = train(folder, epochs=AFTER)
    assert run.history.rows == train(tmp_path / "undisturbed", epochs=AFTER).history.rows
    past = outlast.open_run(folder)
    assert (past.best, past.checkpoints, past.decisions) is not None


def pt(payload: Any) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(payload, file)
    return file.getvalue()


def load_best(folder: Path, live: bool) -> Any:
    """The best model, by a Run or by one who only looks."""
    return torch_run(folder).load_best() if live else outlast.open_run(folder).load_best()


@pytest.mark.parametrize("live", [True, False], ids=["a Run", "open_run"])
@pytest.mark.parametrize("pack", [pt, lambda payload: pickle.dumps(payload, 2)], ids=["zip", "bare pickle"])
def test_a_payload_as_the_best_model_of_torch_is_refused(
    tmp_path: Path, marker: Path, pack: Callable[[Any], bytes], live: bool
) -> None:
    torch_run(tmp_path / "run")
    forge_file(tmp_path / "run", "best.pt", pack({"weight": Payload(marker)}))
    with pytest.raises(pickle.UnpicklingError):
        load_best(tmp_path / "run", live)


@pytest.mark.parametrize("live", [True, False], ids=["a Run", "open_run"])
def test_a_best_model_that_was_exchanged_is_loaded_from_the_sealed_one(
    tmp_path: Path, marker: Path, live: bool
) -> None:
    run = torch_run(tmp_path / "run")
    best = tmp_path / "run" / "best.pt"
    right = run.load_best()
    best.unlink()
    best.symlink_to(marker)
    loaded = run.load_best() if live else outlast.open_run(tmp_path / "run").load_best()
    assert all(bool((loaded[name] == right[name]).all()) for name in right)


def test_a_best_model_that_is_lost_is_told(tmp_path: Path) -> None:
    run = torch_run(tmp_path / "run")
    for path in (tmp_path / "run").glob("b*.pt"):
        path.write_bytes(b"")
    with pytest.raises(
        DamagedFile, match=r"best.pt is not what was saved, and neither is blob-00000001-0123abcd.pt"
    ):
        run.load_best()


def keras_run(folder: Path) -> outlast.Run:
    """A run with a best model of Keras's."""
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    run = outlast.Run(folder, outlast.ModelCheckpoint(monitor="loss", save_best_only=True))
    model.fit(np.ones((4, 4)), np.ones((4, 3)), verbose=0, callbacks=[run])
    return run


def with_lambda(marker: Path) -> bytes:
    """A model whose loading, were it trusted, would unmarshal a function that makes a folder."""
    import keras

    harm = str(marker)
    layer = keras.layers.Lambda(lambda x: __import__("os").makedirs(harm, exist_ok=True) or x)
    file = marker.parent / "lambda.keras"
    keras.Sequential([keras.Input((4,)), layer]).save(file)
    marker.rmdir()
    keras.saving.load_model(file, safe_mode=False)
    marker.rmdir()  # it would do harm
    return file.read_bytes()


SWELLS = 1 << 28  # bytes


def entries(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def packed(content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return file.getvalue()


def with_compressed_entry(data: bytes) -> bytes:
    """A few kilobytes that become ``SWELLS``."""
    content = entries(data)
    longest = max(content, key=lambda name: len(content[name]) if name.endswith(("json", "/0")) else 0)
    return packed({**content, longest: content[longest] + b" " * SWELLS}, zipfile.ZIP_DEFLATED)


def with_large_array(data: bytes) -> bytes:
    """An array of HDF5 that has a shape, and no bytes."""
    import h5py

    content = entries(data)
    weights = io.BytesIO(content["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        group = file["layers/dense/vars"]
        del group["0"]
        group.create_dataset("0", shape=(SWELLS // 4 // 1024, 1024), dtype="f4", chunks=(64, 1024))
    return packed({**content, "model.weights.h5": weights.getvalue()})


def with_shared_bytes(data: bytes) -> bytes:
    """Many entries that lie in the same place."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries(data).items():
            archive.writestr(name, content)
        archive.writestr("assets", b" " * (1 << 20))
        archive.filelist.extend([archive.filelist[-1]] * 200)
    return file.getvalue()


LOOK = """
import os, resource, sys
import outlast

loaded = outlast.open_run(sys.argv[1]).load_best()  # the framework is in memory now
for folder in sys.argv[2:]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        said = f"loaded {outlast.open_run(folder).load_best()}"
    except Exception as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(os.path.basename(folder), grown // 1024, said, sep="|")
"""


def looked_at(good: Path, bad: list[Path]) -> dict[str, tuple[int, str]]:
    """What loading each best model brings, in one process: MB of memory that it took, and what was said."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(good), *map(str, bad)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2]
    assert len(lines) == len(bad), done.stdout
    return {name: (int(grown), said) for name, grown, said in lines}


def test_a_hostile_best_model_runs_nothing_and_swells_nothing(tmp_path: Path, marker: Path) -> None:
    made = {"best.keras": keras_run, "best.pt": torch_run}
    for name, make in made.items():
        make(tmp_path / name)
    keras_file, torch_file = (Path(tmp_path / name / name).read_bytes() for name in made)
    hostile = {
        "a Lambda layer": ("best.keras", with_lambda(marker)),
        "a compressed entry": ("best.keras", with_compressed_entry(keras_file)),
        "an array without bytes": ("best.keras", with_large_array(keras_file)),
        "entries that share bytes": ("best.keras", with_shared_bytes(keras_file)),
        "a compressed tensor": ("best.pt", with_compressed_entry(torch_file)),
    }
    for name, (view, data) in hostile.items():
        shutil.copytree(tmp_path / view, tmp_path / name)
        forge_file(tmp_path / name, view, data)
    found = looked_at(tmp_path / "best.keras", [tmp_path / name for name in hostile])
    assert "Lambda" in found["a Lambda layer"][1] and "ValueError" in found["a Lambda layer"][1]
    for name in list(hostile)[1:]:
        said = found[name][1]
        assert said.startswith("DamagedFile") and "is not a model that this run saved" in said, said
    assert max(grown for name, (grown, _) in found.items() if "tensor" not in name) < 64
    assert found["a compressed tensor"][0] < 200  # torch itself is loaded then


@pytest.mark.parametrize("view", ["best.weights.h5"])
def test_weights_that_would_swell_are_refused_too(tmp_path: Path, view: str) -> None:
    import h5py
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    run = outlast.Run(
        tmp_path / "run", outlast.ModelCheckpoint(view, "loss", save_best_only=True, save_weights_only=True)
    )
    model.fit(np.ones((4, 4)), np.ones((4, 3)), verbose=0, callbacks=[run])
    assert [w.shape for w in run.load_best().get_weights()] == [(4, 3), (3,)]
    file = tmp_path / "large.h5"
    with h5py.File(file, "w") as content:
        content.create_dataset("x", shape=(1 << 20, 1 << 10), dtype="f4", chunks=(64, 1024))
    with pytest.raises(DamagedFile, match="would become 4,294,967,296"):
        run.training.load_file(str(file.rename(tmp_path / "large.weights.h5")))


def header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


HEADERS = {
    "a length beyond the file": header(b"{}", 1 << 60),
    "the longest length": header(b"{}", (1 << 64) - 1),
    "a length that is just allowed": header(b"{}", 99_999_999),
    "no JSON": header(b"\xff" * 100),
    "deep nesting": header(b"[" * 100_000),
    "a long number": header(b'{"__metadata__":' + b"9" * 100_000 + b"}"),
    "nothing": b"",
}


@pytest.mark.parametrize("bomb", HEADERS)
def test_a_resume_point_whose_header_is_a_bomb_is_set_aside(
    folder: Path, bomb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    newest(folder).write_bytes(HEADERS[bomb])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    train(folder, epochs=AFTER)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    assert "resume point 2 was set aside" in capsys.readouterr().out


def test_a_tensor_whose_shape_is_a_bomb_takes_no_memory(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The header's checksum is right; the file is as short as it was."""
    from outlast.storage.format.tensors import sealed_header

    path = newest(folder)
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    begin = data[: 8 + length]
    assert b'"shape":[' in begin
    place = begin.rindex(b'"shape":[') + 9
    bomb = bytearray(begin[:place] + b"9" * 12 + begin[begin.index(b"]", place) :])[: len(begin)]
    path.write_bytes(bytes(sealed_header(bomb)) + data[len(begin) :])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    train(folder, epochs=AFTER)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    assert "resume point 2 was set aside" in capsys.readouterr().out
