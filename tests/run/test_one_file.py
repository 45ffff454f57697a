"""Two callbacks that would write one file are refused before the first batch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.run.training import go_on, start

import outlast
from outlast import CSVLogger, ModelCheckpoint, UsageError

Callbacks = list[outlast.Callback]

PAIRS: dict[str, tuple[Callbacks, str]] = {
    "loggers by default": ([CSVLogger(), CSVLogger(separator=";")], "history.csv"),
    "a default and its name": ([CSVLogger(), CSVLogger("history.csv")], "history.csv"),
    "models by default": ([ModelCheckpoint("a.pt"), ModelCheckpoint("a.pt", "loss")], "a.pt"),
    "the best of two that keep several": (
        [ModelCheckpoint(keep_best=2), ModelCheckpoint("x{epoch}.txt", "loss", keep_best=2)],
        "best.txt",
    ),
    "the best, and that of several": (
        [ModelCheckpoint(save_best_only=True), ModelCheckpoint(monitor="loss", keep_best=2)],
        "best.txt",
    ),
    "two copies of the last": (
        [ModelCheckpoint("a.txt", save_last=True), ModelCheckpoint("b.txt", save_last=True)],
        "last.txt",
    ),
    "a copy of the last, and its name": (
        [ModelCheckpoint("a.txt", save_last=True), ModelCheckpoint("last.txt")],
        "last.txt",
    ),
    "templates alike": (
        [ModelCheckpoint("m{epoch}.txt"), ModelCheckpoint("m{epoch:02d}.txt")],
        "m{epoch:02d}.txt",
    ),
    "a template and one of its names": (
        [ModelCheckpoint("m{epoch}.csv.txt"), CSVLogger("m2.csv.txt")],
        "m2.csv.txt",
    ),
    "a template": ([ModelCheckpoint("{epoch}.pt"), ModelCheckpoint("{epoch}.pt", "loss")], "{epoch}.pt"),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_one_file_for_two_callbacks_is_refused(folder: Path, kind: str) -> None:
    callbacks, name = PAIRS[kind]
    with pytest.raises(UsageError, match=re.escape(f"would both write {name!r}")):
        go_on(start(folder, callbacks), 1)
    assert not [*folder.glob("resume-*")]
    go_on(start(folder, callbacks[:1]), 1)


def test_files_of_their_own_are_accepted(folder: Path) -> None:
    go_on(start(folder, [CSVLogger("a.csv"), CSVLogger("b.csv"), ModelCheckpoint("{epoch}.pt")]), 2)
    assert {"a.csv", "b.csv", "1.pt", "2.pt"} <= {path.name for path in folder.iterdir()}
