"""Every part of the saver is needed: without it, a check of the campaign fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.storage import test_order, workload
from tests.storage.tap import killed_after_link, killed_at
from tests.storage.test_power_cut import (
    STEPS,
    Reference,
    faults_of_cuts,
    faults_of_cuts_in_the_first_commit,
    make_reference,
)
from tests.storage.trace import Trace, traced

from outlast.exceptions import OutlastError
from outlast.storage import blobs, commit, logs, recovery, resume_points
from outlast.storage.disk import files, together
from outlast.storage.disk.calls import calls, sync_folder
from outlast.storage.disk.together import Together
from outlast.storage.format import reader as tensor_reader


def campaign(folder: Path) -> Iterator[str]:
    """What is wrong with the saver; the quick checks first."""
    reference = make_reference(folder)
    root = folder / "run"
    with traced() as trace:
        workload.run(str(root), STEPS, trace.mark)
    yield from test_order.faults(trace, str(root))
    yield from faults_after_rot(root)
    yield from faults_of_a_kill_and_a_cut(folder / "both" / "run", reference)
    yield from faults_of_kills(folder / "killed", reference)
    for wrong in faults_of_cuts(trace, root, reference, 8):
        yield from wrong
    for wrong in faults_of_cuts_in_the_first_commit(folder / "first", 1, 60):
        yield from wrong


def faults_after_rot(root: Path) -> Iterator[str]:
    """A bit flips in the newest resume point, then in a blob."""
    newest = root / f"resume-{STEPS:08d}"
    flip(newest, behind_header=True)  # in an array: a text would not even be JSON
    if recovery.recover(str(root)).committed.number != STEPS - 1:
        yield "a flipped bit was not found"
    if not (root / f"damaged-{newest.name}").exists():
        yield "the evidence is gone"
    workload.run(str(root), STEPS)
    flip(root / recovery.recover(str(root)).committed.files["best.bin"].name)
    if not recovery.recover(str(root)).findings:
        yield "a flipped bit in a blob was not found"


def faults_of_a_kill_and_a_cut(root: Path, reference: Reference) -> Iterator[str]:
    """A process dies between d and e; the next one says what is safe; then power goes."""
    root.parent.mkdir()
    with traced() as first, killed_after_link(str(root / "resume-00000002")):
        workload.run(str(root), STEPS)
    with traced() as second:
        workload.run(str(root), 2, second.mark)
    for wrong in faults_of_cuts(Trace([*first, *second]), root, reference, 8):
        yield from wrong


def faults_of_kills(folder: Path, reference: Reference) -> Iterator[str]:
    """The process dies before each call, and is started again."""
    for number in range(1000):
        ended = False
        with killed_at(number):
            workload.run(str(folder), STEPS)
            ended = True
        workload.run(str(folder), STEPS, say=lambda finding: None)
        if workload.content(folder) != reference.contents[STEPS]:
            yield f"killed at call {number}, the end is another"
        shutil.rmtree(folder)
        if ended:
            return


def flip(path: Path, *, behind_header: bool = False) -> None:
    data = bytearray(path.read_bytes())
    data[8 + int.from_bytes(data[:8], "little") if behind_header else -1] ^= 1
    path.write_bytes(data)


def nothing(*arguments: Any, **named: Any) -> None:
    pass


def delete_then_sync(folder: str, *kept: Any, **known: Any) -> None:
    real_delete_orphans(folder, *kept, **known)
    sync_folder(folder)


def sync_but_for_the_first(folder: str) -> None:
    if resume_points.numbers(folder):
        sync_folder(folder)


real_delete_orphans = commit.delete_orphans


def overwrite(folder: str, name: str, blob: blobs.Blob, new: Together, *_: Any) -> None:
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = calls.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    calls.write(fd, Path(new.where(os.path.join(folder, blob.name))).read_bytes())
    calls.close(fd)


def keep_only_newest(
    folder: str, run: str, numbers: set[int], names: Any, *, newest: int, **own: Any
) -> None:
    point = resume_points.peek(folder, newest)
    real_delete_orphans(folder, run, {newest}, point.blobs, newest=newest, **own)


def sync_the_last(new: Together) -> None:
    together.sync_file(new._new[-1].temporary)


def name_the_last_first(new: Together, *, but: str = "") -> None:
    new._new.reverse()
    real_name(new)


real_name = Together.name


def fixed_name(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.tmp")


def believe(file: tensor_reader.TensorFile, name: str, parts: Any) -> None:
    at = file.places[name].start
    for part in parts:
        file._read_into(part, at)
        at += len(part)


def load_any_blob(blob: blobs.Blob, path: str) -> bool:
    return os.path.exists(path)


def longer_unsealed(sealer: Any, committed: Any, name: str, lines: logs.Lines) -> logs.Log:
    if lines.replaces:
        return logs.Log(lines.public, (), lines.data)
    return real_longer(sealer, committed, name, lines)


real_longer = commit._longer

MUTANTS: dict[str, list[tuple[object, str, Any]]] = {
    "no sync of files": [(together, "sync_file", nothing)],
    "the last file alone is synced": [(Together, "sync", sync_the_last)],
    "the resume point has its name first": [(Together, "name", name_the_last_first)],
    "no sync of the folder in a commit": [(commit, "sync_names", nothing)],
    "no sync of the folder in a recovery": [(recovery, "sync_names", nothing)],
    "no sync of the run's folder in its parent": [(files, "make_folder", os.makedirs)],
    "deleted before the sync": [
        (commit, "sync_names", nothing),
        (commit, "delete_orphans", delete_then_sync),
    ],
    "best overwritten in place": [(commit, "_publish", overwrite)],
    "names that are given twice": [(Together, "seal", Together.replace)],
    "only one resume point kept": [(commit, "delete_orphans", keep_only_newest)],
    "fixed temporary names": [(together, "temporary_name", fixed_name)],
    "checksums of tensors ignored": [(tensor_reader.TensorFile, "_load", believe)],
    "checksums of blobs ignored": [(blobs.Blob, "fits", load_any_blob)],
    "evidence deleted": [(files, "move_aside", lambda path, **marks: os.unlink(path))],
    "logs not cut": [(recovery, "mend_published", nothing)],
    "best not put back": [(recovery, "publish", nothing)],
    "temporary files not cleared": [(recovery, "_clear_temporary", nothing)],
    "orphans not deleted": [(recovery, "delete_orphans", nothing)],
    "giving up not finished": [(recovery, "_finish_giving_up", nothing)],
    "a wider table shown before it is sealed": [(commit, "_longer", longer_unsealed)],
    "the first blobs' names not synced": [(commit, "sync_names", sync_but_for_the_first)],
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(mutant: str, memory_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name, replacement in MUTANTS[mutant]:
        monkeypatch.setattr(owner, name, replacement)
    try:
        fault = next(campaign(memory_disk), None)
    except (OutlastError, OSError, AssertionError) as error:
        fault = repr(error)
    print(fault)
    assert fault is not None


def test_the_saver_itself_passes(memory_disk: Path) -> None:
    assert next(campaign(memory_disk), None) is None
