"""Runs the checks and the tests in parts, three at a time, and ends with one line that sums them up.

    python scripts/run_tests.py [PART ...]     all parts by default

A Keras process has one backend for life, so each backend's tests are a part of their own, and so
are those against the oldest Keras. A part that fails stops no other; the exit code tells.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_KERAS = ROOT / ".venv" / "keras-3.10.0"
WRITE_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}  # hundreds of processes import the library
AT_A_TIME = 3  # on two cores: tests wait for disks and for processes that start

CORE = ("src/outlast/core", "tests/core", "tests/test_architecture.py")
CRASHES = tuple(f"tests/storage/test_{name}.py" for name in ("faults", "kill", "mutants", "power_cut"))
STORAGE = ("src/outlast/storage", "tests/storage")
FAULTS = ("tests/faults",)
FORKS = (
    "tests/exact/test_exact.py",
    "tests/run/test_augmentation.py",
    "tests/run/test_inside_data.py",
)  # JAX must not be loaded beside them
DEMO = ("tests/test_demo.py", "tests/test_docs.py")
WITH_KERAS = (
    "tests/callbacks",
    "tests/frameworks",
    "tests/run/test_inside_fit.py",
    "tests/run/test_keras.py",
    "tests/run/test_load_best.py",
    "tests/test_bad_input.py",
)
ON_EACH_BACKEND = (
    "tests/parity",
    "tests/frameworks/test_keras_saving.py",
    "tests/crash/test_keras.py",
    "tests/run/test_inside_fit.py",
    "tests/run/test_keras.py",
    "tests/exact/test_keras_exact.py",
)
CONFORMANCE = "tests/frameworks/test_conformance.py"
# Other people's loops, in processes of their own: some take seconds to import, or must not be loaded where
# others fork, and none depends on Keras.
ALONE = {
    name: tuple(
        path.relative_to(ROOT).as_posix()
        for pattern in (f"src/outlast/frameworks/{name}*.py", f"tests/*/test_{name}*.py")
        for path in sorted(ROOT.glob(pattern))
    )
    for name in ("huggingface", "lightning", "sklearn", "other_loops", "lightgbm", "xgboost")
}
KERAS_OWN = "tests/parity/test_keras_own_tests.py"  # of decisions, which are the same on each backend
# So are these; TensorFlow, which traces each model anew, takes longest for them.
DECISIONS = tuple(
    f"tests/parity/test_{name}.py"
    for name in (
        *("csv_logger", "differences", "direction", "early_stopping", "history_and_lambda"),
        *("learning_rate_scheduler", "reduce_lr_on_plateau", "terminate_on_nan"),
    )
)
IN_THE_FAST_LIST = ("tests/parity",)  # a run makes any list as quick
JAX = ("tests/frameworks/test_jax.py", "tests/exact/test_jax_exact.py")
ELSEWHERE = (*CORE, *STORAGE, *FAULTS, *FORKS, *DEMO, *JAX)
COUNT = re.compile(r"(\d+) (passed|failed|skipped|xfailed|error)")


@dataclass(frozen=True)
class Part:
    """Commands that are run one after the other, whatever came of the former."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    env: dict[str, str] = field(default_factory=dict)
    has_tests: bool = True


@dataclass(frozen=True)
class Result:
    """What came of a part; ``counts`` sums up pytest's last lines: passed, failed, error ..."""

    part: Part
    ok: bool
    output: str
    seconds: float
    counts: Counter[str]


def python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)


def tests(name: str, *arguments: str, backend: str = "jax", **env: str) -> Part:
    command = python("pytest", "-m", "not crash", "--durations=5", "--durations-min=5", *arguments)
    return Part(name, (command,), {"KERAS_BACKEND": backend, **env})


def but(*paths: str) -> Iterator[str]:
    return (f"--ignore={path}" for path in paths)


def alone(name: str) -> Part:
    # With one thread: several would wait for each other.
    return tests(name, *ALONE[name], CONFORMANCE, "-k", name, OMP_NUM_THREADS="1")


