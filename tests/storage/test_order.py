"""The order in which things come to the disk, held to the protocol over a recorded trace.

What a crash leaves depends on this order alone, so it is checked call by call,
on commits and on recoveries; the mutants of the saver must fail here or in the
simulated power cuts.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.storage import workload
from tests.storage.trace import Event, Trace, traced

from outlast.storage.disk.temporary import is_temporary
from outlast.storage.format import layout

APPENDED = {"history.csv", "journal.jsonl", "LOCK"}
STEPS = ["blob", "copy", "log", "resume", "sync", "deletion"]  # a to f


def faults(trace: Trace, folder: str) -> list[str]:
    """Every way in which the trace breaks the protocol."""
    return [
        *never_in_place(trace),
        *synced_before_it_gets_a_name(trace),
        *nothing_deleted_before_the_commit(trace, folder),
        *blobs_before_published_files_before_the_resume_point(trace, folder),
        *the_folder_is_synced_in_its_parent_first(trace, folder),
    ]


def never_in_place(trace: Trace) -> list[str]:
    """A name that was given is never written to, renamed onto, or shortened; logs grow."""
    found = []
    for event in trace:
        name = os.path.basename(event.path)
        if event.call in ("write", "ftruncate") and not (is_temporary(name) or name in APPENDED):
            found.append(f"{event.call} in place: {name}")
        if event.call == "rename" and is_immutable(event.target):
            found.append(f"renamed onto {os.path.basename(event.target)}")
    return found


def synced_before_it_gets_a_name(trace: Trace) -> list[str]:
    """A file is synced after its last byte and before it is linked or renamed."""
    found = []
    unsynced: set[str] = set()
    for event in trace:
        if event.call in ("write", "ftruncate") or (event.call == "open" and event.new):
            unsynced.add(event.path)
        elif event.call == "fsync":
            unsynced.discard(event.path)
        elif event.call in ("link", "rename") and event.path in unsynced:
            found.append(f"{event.call} of an unsynced file to {os.path.basename(event.target)}")
    return found


def nothing_deleted_before_the_commit(trace: Trace, folder: str) -> list[str]:
    """Between a new resume point, or a change by recovery, and any deletion: a sync."""
    found = []
    unsynced = False
    for event in trace:
        if event.call == "link" or (event.call == "rename" and not is_temporary(event.target)):
            unsynced |= os.path.dirname(event.target) == folder
        elif event.call == "fsync" and event.path == folder:
            unsynced = False
        elif event.call == "unlink" and unsynced and not is_temporary(os.path.basename(event.path)):
            found.append(f"{os.path.basename(event.path)} deleted before the folder was synced")
    return found


def blobs_before_published_files_before_the_resume_point(trace: Trace, folder: str) -> list[str]:
    """In each commit: blobs, then copies, then logs, then the resume point, then the sync."""
    found = []
    reached = len(STEPS)  # a recovery comes first
    for event in trace:
        step = step_of(event, folder)
        if event.call == "mark":
            reached = 0
        elif step == "sync" and reached < STEPS.index("resume"):
            continue  # a folder for published files was made
        elif step and reached < len(STEPS):
            if STEPS.index(step) < reached:
                found.append(f"{step} after {STEPS[reached]}: {event.target or event.path}")
            reached = max(reached, STEPS.index(step))
    return found


def the_folder_is_synced_in_its_parent_first(trace: Trace, folder: str) -> list[str]:
    """Before the first resume point, the run's own name is on the disk."""
    for event in trace:
        if event.call == "fsync" and event.path == os.path.dirname(folder):
            return []
        if step_of(event, folder) == "resume":
            break
    return ["the run's folder is not synced in its parent"]


def step_of(event: Event, folder: str) -> str:
    """Which of the steps a to f of a commit an event belongs to, if any."""
    name = os.path.basename(event.path)
    target = os.path.basename(event.target)
    if event.call == "link":
        return "blob" if layout.is_blob(target) else "resume"
    if event.call == "rename":
        return "log" if target in APPENDED else "copy"
    if event.call == "write" and name in APPENDED - {"LOCK"}:
        return "log"
    if event.call == "unlink" and not is_temporary(name):
        return "deletion"
    return "sync" if (event.call, event.path) == ("fsync", folder) else ""


def is_immutable(path: str) -> bool:
    name = os.path.basename(path)
    return layout.is_blob(name) or layout.resume_number(name) is not None


def test_commits_keep_the_order(tmp_path: Path) -> None:
    folder = str(tmp_path / "runs" / "digits")
    with traced() as trace:
        workload.run(folder, 5, trace.mark)
    assert {*STEPS, ""} == {step_of(event, folder) for event in trace}
    assert faults(trace, folder) == []
