"""A forked program cannot tell that it was: it ends, speaks and sees the world as a fresh process does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests import forking

NUMPY = ("numpy",)
PROGRAMS = {
    "it ends": "print(1)",
    "it is the main program": "import __main__; print(__name__, __main__.x, hasattr(__main__, '__file__'))",
    "its arguments": "import sys; print(sys.argv, sys.orig_argv[1:], sys.path[0])",
    "its folder": "import os; print(os.getcwd())",
    "its environment": "import os; print(os.environ['WORD'], os.getenv('OMP_NUM_THREADS'))",
    "its input": "import sys; print(repr(sys.stdin.read()))",
    "its code": "raise SystemExit(3)",
    "an error": "import sys; print('told', file=sys.stderr, end=''); raise SystemExit('and why')",
    "a kill": "import os, signal; print(1, flush=True); os.kill(os.getpid(), signal.SIGKILL)",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "Ctrl-C": "import os, sys; sys.excepthook = lambda *e: print(e[0]); os.kill(os.getpid(), 2)",
    "its handlers": "import signal; print([signal.getsignal(n) for n in (2, 10, 12, 13, 15, 17)][1:])",
    "an end": "import atexit; atexit.register(print, 'the end')",
    "a thread": "import threading, time; threading.Thread(target=lambda: time.sleep(.1) or print(2)).start()",
    "a file": "import os; print(sorted(os.listdir('/dev/fd'))[:3], len(os.listdir('/dev/fd')))",
    "a child": "import os; pid = os.fork(); print(bool(pid), flush=True) if pid else None; pid and os.wait()",
    "its source": "import sys; print(sys._getframe().f_code.co_filename)",
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("kind", ["-c", "-m", "script"])
def test_a_forked_program_does_what_a_fresh_one_does(tmp_path: Path, name: str, kind: str) -> None:
    code = "x = 5\n" + PROGRAMS[name]
    (tmp_path / "program.py").write_text(code)
    what = {"-c": ["-c", code], "-m": ["-m", "program"], "script": ["program.py"]}[kind]
    env = {**os.environ, "WORD": "here"}
    command = [*what, "one", "two"]
    fresh = subprocess.run(
        [sys.executable, *command],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    forked = forking.run(*command, imports=NUMPY, env=env, cwd=tmp_path)
    assert (forked.returncode, forked.stdout) == (fresh.returncode, fresh.stdout)
    assert forked.stderr.splitlines()[-1:] == fresh.stderr.splitlines()[-1:]


def test_two_programs_in_a_row_draw_and_hash_differently() -> None:
    code = "import random, numpy; print(random.random(), numpy.random.rand(), hash('text'))"
    one, two, three = (forking.run("-c", code, imports=NUMPY).stdout.split() for _ in range(3))
    assert not {*one} & {*two} and not {*two} & {*three}
    assert not {*one[:2]} & {*three[:2]}


def test_what_is_imported_is_there_and_what_libraries_read_at_import_is_obeyed() -> None:
    code = "import sys, os; print('numpy' in sys.modules, sys.flags.utf8_mode)"
    for mode in "01":
        said = forking.run("-c", code, imports=NUMPY, env={**os.environ, "PYTHONUTF8": mode}).stdout
        assert said == f"True {mode}\n"


def test_a_program_that_runs_can_be_killed() -> None:
    code = "import time; print(1, flush=True); time.sleep(600)"
    reading, writing = os.pipe()
    with open(os.devnull) as nothing, os.fdopen(reading) as said:
        with os.fdopen(writing, "w") as out:
            process = forking.start("-c", code, imports=NUMPY, files=(nothing, out, out))
        assert said.readline() == "1\n"
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert said.read() == ""
