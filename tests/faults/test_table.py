"""The faults that a run must outlive, one by one: each test is named after what happens."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from tests.faults.training import (
    EPOCHS,
    Report,
    committed_epoch,
    debris,
    everything,
    report,
    temporaries,
    torch_run,
    train,
    views,
    writers,
)
from tests.storage.tap import killed_at, tapped
from tests.storage.test_power_cut import cuts
from tests.storage.trace import traced

import outlast
from outlast.exceptions import ArgumentError, FileError, RunChanged, RunLocked, UnknownFormat
from outlast.storage import resume_points
from outlast.storage.format import layout, tensors
from outlast.storage.format import reader as tensor_reader
from outlast.testing import FakeAdapter

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """How a training ends that nothing disturbed."""
    return report(train(tmp_path_factory.mktemp("undisturbed") / "run"))


def assert_right(folder: Path, right: Report) -> None:
    """The next start comes to the same end, bit for bit, and leaves nothing behind."""
    assert report(train(folder)) == right
    assert debris(folder) == []


def test_kill_9_at_any_instant(tmp_path: Path, right: Report) -> None:
    """Real processes, one after the other; each kills itself at another call."""
    random, folder = Random(0), tmp_path / "run"
    numbers = [random.randrange(95, 120) for _ in range(5)]
    for number in numbers:
        command = [sys.executable, "-m", "tests.faults.killed", str(folder), str(number)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert -1 < committed_epoch(folder) < EPOCHS - 1
    assert_right(folder, right)


def test_power_cut(memory_disk: Path, right: Report) -> None:
    """From disks that POSIX allows at each moment, the run goes on at what had been committed."""
    folder, tried = memory_disk / "run", 0
    with traced() as trace:

        def mark(run: outlast.Run, epoch: int) -> None:
            run.flush()
            trace.mark(epoch)

        train(folder, in_epoch=mark)
    for number, (left, committed) in enumerate(cuts(trace, folder, 2)):
        if number % 8:
            continue
        tried += 1
        assert committed_epoch_of_recovered(left) >= committed - 1
        ended = report(train(left))
        assert ended["history"] == right["history"] and ended["weights"] == right["weights"]
        assert ended["files"].items() >= right["files"].items()
        assert all(name.startswith("models/") for name in ended["files"].keys() - right["files"].keys())
    assert tried > 20


def committed_epoch_of_recovered(folder: Path) -> int:
    """Where a start would go on from."""
    run = outlast.Run(folder, everything(), adapter=FakeAdapter({"w": [0.3, 0.7]}, learning_rate=0.5))
    return -1 if run.committed is None else run.committed[0]


def test_crash_during_recovery(memory_disk: Path, right: Report) -> None:
    """Of a folder that was left in the midst of a save, at each call of the recovery, again and again."""
    folder, crashed = memory_disk / "run", memory_disk / "crashed"
    train(folder, epochs=2)
    with killed_at(70):
        train(folder)
    os.truncate(folder / "history.csv", 10)
    for number in range(1000):
        shutil.copytree(folder, crashed)
        before = committed_epoch(crashed)
        came_through = []
        with killed_at(number):
            committed_epoch_of_recovered(crashed)
            came_through.append(number)
        with killed_at(number // 2):
            committed_epoch_of_recovered(crashed)
        assert committed_epoch(crashed) == before
        assert_right(crashed, right)
        shutil.rmtree(crashed)
        if came_through:
            break
    assert number > 10


@pytest.mark.parametrize("fault", ["ENOSPC", "EDQUOT", "EIO", "EMFILE", "short write"])
def test_disk_full_quota_short_write_eio_emfile(tmp_path: Path, right: Report, fault: str) -> None:
    """From the third epoch on; every call by itself is in test_calls.py, real disks in test_full_disk.py."""
    awake, hits = False, 0

    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        nonlocal hits
        if not awake or name != ("open" if fault == "EMFILE" else "pwrite"):
            return real(*arguments)
        hits += 1
        if fault == "short write":
            return real(arguments[0], arguments[1][:1000], *arguments[2:])
        raise OSError(getattr(errno, fault), os.strerror(getattr(errno, fault)))

    def wake(run: outlast.Run, epoch: int) -> None:
        nonlocal awake
        run.flush()
        awake = epoch == 2

    folder = tmp_path / "run"
    if fault == "short write":  # goes on where it ended
        with tapped(hook):
            assert report(train(folder, in_epoch=wake)) == right
        assert hits > 10
        return
    with tapped(hook), pytest.raises(FileError) as caught:
        train(folder, in_epoch=wake)
    assert caught.value.errno == getattr(errno, fault)
    assert str(folder) in str(caught.value)
    assert ("bytes are free" in str(caught.value)) == (fault in ("ENOSPC", "EDQUOT"))
    assert temporaries(folder) == []
    assert committed_epoch(folder) == 1
    assert_right(folder, right)


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nobody, not even root, may write."""
    folder = tmp_path / "unwritable"
    folder.mkdir()
    train(folder / "run", epochs=2)
    if os.geteuid() == 0:
        for options in (["--bind", folder, folder], ["-o", "remount,ro,bind", folder]):
            if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
                pytest.skip("only where file systems may be mounted")
        yield folder
        subprocess.run(["umount", folder], check=True)
    else:
        for path in (folder, folder / "run"):
            path.chmod(0o500)
        yield folder
        for path in (folder, folder / "run"):
            path.chmod(0o700)


