"""Forges a run's folder at random, with right checksums, and asks all who read it."""

from __future__ import annotations

import io
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from tests.faults.forged import newest
from tests.faults.training import train

import outlast
from outlast.cli import main
from outlast.storage.format import reader as tensor_reader
from outlast.storage.format import tensors

MEMORY = 100 << 10  # kB that an input may take beyond what is there
RAW = "raw text \x01 "  # what follows is put into the JSON as it is

# Values that nobody writes.
_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 0.5, -1e300),
    *(
        f"{RAW}1e999",
        f"{RAW}-1e999",
        f"{RAW}NaN",
        f"{RAW}{'9' * 400}",
        f"{RAW}{'9' * 5000}",
        f"{RAW}1{'0' * 400}.5",
    ),
    *(
        "",
        " ",
        "\0",
        "a\nb",
        "\ud800",
        "\u202e",
        "\x1b[2J",
        "../out",
        "/etc/passwd",
        "x" * 300,
        "x" * 100_000,
    ),
    *(
        "inf",
        "nan",
        "nonsense",
        "epoch",
        "$tensor",
        "$scalar",
        "state",
        "resume-00000001",
        "LOCK",
        "best.txt",
    ),
    *([], {}, [[]], {"": 0}, [0] * 10_000, {"$tensor": "x"}, {"$scalar": "state"}, {"$": 1}, {"$bytes": 3}),
    *(f"{RAW}{'[' * 50}{']' * 50}", f"{RAW}{'[' * 3000}{']' * 3000}", f"{RAW}{'[' * 100_000}"),
    *(f'{RAW}{{"a":1,"a":2}}', {"epoch": -5}, {"size": 10**18}, {"blob": "x", "size": 1, "crc32": 1}),
]
_NAMES = [one for one in _VALUES if isinstance(one, str) and RAW not in one]


def _places(tree: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every container and key in a tree."""
    for key in [*tree] if isinstance(tree, dict) else range(len(tree)):
        found.append((tree, key))
        if isinstance(tree[key], (dict, list)):
            _places(tree[key], found)
    return found


def change(tree: Any, rng: random.Random) -> None:
    """Change a tree of JSON values at one to three places."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = _places(tree, [])
        if not places:
            return
        container, key = rng.choice(places)
        what = rng.randrange(8)
        if what == 0:
            del container[key]
        elif what == 1 and isinstance(container, dict):
            container[rng.choice([one for one in _VALUES if isinstance(one, str) and RAW not in one])] = (
                container.pop(key)
            )
        elif what == 2:
            other, place = rng.choice(places)
            if _has(other, place):
                container[key] = json.loads(json.dumps(other[place]))
        elif what == 3 and isinstance(container[key], (int, float)):
            container[key] = rng.choice(
                (-container[key], container[key] + 1, container[key] * 2**40, container[key] / 2)
            )
        else:
            container[key] = deepcopy(rng.choice(_VALUES))  # each place has a value of its own


def _has(container: Any, key: Any) -> bool:
    return key in container if isinstance(container, dict) else key < len(container)


def as_text(tree: Any) -> bytes:
    """The tree as JSON, raw texts as they are."""
    text = json.dumps(tree)
    mark = json.dumps(RAW)[1:-1]
    while (start := text.find('"' + mark)) >= 0:
        end = text.index('"', start + 1)
        while text[end - 1] == "\\":
            end = text.index('"', end + 1)
        text = text[:start] + json.loads(text[start : end + 1])[len(RAW) :] + text[end + 1 :]
    return text.encode("utf-8", "surrogatepass")


def _forge_point(folder: Path, rng: random.Random, which: str) -> None:
    """Change the manifest, the lines of a log, or a tensor of the newest resume point, and seal it anew."""
    path = newest(folder)
    with tensor_reader.opened(str(path)) as file:
        content = {name: file.read(name) for name in file.places}
        metadata = dict(file.metadata)
    if which == "metadata":
        change(metadata, rng)
        metadata = {
            str(key): value if isinstance(value, str) else str(value) for key, value in metadata.items()
        }
    elif which == "manifest":
        manifest = json.loads(content["manifest"].tobytes())
        change(manifest, rng)
        content["manifest"] = np.frombuffer(as_text(manifest), np.uint8)
    else:
        name = rng.choice([name for name in content if name.startswith("log/")])
        lines = [
            json.loads(line) if line[:1] == b"{" else line.decode()
            for line in content[name].tobytes().splitlines()
        ]
        change(lines, rng)
        joined = b"".join(as_text(line) + b"\n" for line in lines)
        content[name] = np.frombuffer(joined, np.uint8)
    path.unlink()
    tensors.write(str(path), content, metadata)


def _forge_header(folder: Path, rng: random.Random, which: str) -> None:
    """Change the header of the newest resume point; its checksum is right."""
    path = newest(folder)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8 : 8 + length])
    change(entries, rng)
    text = as_text(entries)
    text += b" " * (-len(text) % 8)
    begin = bytearray(len(text).to_bytes(8, "little") + text)
    with_checksum = tensors.sealed_header(begin)
    path.write_bytes(bytes(with_checksum or begin) + data[8 + length :])


