"""A copy of a run by hard links, as some backups make it, stays as it was; ``run.json`` is mended."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.run.training import content, train

import outlast
from outlast import CSVLogger, ModelCheckpoint
from outlast.inspect.verification import verify


def callbacks() -> list[outlast.Callback]:
    return [CSVLogger("log.csv"), ModelCheckpoint("best.pt", save_best_only=True)]


@pytest.mark.parametrize("lines", [b"", b"9,9\r\n"])
def test_a_copy_by_hard_links_is_not_written_through(tmp_path: Path, lines: bytes) -> None:
    folder, copy = tmp_path / "run", tmp_path / "copy"
    train(folder, callbacks(), epochs=2)
    with open(folder / "log.csv", "ab") as file:  # what a killed epoch left
        file.write(lines)
    shutil.copytree(folder, copy, copy_function=os.link)
    before = content(copy) | {"events": str((copy / "events.jsonl").read_bytes())}
    train(folder, callbacks(), epochs=4)
    assert content(copy) | {"events": str((copy / "events.jsonl").read_bytes())} == before
    assert verify(str(folder)).holds
    assert len(outlast.open_run(copy).history.epochs) == 2
    assert (folder / "events.jsonl").read_bytes().startswith((copy / "events.jsonl").read_bytes())


def test_a_lost_run_json_is_written_again_by_a_start(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(folder, callbacks(), epochs=2)
    whole = json.loads((folder / "run.json").read_text())["settings"]
    for epochs, damage in enumerate([None, "{", "[" * 100_000], start=2):
        (folder / "run.json").unlink()
        if damage is not None:
            (folder / "run.json").write_text(damage)
        assert not verify(str(folder)).holds
        train(folder, callbacks(), epochs=epochs)
        assert verify(str(folder)).holds
        assert json.loads((folder / "run.json").read_text())["settings"] == whole
