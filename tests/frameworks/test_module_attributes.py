"""Which plain attributes of a module are said to change in training."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from outlast.frameworks import modules
from outlast.frameworks.attributes import Attributes


def holding(value: Any) -> torch.nn.Module:
    module = torch.nn.Linear(2, 2)
    module.held = value
    return module


def changed(known: Attributes, module: Any) -> list[str]:
    return known.changed(modules.attributes(module))


def one_row(module: Any) -> None:
    module.held[777] += 1


def one_row_behind_the_back(module: Any) -> None:
    module.held.data[777] += 1


def the_same_values(module: Any) -> None:
    module.held[:] = module.held.clone() if hasattr(module.held, "clone") else module.held.copy()


def a_copy(module: Any) -> None:
    module.held = module.held.clone()


def one_of_many(module: Any) -> None:
    module.held.view(-1)[65_537 * 8] += 1


def newest_of_a_queue(module: Any) -> None:
    module.held.append(module.held[-1] + 1)


def of_a_key(module: Any) -> None:
    module.held["memory"] = module.held["memory"] + 1


def a_note(module: Any) -> None:
    module.held.append(0.5)


CHANGES: list[tuple[Any, Callable[[Any], None], bool]] = [
    (torch.zeros(1000, 8), one_row, True),
    (torch.zeros(1000, 8, dtype=torch.bfloat16), one_row, True),
    (torch.zeros(8, 1000, dtype=torch.cfloat).T.conj(), one_row, True),
    (np.zeros((1000, 8)), one_row, True),
    (torch.zeros(1000, 8), one_row_behind_the_back, True),
    (torch.zeros(1 << 20), one_of_many, True),
    (torch.zeros(1000, 8), the_same_values, False),
    (torch.full((1000, 8), torch.nan), the_same_values, False),
    (np.zeros((1000, 8)), the_same_values, False),
    (torch.zeros(1000, 8), a_copy, False),
    (deque([torch.zeros(8)] * 100, maxlen=100), newest_of_a_queue, True),
    ([np.zeros(8)], newest_of_a_queue, True),
    ({"memory": torch.zeros(8)}, of_a_key, True),
    ([0.7], a_note, False),
]


@pytest.mark.parametrize(("value", "change", "expected"), CHANGES)
def test_a_tensor_is_named_if_some_of_its_numbers_are_others(
    value: Any, change: Callable[[Any], None], expected: bool
) -> None:
    module, known = holding(value), Attributes()
    assert changed(known, module) == changed(known, module) == []
    change(module)
    assert changed(known, module) == ["held"] * expected
    assert changed(known, module) == []


def without_numbers() -> list[Any]:
    with warnings.catch_warnings(action="ignore"), torch.inference_mode():
        rows = [torch.ones(2, 3), torch.ones(4, 3)]
        return [
            torch.nested.nested_tensor(rows),
            torch.nested.nested_tensor(rows, layout=torch.jagged),
            torch.ones(2, 3).to_sparse(),
            torch.ones(2, device="meta"),
            torch.ones(0),
            np.array(["a", None], dtype=object),
            np.array(["a", "b"]),
        ]


@pytest.mark.parametrize("value", without_numbers())
def test_what_has_no_numbers_at_hand_is_looked_at_without_an_error(value: Any) -> None:
    module, known = holding(value), Attributes()
    assert changed(known, module) == changed(known, module) == []
