"""Signals to real processes, at any moment: the end a shell expects, and a rerun as if there were none."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.signalled import EXIT_CODES, Ended, Signal, Signaller
from tests.faults.training import debris

INT, TERM, USR1 = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1


@pytest.fixture(scope="module", params=["torch_loop", "keras_fit"])
def signaller(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Signaller:
    return Signaller(request.param, tmp_path_factory.mktemp(request.param), seed=1)


def assert_ended_by(sent: Signal, end: Ended, *, quietly: bool = True) -> None:
    """The process ended by the signal, with nothing to read but Ctrl-C's own name."""
    assert end.report is None, f"{sent}: it went on to its end"
    assert end.code == EXIT_CODES[sent.number], f"{sent}: {end.said}"
    if sent.number == INT:
        assert end.said.rstrip().endswith("KeyboardInterrupt"), end.said
    if quietly:
        assert end.said.count("Traceback") == (sent.number == INT), end.said
        assert "Exception ignored" not in end.said and "Warning" not in end.said


def assert_same_end(signaller: Signaller, name: str, signals: list[Signal], *, quietly: bool = True) -> None:
    """A training that gets these signals, and is started again after each, ends as one that got none."""
    ended, differences = signaller.campaign(name, signals)
    for sent, end in zip(signals, ended, strict=True):
        assert_ended_by(sent, end, quietly=quietly)
    assert differences == []
    assert debris(signaller.folder / name) == []


def test_signals_at_random_moments(signaller: Signaller) -> None:
    signals = [signaller.at_random(number) for number in (INT, TERM, USR1, INT, TERM)]
    assert_same_end(signaller, "at random", signals)


def test_signals_in_a_validation_and_in_a_save(signaller: Signaller) -> None:
    signals = [signaller.in_a_validation(number) for number in (INT, TERM)]
    signals += [signaller.in_a_save(number) for number in (TERM, INT)]
    assert_same_end(signaller, "in a validation and in a save", signals)


def test_a_second_signal_while_the_first_is_heeded_ends_it_at_once_and_the_state_is_whole(
    signaller: Signaller,
) -> None:
    signals = [signaller.in_a_save(INT, again=0.001), signaller.at_random(TERM, again=0.003)]
    assert_same_end(signaller, "twice", signals, quietly=False)


def test_a_signal_while_a_start_puts_the_folder_in_order_is_a_crash_like_any_other(
    tmp_path: Path,
) -> None:
    signaller = Signaller("torch_loop", tmp_path, seed=1)
    signals = [signaller.in_a_save(TERM), signaller.in_a_recovery(INT), signaller.in_a_recovery(TERM)]
    assert_same_end(signaller, "in a recovery", signals, quietly=False)


@pytest.mark.crash
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(15))
def test_thirty_of_each(signaller: Signaller, number: int) -> None:
    """Two of INT and two of TERM in each of fifteen trainings."""
    kinds = [signaller.at_random, signaller.in_a_save, signaller.at_random, signaller.in_a_validation]
    order = [INT, TERM, TERM, INT] if number % 2 else [TERM, INT, INT, TERM]
    assert_same_end(signaller, f"thirty, {number}", [at(one) for at, one in zip(kinds, order, strict=True)])


@pytest.mark.parametrize(
    ("training", "number"),
    [
        ("loop_with_workers", INT),
        ("loop_with_workers", TERM),
        ("loop_with_lasting_workers", TERM),
        ("loop_with_lasting_workers", USR1),
        ("loop_with_lasting_workers_and_the_global_generator", INT),
    ],
)
def test_a_signal_to_the_whole_group_ends_training_and_workers_in_good_order(
    tmp_path: Path, training: str, number: signal.Signals
) -> None:
    """As from a terminal, or from a scheduler: workers leave it to their parent."""
    workers = Signaller(training, tmp_path, seed=1)
    signals = [workers.at_random(number, group=True) for _ in range(2)]
    assert_same_end(workers, "signalled", signals)


SCRIPT = """
import os, sys, outlast
run = outlast.Run(sys.argv[1], [outlast.CSVLogger()], adapter=outlast.testing.FakeAdapter())
for epoch in run.epochs(5):
    for batch in run.batches(range(3)):
        if epoch == int(sys.argv[2]) and batch == 1:
            os.kill(os.getpid(), int(sys.argv[3]))
    run.log(loss=1 / (epoch + 1))
print(run.history["loss"])
"""


@pytest.mark.parametrize("number", [INT, TERM, USR1], ids=lambda number: number.name)
def test_a_shell_sees_the_exit_code_of_a_script_that_a_signal_ended(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)

    def start(signalled_in: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "script.py", "run", str(signalled_in), str(int(number))]
        shell = ["sh", "-c", '"$@"; echo "code $?"', "sh", *command]
        return subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True)

    ended = start(2)
    told = "ended in epoch 3, which is not saved; epoch 2 is. The same command goes on with epoch 3"
    name = "Ctrl-C" if number is INT else number.name
    assert ended.stdout == f"outlast: {name}: {told}\ncode {EXIT_CODES[number]}\n"
    assert ended.stderr.count("Traceback") == (number == INT)
    ended = start(-1)
    assert (
        "resumed run at epoch 3 (epoch 2 trained again as a check: identical), resume point 2" in ended.stdout
    )
    assert ended.stdout.endswith(f"{[1 / (epoch + 1) for epoch in range(5)]}\ncode 0\n")
    assert debris(tmp_path / "run") == []


LEAVES = """
import os, signal, sys, time
import outlast
from outlast.testing import FakeAdapter

number = getattr(signal, sys.argv[2])
if sys.argv[3] == "exits":
    signal.signal(number, lambda number, frame: sys.exit(75))

def train(run):
    for epoch in run.epochs(2):
        for batch in run.batches(range(5)):
            if batch == 3:
                os.kill(os.getpid(), number)
                if sys.argv[1] == "return":
                    return
                raise ValueError("mine")

run = outlast.Run("run", adapter=FakeAdapter({"w": [0.3]}), save_every=2)
try:
    train(run)
except ValueError:
    pass
time.sleep(60)  # a program that goes on
"""


@pytest.mark.parametrize("way", ["return", "raise"])
@pytest.mark.parametrize("number", [INT, TERM, USR1], ids=lambda number: number.name)
@pytest.mark.parametrize("handler", ["exits", "none"])
def test_a_signal_in_the_batch_that_leaves_the_loop_comes_again_behind_it(
    tmp_path: Path, way: str, number: signal.Signals, handler: str
) -> None:
    command = [sys.executable, "-c", LEAVES, way, number.name, handler]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)
    shown = "Ctrl-C" if number is INT else number.name
    assert f"outlast: {shown}: it came in the batch that left the loop, which is not saved" in ended.stdout
    assert ended.returncode == (75 if handler == "exits" else -number)
    assert "Exception ignored" not in ended.stderr
