"""Whatever a run's files say, with right checksums: an answer or an error of ours, in little memory."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.faults import fuzzing

SOME = 250


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun") / "run"
    fuzzing.begun(folder)
    return folder


@pytest.mark.parametrize("first", range(0, 2000, SOME))
def test_no_made_up_value_does_more_than_be_refused(begun: Path, folder: Path, first: int) -> None:
    assert fuzzing.in_a_child(begun, folder, range(first, first + SOME)) == []


@pytest.mark.crash
def test_no_made_up_value_of_fifty_thousand_does_more_than_be_refused(begun: Path, folder: Path) -> None:
    found: list[str] = []
    for first in range(100_000, 150_000, SOME):
        found += fuzzing.in_a_child(begun, folder, range(first, first + SOME))
    assert found == []


def test_the_values_are_written_as_they_are_meant() -> None:
    tree = {"a": [f"{fuzzing.RAW}1e999"], "b": f'{fuzzing.RAW}{{"c":1,"c":2}}', "d": "x"}
    assert fuzzing.as_text(tree) == b'{"a": [1e999], "b": {"c":1,"c":2}, "d": "x"}'


@pytest.mark.parametrize("which", fuzzing.FORGERS)
def test_each_forger_changes_the_run(begun: Path, folder: Path, which: str) -> None:
    changed = 0
    for seed in range(10):
        folder = fuzzing.copied(begun, folder / str(seed))
        before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        fuzzing.FORGERS[which](folder, random.Random(seed), which)
        changed += {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} != before
    assert changed >= 8
