"""The programs of docs/other-loops.md: other libraries inside ``run.epochs``, killed and started again."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from tests import forking

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/other-loops.md").read_text("utf-8")
PROGRAMS = dict(re.findall(r"^## (\w+)\n.*?^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
FASTAI = ROOT / ".venv/fastai"  # beside the others, for it asks for much else

KILLS = """
import os, signal, sys, outlast
log, logged = outlast.Run.log, []
def killed(run, *metrics, **named):
    logged.append(named)
    if len(logged) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    log(run, *metrics, **named)
outlast.Run.log = killed
"""
ENDS = """
import hashlib
weights = b"".join(one.detach().numpy().tobytes() for one in run.model.parameters())
print("ended", hashlib.sha256(weights).hexdigest(), run.history.rows)
"""
LOGS = {"skorch": 3, "ignite": 60, "accelerate": 70, "fastai": 3}  # calls of run.log before the kill
PATH = [*sys.path, str(FASTAI)]
IMPORTS = (*forking.TORCH, "sklearn.datasets", "skorch", "ignite.engine", "accelerate", "fastai.learner")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(PATH)}


@pytest.mark.skipif(not FASTAI.is_dir(), reason="the other libraries are not installed")
@pytest.mark.parametrize("library", LOGS)
def test_a_killed_program_of_the_page_ends_as_one_that_never_stopped(library: str, tmp_path: Path) -> None:
    def ended(folder: Path, at: int) -> tuple[int, str, str]:
        folder.mkdir(exist_ok=True)
        code = KILLS + PROGRAMS[library] + ENDS
        done = forking.run("-c", code, str(at), imports=IMPORTS, env=ENVIRONMENT, cwd=folder)
        return done.returncode, done.stdout.partition("ended ")[2], done.stdout + done.stderr

    code, whole, said = ended(tmp_path / "whole", 0)
    assert (code, "would not be exact" in said) == (0, False), said
    assert ended(tmp_path / "killed", LOGS[library])[0] == -9
    code, resumed, said = ended(tmp_path / "killed", 0)
    assert "outlast: resumed" in said
    assert (code, resumed) == (0, whole), said
