"""Real power cuts: ext4 on a loop device is shut down at each call, its journal unwritten.

Needs root and loop devices; ``make crash`` runs it where they are.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.storage import workload
from tests.storage.tap import Killed, tapped
from tests.storage.test_power_cut import STEPS, make_reference

from outlast.storage.recovery import recover

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = struct.pack("I", 2)


def can_mount() -> bool:
    tools = all(shutil.which(tool) for tool in ("mkfs.ext4", "mount", "umount"))
    return tools and os.geteuid() == 0 and os.path.exists("/dev/loop-control")


pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(not can_mount(), reason="needs root, mkfs.ext4 and loop devices"),
    pytest.mark.timeout(3600),
]


@contextmanager
def mounted(image: Path) -> Iterator[Path]:
    place = image.with_suffix(".mounted")
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@contextmanager
def power_cut_at(number: int, disk: Path) -> Iterator[None]:
    """Instead of call ``number`` the file system loses what it has not written; nothing follows."""
    made = 0
    below = os.open(disk, os.O_RDONLY)

    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        nonlocal made
        if made == number:
            fcntl.ioctl(below, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
        made += 1
        if made <= number:
            return real(*arguments)
        if name == "close":
            with suppress(OSError):
                real(*arguments)
        raise Killed

    try:
        with tapped(hook), suppress(Killed):
            yield
    finally:
        os.close(below)


def test_ext4_loses_nothing_that_was_committed(memory_disk: Path) -> None:
    reference = make_reference(memory_disk)
    empty, image = memory_disk / "empty.ext4", memory_disk / "disk.ext4"
    with open(empty, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", empty], check=True)
    for number in range(10_000):
        shutil.copyfile(empty, image)
        committed: list[int] = []
        with mounted(image) as disk, power_cut_at(number, disk):
            workload.run(str(disk / "runs" / "digits"), STEPS, committed.append)
        with mounted(image) as disk:
            folder = disk / "runs" / "digits"
            if folder.exists() or committed:
                found = recover(str(folder))
                assert found.committed.number >= max(committed, default=0), f"cut at call {number}"
                assert reference.faults(folder, found) == [], f"cut at call {number}"
        if committed and committed[-1] == STEPS:
            break
    assert number > 150
