"""The benches work: each is run with little work. What they measure is no matter here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "bench"))

from run_all import PRINTED, QUICK, TABLES, with_table  # noqa: E402


def test_every_bench_is_run() -> None:
    helpers = {"run_all", "saving", "side_by_side"}
    written = {command[0] for commands in TABLES.values() for command in commands}
    assert {path.stem for path in (ROOT / "bench").glob("*.py")} - helpers == {*QUICK}
    assert {*QUICK} == {*PRINTED, *written, "picture"}


@pytest.mark.parametrize("name", QUICK)
def test_a_bench_does_its_work(name: str) -> None:
    command = [sys.executable, "bench/run_all.py", "--quick", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d\.\d", done.stdout)


def test_a_table_replaces_the_one_of_its_name_alone() -> None:
    page = "a <!-- one -->x<!-- end --> b <!-- two -->y<!-- end --> c"
    assert with_table(page, "two", r"\1") == "a <!-- one -->x<!-- end --> b <!-- two -->\n\\1<!-- end --> c"
