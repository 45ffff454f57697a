"""What the checksum of a batch costs, beside the training step that it is taken in.

    python bench/batch_checksum.py [--rounds 9]

The checksum tells a resume whether the data came in the same order (docs/exact.md). Each round measures both,
one after the other; the table shows the medians and their ratio, for a small network and for pictures.
"""

from __future__ import annotations

import argparse
import statistics
import timeit
from collections.abc import Callable
from typing import Any

import torch

from outlast.run.batches import Batches, checksum


def step_of(model: Any, x: Any, y: Any) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def small() -> tuple[Any, Any]:
    layers = [torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(128, 10)]
    return torch.nn.Sequential(*layers), torch.randn(32, 64)


def pictures() -> tuple[Any, Any]:
    layers = [torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(8, 10)), torch.randn(32, 3, 64, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    for make in (small, pictures):
        model, x = make()
        y = torch.zeros(len(x), dtype=torch.long)
        step, batches = step_of(model, x, y), Batches()
        step()
        steps, notes = [], []
        for _ in range(rounds):
            steps.append(timeit.timeit(step, number=100) / 100)
            notes.append(
                timeit.timeit(lambda batch=(x, y), to=batches: to.add(checksum(batch)), number=1000) / 1000
            )
        one, other = statistics.median(notes), statistics.median(steps)
        print(
            f"{make.__name__:9} checksum {one * 1e6:6.1f} us   step {other * 1e6:8.1f} us   {one / other:.2%}"
        )


if __name__ == "__main__":
    main()
