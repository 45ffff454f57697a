"""Kills thirty trainings of each kind for real, starts them again, compares, and notes the result.

    python scripts/crash_campaign.py [KIND ...] [--trainings N] [--seed N]

Without a KIND it runs all, and writes the result into docs/crashes.md. The exit code is 1 if one of
our trainings ended otherwise than an uninterrupted one. Keras's own callbacks are killed beside them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "crashes.md"
PACKAGES = (
    *("keras", "jax", "torch", "tensorflow", "lightning", "transformers", "scikit-learn", "xgboost-cpu"),
    "lightgbm",
)
BEGIN, END = "<!-- result -->", "<!-- end of result -->"


@dataclass(frozen=True)
class Kind:
    """A kind of training: its name in the table, its function in ``tests.crash.trainings``, its backend."""

    name: str
    training: str
    backend: str
    ours: bool = True


@dataclass(frozen=True)
class Result:
    """What came of a kind: how many trainings and kills, how many identical, what differed how often."""

    trainings: int
    kills: int
    identical: int
    differences: dict[str, int]
    seconds: float


KINDS = {
    "torch-loop": Kind("a PyTorch loop, `outlast.Run`", "torch_loop", "torch"),
    "torch-inside": Kind(
        "a PyTorch loop, `save_every=3`, workers now and then", "torch_loop_inside", "torch"
    ),
    "torch-steps": Kind("`run.steps` in PyTorch, `save_every=3`", "torch_steps", "torch"),
    "jax-loop": Kind("a JAX loop, `save_every=3`", "jax_loop", "jax"),
    "jax-nnx": Kind("a JAX loop with Flax's NNX, `save_every=3`", "jax_nnx", "jax"),
    "sklearn": Kind("`partial_fit` of a scikit-learn pipeline, `save_every=3`", "sklearn_loop", "jax"),
    "lightning": Kind("Lightning's `Trainer`", "lightning_fit", "lightning"),
    "lightning-inside": Kind("Lightning's `Trainer`, `save_every=2`", "lightning_fit_inside", "lightning"),
    "huggingface": Kind(
        "Hugging Face's `Trainer`, evaluated by steps, `save_every=2`", "huggingface_train", "jax"
    ),
    "xgboost": Kind("`xgboost.train` with dart and sampling, `save_every=1`", "xgboost_train", "jax"),
    "lightgbm": Kind("`lightgbm.train` with sampling, `save_every=1`", "lightgbm_train", "jax"),
    "keras-jax": Kind("Keras on JAX, `outlast.Run`", "keras_fit", "jax"),
    "keras-torch": Kind("Keras on torch, `outlast.Run`", "keras_fit", "torch"),
    "keras-tensorflow": Kind("Keras on TensorFlow, `outlast.Run`", "keras_fit", "tensorflow"),
    "keras-jax-inside": Kind("Keras on JAX, `save_every=3`", "keras_fit_inside", "jax"),
    "keras-torch-inside": Kind("Keras on torch, `save_every=3`", "keras_fit_inside", "torch"),
    "keras-tensorflow-inside": Kind("Keras on TensorFlow, `save_every=3`", "keras_fit_inside", "tensorflow"),
    "keras-jax-batches": Kind("Keras on JAX, `outlast.Batches`, `save_every=3`", "keras_fit_batches", "jax"),
    "keras-torch-batches": Kind(
        "Keras on torch, `outlast.Batches`, `save_every=3`", "keras_fit_batches", "torch"
    ),
    "keras-tensorflow-batches": Kind(
        "Keras on TensorFlow, `outlast.Batches`, `save_every=3`", "keras_fit_batches", "tensorflow"
    ),
    "keras-own": Kind("Keras on JAX, Keras's own callbacks", "keras_fit_with_its_own", "jax", ours=False),
}


def main() -> int:
    """Runs each kind in a process of its own: Keras has one backend for life."""
    arguments = _arguments()
    if arguments.alone:
        print(json.dumps(asdict(killed(KINDS[arguments.alone], arguments.trainings, arguments.seed))))
        return 0
    results = {}
    for name in arguments.kinds or KINDS:
        results[name] = _in_a_process(name, arguments)
        print(_row(name, results[name]), flush=True)
    if not arguments.kinds:
        _write(table(results, arguments))
    return 0 if all(r.identical == r.trainings for name, r in results.items() if KINDS[name].ours) else 1


def killed(kind: Kind, trainings: int, seed: int) -> Result:
    """Kill and compare as many trainings of the kind."""
    from tests.crash.campaign import Killer

    began = time.monotonic()
    campaigns = []
    with tempfile.TemporaryDirectory() as folder:
        killer = Killer(kind.training, folder, seed)
        for number in itertools.count():
            kills = killer.random_kills(number) if kind.ours else killer.random_moment(number)
            campaign = killer.campaign(str(number), kills)
            print(f"{kind.name}, training {number}: {campaign}", file=sys.stderr, flush=True)
            campaigns += [campaign] if campaign.kills else []  # it may have ended before its moment came
            if len(campaigns) == trainings:
                break
    return Result(
        trainings,
        kills=sum(len(campaign.kills) for campaign in campaigns),
        identical=sum(not campaign.differences for campaign in campaigns),
        differences=dict(Counter(_kind(part) for campaign in campaigns for part in campaign.differences)),
        seconds=time.monotonic() - began,
    )


def _kind(difference: str) -> str:
    """What differed, without the place."""
    return difference.partition(" (")[0]


def table(results: dict[str, Result], arguments: argparse.Namespace) -> str:
    """The result in Markdown."""
    rows = [_row(name, result) for name, result in results.items()]
    head = ["| training | killed | kills | identical afterwards | what differed |", "|---|---|---|---|---|"]
    versions = ", ".join(f"{package} {_version(package)}" for package in PACKAGES)
    told = f"`make crash` (seed {arguments.seed}), on {time.strftime('%Y-%m-%d')}, with {versions}:"
    return "\n".join([told, "", *head, *rows])


def _row(name: str, result: Result) -> str:
    differed = ", ".join(f"{part} ({n})" for part, n in sorted(result.differences.items())) or "nothing"
    return (
        f"| {KINDS[name].name} | {result.trainings} | {result.kills} | "
        f"**{result.identical} of {result.trainings}** | {differed} |"
    )


def _in_a_process(name: str, arguments: argparse.Namespace) -> Result:
    command = [sys.executable, __file__, "--alone", name]
    command += ["--trainings", str(arguments.trainings), "--seed", str(arguments.seed)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "KERAS_BACKEND": KINDS[name].backend, "PYTHONPATH": path}
    process = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return Result(**json.loads(process.stdout.splitlines()[-1]))


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "missing"


def _write(result: str) -> None:
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{result}\n{END}{after}", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--trainings", type=int, default=30, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.kinds) - set(KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