def _forge_json(folder: Path, rng: random.Random, which: str) -> None:
    path = folder / which
    lines = path.read_text().splitlines() if which.endswith("l") else [path.read_text()]
    trees = [json.loads(line) for line in lines]
    change(trees, rng)
    path.write_bytes(b"\n".join(map(as_text, trees)) + b"\n")


FORGERS: dict[str, Callable[[Path, random.Random, str], None]] = {
    "manifest": _forge_point,
    "log": _forge_point,
    "metadata": _forge_point,
    "header": _forge_header,
    "events.jsonl": _forge_json,
    "run.json": _forge_json,
    "results.json": _forge_json,
}
_WEIGHTS = [8, 3, 1, 4, 1, 1, 1]


def _look(folder: Path) -> object:
    run = outlast.open_run(folder)
    return [
        getattr(run, name)
        for name in (
            "best",
            "history",
            "decisions",
            "checkpoints",
            "status",
            "stopped",
            "settings",
            "extra",
            "results",
            "findings",
            "_repr_html_",
        )
    ] + [str(run.history), run._repr_html_(), run.history._repr_html_()]


READERS: dict[str, Callable[[Path], object]] = {
    "verify": lambda folder: main(["verify", str(folder)]),
    "show": lambda folder: main(["show", "--all", *_by_turns(folder, ["--json"], []), str(folder)]),
    "ls": lambda folder: main(["ls", str(folder.parent)]),
    "open_run": _look,
    "start": lambda folder: train(folder, epochs=_by_turns(folder, 3, 3, 4)),  # 3 are done
}


def _by_turns(folder: Path, *choices: Any) -> Any:
    return choices[int(folder.parent.name) % len(choices)]


def begun(folder: Path) -> None:
    """A run of three epochs, with results."""
    run = train(folder, epochs=3)
    run.log(accuracy=0.5)


def problems(begun: Path, place: Path, seeds: range) -> Iterator[str]:
    """Forge a copy of a run by each seed; what is wrong in what its readers answer."""
    for seed in seeds:
        rng = random.Random(seed)
        which = rng.choices([*FORGERS], _WEIGHTS)[0]
        folder = copied(begun, place / str(seed))
        FORGERS[which](folder, rng, which)
        for name, read in READERS.items():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            try:
                with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                    read(folder)
            except outlast.OutlastError:
                pass
            except BaseException as error:
                if not _is_of_the_training(error):
                    yield f"seed {seed}, {which}, {name}: {traceback.format_exc(limit=-4)}"
            taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            if taken > MEMORY:
                yield f"seed {seed}, {which}, {name}: took {taken >> 10} MB"
        shutil.rmtree(folder.parent)


def copied(begun: Path, place: Path) -> Path:
    """A copy of the run."""
    return Path(shutil.copytree(begun, place / "run"))


def _is_of_the_training(error: BaseException) -> bool:
    """Whether the test's own training stumbled over a weight or a count that it keeps itself."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.endswith(f"faults{os.sep}training.py")


def in_a_child(begun: Path, place: Path, seeds: range, seconds: int = 120) -> list[str]:
    """The problems, found by a process of their own, which may take so many seconds of CPU time."""
    place.mkdir(parents=True, exist_ok=True)
    arguments = [str(begun), str(place), str(seeds.start), str(seeds.stop), str(seconds)]
    command = [sys.executable, "-m", "tests.faults.fuzzing", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    found: list[str] = list(map(json.loads, done.stdout.splitlines()))
    ended = f"seeds {seeds}: the process ended with {done.returncode}: {done.stderr[-500:]}"
    return found + ([ended] if done.returncode else [])


if __name__ == "__main__":
    source, target, start, stop, limit = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))
    for found in problems(Path(source), Path(target), range(int(start), int(stop))):
        print(json.dumps(found), flush=True)
