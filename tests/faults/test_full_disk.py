"""Disks that fill for real, quotas and limits: the last good state stays, the error says what is missing."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.faults.training import committed_epoch, debris, report, temporaries, train

import outlast
from outlast.exceptions import FileError, OutlastWarning

EPOCHS = 5
FULL_IN = 2  # the epoch, from 0, in which there is no room any more
EMPTIED_IN = 5

ROOM = 600_000  # bytes


class Disk:
    """A small disk in memory that can be filled to the last byte."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        self._filler = folder / "filler"

    def fill(self) -> None:
        with open(self._filler, "wb", buffering=0) as file, suppress(OSError):
            while file.write(b"\0" * 4096):
                pass

    def empty(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only where file systems may be mounted")
    yield Disk(folder)
    subprocess.run(["umount", folder], check=True)


def at(epoch: int, act: Callable[[], object], saved: Path | None = None) -> Callable[[int, int], object]:
    """To be called in each batch: acts once, in the first batch of an epoch, when the last is saved."""

    def call(now: int, batch: int) -> None:
        if (now, batch) == (epoch, 0):
            while saved and committed_epoch(saved) < epoch - 1:
                time.sleep(0.01)
            act()

    return call


def assert_told(error: FileError, folder: Path) -> None:
    text = str(error)
    assert error.errno == errno.ENOSPC
    assert str(error.filename) in text and str(error.filename).startswith(str(folder))
    assert "bytes are needed" in text and "bytes are free" in text
    assert "\n" not in text


def test_a_disk_that_fills_ends_the_training_and_once_it_is_emptied_the_next_start_goes_on(
    disk: Disk, tmp_path: Path
) -> None:
    right = report(train(tmp_path / "undisturbed", epochs=EPOCHS))
    with pytest.raises(FileError) as caught:
        train(disk.run, epochs=EPOCHS, in_batch=at(FULL_IN, disk.fill, disk.run))
    assert_told(caught.value, disk.run)
    assert committed_epoch(disk.run) == FULL_IN - 1
    assert temporaries(disk.run) == []

    with pytest.raises(FileError) as caught:  # it is still full
        train(disk.run, epochs=EPOCHS)
    assert_told(caught.value, disk.run)
    assert committed_epoch(disk.run) == FULL_IN - 1

    disk.empty()
    assert report(train(disk.run, epochs=EPOCHS)) == right
    assert debris(disk.run) == []


def test_with_warn_a_training_outlives_a_full_disk_and_ends_as_if_there_had_been_none(
    disk: Disk, tmp_path: Path
) -> None:
    right = report(train(tmp_path / "undisturbed", epochs=EPOCHS + 2))
    fill, empty = at(FULL_IN, disk.fill, disk.run), at(EMPTIED_IN, disk.empty)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = train(
            disk.run,
            epochs=EPOCHS + 2,
            in_batch=lambda *now: (fill(*now), empty(*now)),
            on_save_error="warn",
        )
    said = [str(warning.message) for warning in caught]
    assert all(warning.category is OutlastWarning for warning in caught)
    assert any("epoch 3 is in memory only" in text for text in said)
    assert any("epochs 3 to 4 are in memory only" in text for text in said)
    assert len(said) <= EMPTIED_IN - FULL_IN
    assert run.committed == (EPOCHS + 1, None)
    assert report(run) == right
    assert debris(disk.run) == []


def test_with_warn_a_disk_that_stays_full_is_said_at_the_end_and_the_last_good_state_is_whole(
    disk: Disk, tmp_path: Path
) -> None:
    right = report(train(tmp_path / "undisturbed", epochs=EPOCHS))
    with pytest.warns(OutlastWarning) as caught:
        run = train(disk.run, epochs=EPOCHS, in_batch=at(FULL_IN, disk.fill, disk.run), on_save_error="warn")
    said = [str(warning.message) for warning in caught]
    assert any("has ended, and epochs 3 to 5 are in memory only" in text for text in said), said
    assert run.history.rows == right["history"]
    assert committed_epoch(disk.run) == FULL_IN - 1
    disk.empty()
    assert report(train(disk.run, epochs=EPOCHS)) == right


def limit_with(spare: int) -> int:
    """The limit below which so many descriptors are free; those in use may leave gaps."""
    free = (number for number in itertools.count() if not is_open(number))
    return next(itertools.islice(free, spare, None))


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def torch_training(folder: Path, full: Callable[[int], object] = lambda epoch: None) -> Any:
    """A real model of 40 kB with its best saved in each epoch; returns it and its run."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Linear(100, 100)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    checkpoint = outlast.ModelCheckpoint(monitor="loss", save_best_only=True, mode="min")
    run = outlast.Run(folder, [checkpoint], model=model, optimizer=optimizer)
    for epoch in run.epochs(4):
        run.flush()
        full(epoch)
        loss = model(torch.ones(100)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(loss=loss)
    return model, run


def test_a_model_that_torch_cannot_write_is_told_like_any_other_file(disk: Disk, tmp_path: Path) -> None:
    right, _ = torch_training(tmp_path / "undisturbed")
    with pytest.raises(FileError) as caught:
        torch_training(disk.run, lambda epoch: disk.fill() if epoch == 2 else None)
    assert_told(caught.value, disk.run)
    assert ".pt" in str(caught.value)
    disk.empty()
    model, run = torch_training(disk.run)
    assert all(bool((a == b).all()) for a, b in zip(model.parameters(), right.parameters(), strict=True))
    assert bool((run.load_best()["weight"] == model.weight).all())


@pytest.mark.parametrize("name", ["best.keras", "best.weights.h5"])
def test_no_room_for_the_temporary_files_of_keras_is_told_as_well(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(300)])
    model.compile(optimizer="sgd", loss="mse")
    checkpoint = outlast.ModelCheckpoint(name, save_weights_only=name.endswith(".h5"))
    monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
    disk.fill()
    with pytest.raises(FileError) as caught:
        model.fit(
            np.ones((4, 100)),
            np.ones((4, 300)),
            callbacks=[outlast.Run(tmp_path / "run", checkpoint)],
            verbose=0,
        )
    text = str(caught.value)
    assert caught.value.errno == errno.ENOSPC
    assert str(disk.folder) in text and "bytes are free" in text and "\n" not in text


@contextmanager
def limited(kind: int, soft: int) -> Iterator[None]:
    """This process under a limit."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def test_a_quota_on_the_size_of_files_is_told_and_the_next_start_without_it_is_exact(tmp_path: Path) -> None:
    """A resume point is longer than the quota; what is shorter is written."""
    right = report(train(tmp_path / "undisturbed"))
    train(tmp_path / "run", epochs=2)
    with limited(resource.RLIMIT_FSIZE, 8000), pytest.raises(FileError) as caught:
        train(tmp_path / "run")
    assert caught.value.errno == errno.EFBIG
    assert "resume-00000003" in str(caught.value)
    assert committed_epoch(tmp_path / "run") == 1
    assert temporaries(tmp_path / "run") == []
    assert report(train(tmp_path / "run")) == right
    assert debris(tmp_path / "run") == []


@pytest.mark.parametrize("spare", range(4))
def test_too_many_open_files_are_told_and_the_next_start_is_exact(tmp_path: Path, spare: int) -> None:
    """There is room for so many descriptors more than the training holds when it begins."""
    right = report(train(tmp_path / "undisturbed"))
    train(tmp_path / "run", epochs=2)

    def no_more() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit_with(spare), hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        error = None
        train(tmp_path / "run", in_batch=at(2, no_more))
    except FileError as caught:
        error = caught
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (error is None) == (spare > 1), "a save needs two descriptors"
    if error is not None:
        assert error.errno == errno.EMFILE
        assert str(tmp_path / "run") in str(error)
        assert committed_epoch(tmp_path / "run") == 1
    assert report(train(tmp_path / "run")) == right
    assert debris(tmp_path / "run") == []
