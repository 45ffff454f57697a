"""What it costs to load what was saved, and to verify it: beside a plain read of the same bytes.

    python bench/load_cost.py [--sizes 100] [--rounds 5]

First with the files in memory, then from the disk. A run has two resume points, and ``verify`` reads both; a
resume reads one. What is loaded is the state that was saved, which each way checks once.
"""

from __future__ import annotations

import argparse
import io
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import cache, partial
from pathlib import Path

import numpy as np
from saving import WAYS, WRITE, InRun, Saving, States, states
from side_by_side import Way, compare, installed, seconds_of

from outlast.cli import main as command

READ = "a plain read"
PIECE = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100], help="megabytes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    options = parser.parse_args()
    for size in options.sizes:
        with states(size, options.folder) as at:
            report(size, at, options.rounds)
            saved.cache_clear()


def report(size: int, at: States, rounds: int) -> None:
    loads = installed({name: partial(make, at) for name, make in LOADS.items()})
    compare(f"{size} MB loaded, the files in memory", loads, beside=READ, rounds=rounds)
    if hasattr(os, "posix_fadvise"):
        cold: dict[str, Way] = {name: partial(from_disk, at.folder, load) for name, load in loads.items()}
        compare(f"{size} MB loaded from the disk", cold, beside=READ, rounds=rounds)


def from_disk(folder: Path, load: Way) -> float:
    """The seconds of a load of files of which the operating system holds nothing."""
    for path in files(folder):
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
    return load()


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


# Ways to load. Each saves first, and loads once to see that all is there.


@cache
def saved(name: str, at: States) -> Saving:
    """A way that has saved the state, and found it again."""
    saving = WAYS[name](at)
    for _ in range(2 if isinstance(saving, InRun) else 1):
        saving.save()
        saving.finish()
    saving.close()
    found, expected = saving.load(), saving.state.arrays
    assert len(found) == len(expected) and all(map(np.array_equal, found, expected)), name
    return saving


def plain(at: States) -> Way:
    path, size = saved(WRITE, at).path, at.size << 20

    def read() -> None:
        assert len(path.read_bytes()) == size

    return partial(seconds_of, read)


def plain_and_checksum(at: States) -> Way:
    path = saved(WRITE, at).path
    expected = zlib.crc32(path.read_bytes())

    def read() -> None:
        found, piece = 0, bytearray(PIECE)
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(piece):
                found = zlib.crc32(memoryview(piece)[:count], found)
        assert found == expected

    return partial(seconds_of, read)


def verified(at: States) -> Way:
    path = saved("a resume point", at).path
    assert len([*path.glob("resume-*")]) == 2

    def verify() -> None:
        with redirect_stdout(io.StringIO()):
            assert command(["verify", str(path)]) == 0

    return partial(seconds_of, verify)


def resumed(name: str, at: States) -> Way:
    """Make a Run, and let it put everything back into a model that is there."""
    saving = saved(name, at)
    assert isinstance(saving, InRun)

    def resume() -> float:
        took = seconds_of(saving.open)
        saving.close()
        return took

    return resume


def by(name: str, at: States) -> Way:
    """Load what a library has saved, as the library does it."""
    return partial(seconds_of, saved(name, at).load)


def torch_into_a_model(at: States) -> Way:
    import torch

    model, path = at.torch.model, saved("torch.save + fsync", at).path
    return lambda: seconds_of(lambda: model.load_state_dict(torch.load(path)))


def weights_into_a_model(at: States) -> Way:
    model, path = at.keras.model, saved("Keras's weights file + fsync", at).path
    return lambda: seconds_of(lambda: model.load_weights(path))


LOADS: dict[str, Callable[[States], Way]] = {
    READ: plain,
    "a read with its CRC-32": plain_and_checksum,
    "`outlast verify` of two resume points": verified,
    "a resume": partial(resumed, "a resume point"),
    "a resume with best weights": partial(resumed, "best weights kept, a better epoch"),
    "a resume of a Keras model": partial(resumed, "a Keras model, and its best `.keras`"),
    "torch.load": partial(by, "torch.save + fsync"),
    "torch.load and load_state_dict": torch_into_a_model,
    "safetensors (it maps the file)": partial(by, "safetensors + fsync"),
    "torch.distributed.checkpoint": partial(by, "torch.distributed.checkpoint"),
    "Orbax": partial(by, "Orbax"),
    "Keras's load_weights": weights_into_a_model,
    "Keras's load_model": partial(by, "Keras's `.keras` + fsync"),
}

if __name__ == "__main__":
    main()
