"""The command line: what it takes, what it answers, and its exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import outlast
from outlast import cli
from outlast.exceptions import FileError

ROOT = Path(__file__).parent.parent


def raising(error: BaseException) -> Callable[..., int]:
    def run(*arguments: Any, **keywords: Any) -> int:
        raise error

    return run


def asked(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the demo is called with."""
    calls = []

    def run(*positional: Any, **keywords: Any) -> int:
        calls.append((positional, keywords))
        return 0

    monkeypatch.setattr("outlast.demo.showing.run", run)
    assert cli.main(["demo", *arguments]) == 0
    return calls[0]


def test_the_demo_has_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch) == (("outlast-demo",), {"seed": 0, "epochs": 100, "as_json": False})


def test_each_option_of_the_demo_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "--folder x --seed 3 --epochs 5 --json".split()
    assert asked(monkeypatch, *words) == (("x",), {"seed": 3, "epochs": 5, "as_json": True})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("demo --epochs 0", "argument --epochs: must be a whole number, at least 1, but is '0'"),
        ("demo --epochs 2.5", "argument --epochs: must be a whole number, at least 1, but is '2.5'"),
        ("demo --seed=-1", "argument --seed: must be a whole number, at least 0, but is '-1'"),
        ("demo --seed ٣", "argument --seed: must be a whole number, at least 0, but is '٣'"),
        ("demo --folder=", "argument --folder: must be a path, but is empty"),
        ("demo --folders x", "unrecognized arguments: --folders x"),
        ("dmo", "invalid choice: 'dmo'"),
        ("", "the following arguments are required: COMMAND"),
    ],
)
def test_what_cannot_work_is_told_in_a_line_with_code_2(
    arguments: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments.split())
    assert exit_.value.code == 2
    assert text in capsys.readouterr().err


def test_an_error_of_ours_is_one_safe_line_with_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("outlast.demo.showing.run", raising(FileError("Cannot write a\x1b[31m\nb: no.")))
    assert cli.main(["demo"]) == 2
    assert capsys.readouterr() == ("", "outlast: Cannot write a\\x1b[31m\\nb: no.\n")


def test_an_error_that_is_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlast.demo.showing.run", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(["demo"])


def test_ctrl_c_is_one_line_with_code_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("outlast.demo.showing.run", raising(KeyboardInterrupt()))
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr() == ("", "outlast: interrupted\n")


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "outlast", *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, text=True, **options)


def test_it_runs_as_a_module() -> None:
    assert run("--version", capture_output=True).stdout == f"outlast {outlast.__version__}\n"


def test_it_is_installed_as_a_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["scripts"]["outlast"] == f"{cli.main.__module__}:{cli.main.__name__}"


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"]])
def test_help_tells_the_exit_codes(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert cli.CODES in told


def test_a_reader_who_has_gone_ends_it_without_a_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run("demo", "--epochs", "1", stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
