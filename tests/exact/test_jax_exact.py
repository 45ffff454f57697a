"""JAX trainings that are killed and started again end with the same bits as those that never were."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import forking
from tests.exact.jax_trainings import TRAININGS

ROOT = Path(__file__).parents[2]
KILLS = {"inside_an_epoch": (5, 9, 13)}  # batches of each start; an epoch has seven


@pytest.fixture(autouse=True, scope="module")
def _compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What one process has compiled is there for the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
        yield


def start(name: str, folder: Path, kill: int = -1) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "src")))
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"} if "devices" in name else {}
    program = ("-m", "tests.exact.jax_trainings", name, str(folder), str(kill))
    return forking.run(
        *program, imports=forking.JAX, env={**os.environ, **flags, "PYTHONPATH": paths}, cwd=ROOT
    )


@pytest.mark.parametrize("name", TRAININGS)
def test_a_jax_training_that_is_killed_is_exact(folder: Path, name: str) -> None:
    whole = start(name, folder / "whole")
    assert whole.returncode == 0, whole.stderr
    assert "exact" not in whole.stdout + whole.stderr
    for batches in KILLS.get(name, (16,)):
        killed = start(name, folder / "killed", batches)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = start(name, folder / "killed")
    assert resumed.returncode == 0, resumed.stderr
    assert "(epoch" in resumed.stdout and "identical)" in resumed.stdout  # the check of the resume
    assert resumed.stdout.splitlines()[-1] == whole.stdout.splitlines()[-1]
    assert (folder / "killed/best.safetensors").read_bytes() == (
        folder / "whole/best.safetensors"
    ).read_bytes()


def test_a_finished_jax_run_is_put_back(folder: Path) -> None:
    first, second = (start("inside_an_epoch", folder) for _ in range(2))
    assert "is finished (all 5 epochs are done)" in second.stdout
    assert second.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
