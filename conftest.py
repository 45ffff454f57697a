"""Rules for every test, those in docstrings included. Fixtures for tests stand beside the tests.

In CI nothing may be left out: there a skip is an error, unless its reason begins with "only"
("only on torch", "only where strace is"): then the test has no meaning in this process.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from hypothesis import settings

# Who starts tests in the background may have Ctrl-C ignored; what is tested here is what it does.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before anything imports them: Keras takes its backend at import, TensorFlow its log level.
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Tests train the same small models again and again, in many processes: JAX compiles each function once.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _COMPILED = tempfile.mkdtemp(prefix="outlast-compiled-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(shutil.rmtree, _COMPILED, ignore_errors=True)

# The same examples in every run, and no test that fails because the machine is slow.
settings.register_profile(
    "outlast", max_examples=200, derandomize=True, deadline=None, database=None, print_blob=True
)
settings.load_profile("outlast")


def pytest_report_header() -> str:
    try:
        keras = version("keras")
    except PackageNotFoundError:
        keras = "missing"
    return f"keras {keras} on {os.environ['KERAS_BACKEND']}"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test or an example writes under a bare name does not land in the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_left_out(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_left_out(report)
    return report


def _fail_if_left_out(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (os.environ.get("CI") and report.skipped) or hasattr(report, "wasxfail"):
        return
    assert isinstance(report.longrepr, tuple)  # file, line, "Skipped: reason"
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if not reason.startswith("only"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where nothing may be left out: {reason}"