def but_alone() -> Iterator[str]:
    for name, paths in ALONE.items():
        yield from but(*paths)
        yield f"--deselect={CONFORMANCE}::test_every_training_decides_as_keras[{name}"


# What takes longest is spread over several parts, and after the quickest two the longest come first.
PARTS = [
    Part(
        "checks",
        (python("ruff", "check"), python("ruff", "format", "--check"), python("mypy")),
        has_tests=False,
    ),
    tests("core", *CORE),
    tests("tensorflow", *ON_EACH_BACKEND, *but(KERAS_OWN, *DECISIONS), backend="tensorflow"),
    tests("rest", "src", "tests", *but(*ELSEWHERE, *ON_EACH_BACKEND), *but_alone()),
    tests("jax", *JAX, *ON_EACH_BACKEND),
    *map(alone, ALONE),
    tests("torch", *ON_EACH_BACKEND, *but(KERAS_OWN), backend="torch"),
    tests("oldest-keras", *WITH_KERAS, *but_alone(), PYTHONPATH=str(OLDEST_KERAS)),
    tests("fast-list", *IN_THE_FAST_LIST, *but("tests/parity/test_async.py"), FAST_LIST="1"),
    tests("faults", *FAULTS),
    tests("exact", *FORKS),
    tests("demo", *DEMO),
    tests("crashes", *CRASHES),
    tests("storage", *STORAGE, *but(*CRASHES)),
]


def run(part: Part) -> Result:
    started = time.monotonic()
    done = [
        subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **WRITE_BYTECODE, **part.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for command in part.commands
    ]
    output = "".join(process.stdout for process in done)
    ok = all(process.returncode == 0 for process in done)
    counts = count(output, ok) if part.has_tests else Counter[str]()
    return Result(part, ok, output, time.monotonic() - started, counts)


def count(output: str, ok: bool) -> Counter[str]:
    """The numbers in the last line of pytest's; a part that failed without any counts as one."""
    last = output.strip().rpartition("\n")[2]
    counts = Counter({word: int(n) for n, word in COUNT.findall(last)})
    counts["failed"] += counts.pop("error", 0)
    if not ok and not counts["failed"]:
        counts["failed"] = 1
    return counts


def run_all(parts: list[Part]) -> list[Result]:
    results = []
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        try:
            for future in as_completed([pool.submit(run, part) for part in parts]):
                result = future.result()
                print(f"\n=== {result.part.name} ===\n{result.output.rstrip()}", flush=True)
                results.append(result)
        except KeyboardInterrupt:  # has reached the running parts too; those that wait must not start
            pool.shutdown(cancel_futures=True)
            raise SystemExit(130) from None
    return results


def sum_up(results: list[Result]) -> None:
    print("\n=== all parts ===")
    for result in results:
        numbers = ", ".join(f"{n} {word}" for word, n in result.counts.items() if n)
        print(f"{result.part.name:<14}{state(result):<8}{result.seconds:6.0f} s  {numbers}")
    print(in_all(results))


def in_all(results: list[Result]) -> str:
    """The last line: what came of the tests, and of parts that have none."""
    said = []
    if any(result.part.has_tests for result in results):
        total = sum((result.counts for result in results), Counter[str]())
        said = [f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped"]
    without = [result for result in results if not result.part.has_tests]
    return "; ".join([*said, *(f"{result.part.name} {state(result)}" for result in without)])


def state(result: Result) -> str:
    return "ok" if result.ok else "FAILED"


def main(names: list[str]) -> int:
    """Runs the parts named, or all."""
    unknown = set(names) - {part.name for part in PARTS}
    if unknown:
        print(f"no such part: {', '.join(sorted(unknown))}; there are:", *(p.name for p in PARTS))
        return 2
    results = run_all([part for part in PARTS if not names or part.name in names])
    sum_up(results)
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