@pytest.mark.parametrize("name", ["run", "a new one"])
def test_folder_unwritable(unwritable: Path, name: str) -> None:
    before = views(unwritable / "run")
    with pytest.raises(FileError) as caught:
        train(unwritable / name, in_batch=lambda *_: pytest.fail("it trains"))
    assert str(unwritable / name) in str(caught.value)
    assert views(unwritable / "run") == before


def test_the_background_writer_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it raises is raised at the next hook, and is not only told there."""

    class BrokeError(Exception):
        pass

    def fail(folder: str, point: Any, *rest: Any) -> None:
        if point.number == 2:
            raise BrokeError
        seal(folder, point, *rest)

    seal = resume_points.seal
    monkeypatch.setattr(resume_points, "seal", fail)
    run = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
    begun = []
    with pytest.raises(BrokeError):
        for epoch in run.epochs(9):
            begun.append(epoch)
            run.log(loss=1.0)
    assert begun == [0, 1, 2]
    assert committed_epoch(tmp_path / "run") == 0


def test_a_state_that_cannot_be_stored_any_more_ends_the_training_in_its_epoch(tmp_path: Path) -> None:
    class Breaks(FakeAdapter):
        bad = False

        def state(self) -> Any:
            return {**super().state(), "more": object() if self.bad else None}

    run = outlast.Run(tmp_path / "run", adapter=Breaks())
    begun = []
    with pytest.raises(outlast.exceptions.CapabilityError, match="Cannot store state/training/more"):
        for epoch in run.epochs(9):
            begun.append(epoch)
            run.training.bad = epoch == 1
            run.log(loss=1.0)
    assert begun == [0, 1]
    assert committed_epoch(tmp_path / "run") == 0


@pytest.mark.parametrize(
    ("number", "raised"),
    [
        (signal.SIGINT, KeyboardInterrupt()),
        (signal.SIGTERM, SystemExit(143)),
        (signal.SIGUSR1, SystemExit(138)),
    ],
)
def test_sigterm_sigusr1_ctrl_c(tmp_path: Path, right: Report, number: int, raised: BaseException) -> None:
    """Real processes, at any moment, are in test_signals.py; handlers in test_handlers.py."""
    folder = tmp_path / "run"
    before = signal.getsignal(number)
    with pytest.raises(type(raised)) as caught:
        train(folder, in_batch=lambda *now: now == (2, 1) and os.kill(os.getpid(), number))
    assert getattr(caught.value, "code", None) == getattr(raised, "code", None)
    assert signal.getsignal(number) == before
    assert committed_epoch(folder) == 1
    assert_right(folder, right)


@pytest.mark.parametrize("at", ["a batch", "an epoch's end", "a validation"])
def test_an_exception_in_keras_fit_leaves_nothing_in_the_way_of_the_next(tmp_path: Path, at: str) -> None:
    keras = pytest.importorskip("keras")
    hooks = {
        "a batch": "on_train_batch_end",
        "an epoch's end": "on_epoch_end",
        "a validation": "on_test_begin",
    }
    x, y = np.ones((8, 2)), np.ones((8, 1))
    before, writing = signal.getsignal(signal.SIGINT), writers()

    def fit(folder: str, dies: bool) -> Any:
        """A cell, with a model of its own."""
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        run = outlast.Run(tmp_path / folder, [outlast.EarlyStopping(patience=9), outlast.CSVLogger()])
        calls = iter(range(100))

        def die(*_: object, **__: object) -> None:
            if dies and next(calls) == 2:
                raise ZeroDivisionError

        killer = keras.callbacks.LambdaCallback()
        setattr(killer, hooks[at], die)
        callbacks = [run, killer]
        model.fit(x, y, batch_size=4, epochs=4, validation_data=(x, y), verbose=0, callbacks=callbacks)
        return model.get_weights(), model.history.history, views(tmp_path / folder)

    right = fit("undisturbed", dies=False)
    with pytest.raises(ZeroDivisionError):
        fit("died", dies=True)
    ended = fit("died", dies=False)
    assert all(np.array_equal(one, other) for one, other in zip(right[0], ended[0], strict=True))
    assert right[1:] == ended[1:]
    assert debris(tmp_path / "died") == []
    assert signal.getsignal(signal.SIGINT) == before
    assert writers() == writing


HOLDER = """
import sys, outlast
run = outlast.Run(sys.argv[1], adapter=outlast.testing.FakeAdapter())
for epoch in run.epochs(9):
    run.log(loss=1.0)
    if epoch == 1:
        run.flush()
        print("holds", flush=True)
        sys.stdin.read()
