"""Real SIGKILLs: a real process dies at each call of the file system, and is started again.

strace delivers the signal when the call begins. The processes are forked from
one that has imported everything (``zygote.py``), so that a death costs a few
hundredths of a second.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.storage import workload

STEPS = 3
CALLS = (
    "openat,write,pwrite64,ftruncate,fsync,link,linkat,rename,renameat,renameat2,"
    "unlink,unlinkat,mkdir,mkdirat,flock,ioctl,close"
)
PATIENCE = 30.0  # seconds until a test that hangs fails

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: apt-get install strace")


class Zygote:
    """Runs workloads in forked children, and strace on them."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.storage.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def run(self, folder: Path, steps: int, *strace: str) -> int:
        """The child's exit code, negative if a signal ended it."""
        child = int(self._ask(f"{folder} {steps}"))
        command = ["strace", "-p", str(child), "-e", f"trace={CALLS}", *strace]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr
            # It says so once the child cannot make a call without it.
            assert "attached" in tracer.stderr.readline()
            code = int(self._ask("go"))
            tracer.communicate(timeout=PATIENCE)
        return code

    def _ask(self, line: str) -> str:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(PATIENCE)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture(scope="module")
def end(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the folder holds after a run that nobody killed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    workload.run(str(folder), STEPS)
    return workload.content(folder)


def calls_of(zygote: Zygote, folder: Path) -> list[tuple[str, int]]:
    """Each call that a workload makes from what ``folder`` holds: its name, and which of that name."""
    log = folder.parent / "strace.log"
    assert zygote.run(folder, STEPS, "-o", str(log)) == 0
    counts: Counter[str] = Counter()
    made = []
    for line in log.read_text().splitlines():
        if match := re.match(r"(\w+)\(", line):
            counts[match[1]] += 1
            made.append((match[1], counts[match[1]]))
    return made


def killed(zygote: Zygote, folder: Path, call: str, number: int) -> None:
    """Run the workload, and kill it when it makes that call."""
    inject = f"inject={call}:signal=SIGKILL:when={number}"
    assert zygote.run(folder, STEPS, "-o", "/dev/null", "-e", inject) == -signal.SIGKILL


@pytest.fixture(scope="module")
def kills(zygote: Zygote, shared_memory_disk: Path) -> list[Path]:
    """A folder for each call of three commits, as a kill at that call left it."""
    folders = []
    for call, number in calls_of(zygote, shared_memory_disk / "whole"):
        folders.append(shared_memory_disk / f"{call} {number}")
        killed(zygote, folders[-1], call, number)
    return folders


def go_on(folder: Path, end: dict[str, str], at_least: int = 0) -> None:
    """Start the killed run again: it loses no commit, and ends as one that nobody killed."""
    found = workload.run(str(folder), STEPS, say=lambda finding: None)
    assert found.committed.number >= max(at_least, committed(folder))
    assert not any("set aside" in finding or "lost" in finding for finding in found.findings)
    assert workload.content(folder) == end


def committed(folder: Path) -> int:
    """What the killed process knew to be committed."""
    return int(Path(f"{folder}.committed").read_text() or 0)


def test_a_process_that_is_killed_at_any_call_goes_on_as_if_nothing_was(
    kills: list[Path], memory_disk: Path, end: dict[str, str]
) -> None:
    """Three commits, with deletions, a table that becomes wider, and segments."""
    assert len(kills) > 150
    for folder in kills:
        go_on(copied(folder, memory_disk / "run"), end)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("most", [3, pytest.param(1000, marks=pytest.mark.crash)])
def test_a_process_that_is_killed_again_while_it_recovers_goes_on_all_the_same(
    zygote: Zygote, kills: list[Path], memory_disk: Path, end: dict[str, str], most: int
) -> None:
    """Each call of the start after a kill, for ``most`` of the different states after a kill."""
    states = [*{anonymous(workload.content(folder)): folder for folder in kills}.values()]
    assert len(states) > 40
    for first in states[:: max(1, len(states) // most)][:most]:
        for call, number in calls_of(zygote, copied(first, memory_disk / "whole")):
            folder = copied(first, memory_disk / "run")
            killed(zygote, folder, call, number)
            go_on(folder, end, at_least=committed(first))


def anonymous(content: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The content without the random part of temporary names."""
    named = ((re.sub(r"\.x[0-9a-f]{12}", ".x", name), data) for name, data in content.items())
    return tuple(sorted(named))


def copied(folder: Path, target: Path) -> Path:
    """The folder under another path, with what its process knew to be committed."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copy(f"{folder}.committed", f"{target}.committed")
    return Path(shutil.copytree(folder, target)) if folder.exists() else target
