"""Published trainings, made small, in published/: rehearsed, they end identical wherever they were killed.

Each has a Run added, and what the Run's own messages asked for. In one of them a fault is planted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from outlast import cli

SCRIPTS = Path(__file__).parent / "published"
FAULTY = "torch_vae_fault"
KILLS = 4

Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def rehearsed(name: str, kills: int, capsys: Out) -> Any:
    code = cli.main(["rehearse", "--kills", str(kills), "--json", str(SCRIPTS / f"{name}.py")])
    out, err = capsys.readouterr()
    assert out, err
    found = json.loads(out)
    assert code == (0 if found["identical"] else 1)
    assert len(found["tries"]) == kills + 1 and found["tries"][0]["identical"], found
    return found


@pytest.mark.crash
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", sorted({path.stem for path in SCRIPTS.glob("*.py")} - {FAULTY}))
def test_a_published_training_ends_identical_wherever_it_was_killed(name: str, capsys: Out) -> None:
    found = rehearsed(name, KILLS, capsys)
    assert found["identical"] and found["notes"] == [], found


@pytest.mark.parametrize("kills", [1, pytest.param(KILLS, marks=pytest.mark.crash)])
def test_the_planted_fault_is_named(kills: int, capsys: Out) -> None:
    found = rehearsed(FAULTY, kills, capsys)
    (differs, *_) = [one for one in found["tries"] if not one["identical"]]
    assert differs["place"].startswith("in batch")
    assert differs["difference"].startswith("the weights: state/training/model/")
    assert "a variable of the script, which run.extra saves" in differs["cause"]