"""


def test_two_processes_one_run(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        holder.send_signal(signal.SIGSTOP)  # it holds the run all the same
        before = views(tmp_path / "run")
        with pytest.raises(RunLocked) as caught:
            outlast.Run(tmp_path / "run", adapter=FakeAdapter())
        assert f"process {holder.pid} on {os.uname().nodename}" in str(caught.value)
        assert views(tmp_path / "run") == before
        holder.kill()
    run = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
    for _ in run.epochs(4):
        run.log(loss=2.0)
    assert run.history["loss"] == [1.0, 2.0, 2.0, 2.0]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a flipped bit at the start": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "a flipped bit in the middle": lambda data: _flipped(data, len(data) // 2),
    "a flipped bit at the end": lambda data: _flipped(data, len(data) - 1),
    "a cut": lambda data: data[: len(data) * 2 // 3],
    "an emptied file": lambda data: b"",
    "a zeroed file": lambda data: bytes(len(data)),
    "a longer file": lambda data: data + b"\0",
}


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]


@pytest.mark.parametrize("damage", DAMAGES)
def test_bit_rot_in_a_resume_point(
    tmp_path: Path, right: Report, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one before is used, and it is said."""
    folder = tmp_path / "run"
    train(folder, epochs=3)
    path = folder / layout.resume_name(3)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    capsys.readouterr()
    run = train(folder)
    said = capsys.readouterr().out
    assert "resumed" in said and "at epoch 3, resume point 2" in said
    assert f"resume point 3 was set aside: {path} is damaged" in said
    assert report(run) == right
    assert debris(folder) == ["damaged-resume-00000003"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_bit_rot_in_a_model_that_both_resume_points_name(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is made again from its copy; if that is gone as well, the loss is said, and training goes on."""
    for lost in (False, True):
        folder = tmp_path / f"lost {lost}"
        right = torch_run(folder).load_best()
        for path in folder.glob("b*.pt" if lost else "blob*.pt"):
            path.write_bytes(DAMAGES[damage](path.read_bytes()))
        capsys.readouterr()
        again = torch_run(folder)
        said = capsys.readouterr().out
        if lost and damage != "a longer file":  # which holds all the bytes
            assert "blob-00000001-0123abcd.pt (best.pt) is lost" in said
            assert again.best is None or again.best.path is None
        else:
            assert "blob-00000001-0123abcd.pt was made again from best.pt" in said
            assert all(bool((again.load_best()[name] == right[name]).all()) for name in right)


@pytest.mark.parametrize("version", ["0", "1", "3", "1.5", "newest"])
def test_newer_or_older_format(tmp_path: Path, version: str) -> None:
    """Both versions are named, and nothing is touched."""
    folder = tmp_path / "run"
    train(folder, epochs=2)
    for number in (1, 2):
        path = folder / layout.resume_name(number)
        with tensor_reader.opened(str(path)) as file:
            content = {name: file.read(name) for name in file.places}
            metadata = {**file.metadata, "version": version}
        path.unlink()
        tensors.write(str(path), content, metadata)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(UnknownFormat) as caught:
        train(folder)
    assert f"version {version} of the format" in str(caught.value)
    assert f"reads version {layout.VERSION}" in str(caught.value)
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert {name for name in after if after[name] != before.get(name)} <= {layout.LOCK}


HOSTILE = [
    *("../../outside", "/etc/passwd", "a/b", "nul\0", "new\nline", "quote\"'", "comma,semicolon;", "x" * 300),
    *("\x1b[2J\x1b[31mred", "\x9b31m", "\u202eright to left", "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"),
    *("$(touch pwned)", "`touch pwned`", "<script>", "", " ", "é", "损失", "{epoch}", "%s", "NA", "None"),
]


def test_symlinks_dots_nul_long_names_escapes_and_formulas_in_metric_names(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Links and other files under the run's names are in test_hostile_names.py."""

    def start() -> outlast.Run:
        callbacks = [
            *(outlast.EarlyStopping(name, patience=9, mode="min", verbose=1) for name in HOSTILE if name),
            outlast.ModelCheckpoint("best.txt", HOSTILE[0], mode="min", save_best_only=True, verbose=1),
            outlast.ReduceLROnPlateau(HOSTILE[8], mode="min", patience=1, verbose=1),
            outlast.CSVLogger(),
        ]
        run = outlast.Run(tmp_path / "run", callbacks, adapter=FakeAdapter({"w": [1.0]}))
        for epoch in run.epochs(EPOCHS):
            run.log({name: float(epoch + place) for place, name in enumerate(HOSTILE)})
            if epoch == 1 and run.committed is None:
                break
        return run

    start()
    run = start()
    said = "".join(capfd.readouterr())
    assert [c for c in said if not (c.isprintable() or c == "\n")] == []
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]
    assert {*views(tmp_path / "run")} == {"best.txt", "history.csv", "journal.jsonl"}
    assert debris(tmp_path / "run") == []
    text = (tmp_path / "run" / "history.csv").read_bytes().decode()
    for place, name in enumerate(HOSTILE):
        assert run.history[name] == [float(epoch + place) for epoch in range(EPOCHS)]
        assert outlast.Metrics.from_csv(text)[name] == run.history[name]
    header = next(csv.reader(io.StringIO(text, newline="")))
    assert [cell for cell in header if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
    for line in (tmp_path / "run" / "journal.jsonl").read_bytes().splitlines():
        assert line.isascii() and json.loads(line)


def test_a_metric_that_is_called_as_the_rows_are_counted_is_refused(tmp_path: Path) -> None:
    run = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
    with pytest.raises(
        outlast.exceptions.MetricError, match="'epoch' is reserved: it numbers the history rows"
    ):
        for epoch in run.epochs(2):
            run.log(epoch=epoch + 0.5)


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/tmp/outside.txt", "nul\0.txt", "LOCK", "resume-00000001", "a/../../b.txt"]
)
def test_names_of_files_that_lead_out_of_the_run_are_refused_before_the_first_batch(
    tmp_path: Path, name: str
) -> None:
    for callback in (outlast.CSVLogger, outlast.ModelCheckpoint):
        with pytest.raises((ArgumentError, FileError)):
            train(tmp_path / "run", callbacks=[callback(name)], in_batch=lambda *_: pytest.fail("it trains"))
    assert [path.name for path in tmp_path.iterdir()] in ([], ["run"])


def test_pickle_payloads_lambda_layers_bombs(tmp_path: Path) -> None:
    """Those that pass every checksum are in test_hostile_content.py; here one that does not."""
    torch_run(tmp_path / "run")
    for path in (tmp_path / "run").glob("b*.pt"):
        path.write_bytes(pickle.dumps(print, 2))
    with pytest.raises(outlast.exceptions.UsageError, match="no best model"):
        outlast.open_run(tmp_path / "run").load_best()


def bfloat16(value: float) -> Any:
    import torch

    return torch.tensor(value, dtype=torch.bfloat16)


def numpy_bfloat16(value: float) -> Any:
    import ml_dtypes

    return np.array(value, ml_dtypes.bfloat16)


KINDS: dict[str, Callable[[float], Any]] = {
    "float": float,
    "0-d array": np.array,
    "NumPy's scalar": np.float32,
    "bfloat16 of torch": bfloat16,
    "bfloat16 of ml_dtypes": numpy_bfloat16,
}


@pytest.mark.parametrize("kind", KINDS)
def test_nan_inf_none_0_d_and_size_1_arrays_bf16_as_metrics(tmp_path: Path, kind: str) -> None:
    """NaN is never best, the CSV reads back by float(), JSON has no bare NaN; a resume keeps them."""
    values = [math.nan, math.inf, 2.0, math.nan, 0.5, -math.inf]
    callbacks = [outlast.ModelCheckpoint("best.txt", "loss", save_best_only=True), outlast.CSVLogger()]
    for until in (3, 5, len(values)):
        run = outlast.Run(tmp_path / "run", callbacks, adapter=FakeAdapter())
        for epoch in run.epochs(until):
            run.log(loss=KINDS[kind](values[epoch]), nothing=None)
    saves = [decision.epoch for decision in run.decisions if decision.action.value == "save"]
    assert 0 not in saves and 3 not in saves
    assert saves[-1] == 5
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    column = rows[0].split(",").index("loss")
    read = [float(row.split(",")[column].strip("[]")) for row in rows[1:]]
    assert list(map(repr, read)) == list(map(repr, values))
    lines = [(tmp_path / "run" / name).read_text().splitlines() for name in ("journal.jsonl", "events.jsonl")]
    for document in [*lines[0], *lines[1], (tmp_path / "run" / "run.json").read_text()]:
        json.loads(document, parse_constant=pytest.fail)


def test_arrays_of_size_1_as_metrics_are_kept_and_shown_as_keras_shows_them(tmp_path: Path) -> None:
    """As a list, which nobody compares: that is said."""
    callbacks = [outlast.ModelCheckpoint("best.txt", "loss", save_best_only=True), outlast.CSVLogger()]
    run = outlast.Run(tmp_path / "run", callbacks, adapter=FakeAdapter())
    with pytest.warns(outlast.exceptions.OutlastWarning, match="scalar value"):
        for epoch in run.epochs(2):
            run.log(loss=np.array([epoch + 0.5]))
    assert run.history["loss"] == [0.5, 1.5]
    assert outlast.open_run(tmp_path / "run").history["loss"] == [0.5, 1.5]
    assert ",[1.5]" in (tmp_path / "run" / "history.csv").read_text().splitlines()[-1]


def test_code_changed_between_runs(tmp_path: Path) -> None:
    """What may change takes effect and is said; what makes another training is an error with ways out."""
    folder = tmp_path / "run"
    train(folder, epochs=2)

    def start(**changes: Any) -> outlast.Run:
        callbacks = everything()
        callbacks[0] = outlast.EarlyStopping(**{"patience": 20, "restore_best_weights": True, **changes})
        return train(folder, callbacks=callbacks)

    with pytest.raises(RunChanged) as caught:
        start(monitor="loss")
    text = str(caught.value)
    assert "EarlyStopping.monitor changed from 'val_loss' to 'loss'" in text
    assert "resume='never'" in text and "another folder" in text and "accept_changes=" in text
    assert committed_epoch(folder) == 1
    start(patience=7)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_bytes().splitlines()]
    assert "EarlyStopping.patience changed from 20 to 7" in events[-2]["changes"]


def test_nothing_changed_run_is_finished(
    tmp_path: Path, right: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so, changes nothing, and returns the history and the best."""
    folder = tmp_path / "run"
    train(folder)
    kept = {path.name for path in folder.iterdir()}
    before = report(outlast_report := train(folder, in_batch=lambda *_: pytest.fail("it trains")))
    assert before == right
    assert outlast_report.best is not None
    assert "is finished (all 5 epochs are done); its weights and history are back" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == kept
    assert debris(folder) == []
