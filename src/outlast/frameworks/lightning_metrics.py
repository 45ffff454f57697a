"""Metrics of torchmetrics: what they have summed up so far, which their state dicts leave out.

Wrappers remember beside their states: ``MinMaxMetric`` the extremes, ``Running`` where its window is. So all
numbers and tensors of a metric are saved, but for what it was made with. The metrics of a collection whose
states are equal share them, and which do shows in the first batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

from outlast.core.asking import has

_USUAL = frozenset(  # of every metric: how it goes about its work
    {
        *("compute_on_cpu", "compute_with_cache", "dist_sync_on_step", "sync_on_compute", "training"),
        *("_TORCH_GREATER_EQUAL_2_1", "_dtype_convert", "_enable_grad", "_is_synced", "_should_unsync"),
        *("_computed", "_forward_cache", "_to_sync"),
    }
)


def state_of(metric: Any) -> dict[str, Any]:
    """What a metric has summed up so far."""
    kind: Any = type(metric)
    settings = _arguments(kind) | _USUAL
    beside = {
        name: value for name, value in vars(metric).items() if name not in settings and _is_number(value)
    }
    return {**beside, **metric.metric_state}


def put_back(metric: Any, state: Mapping[str, Any]) -> None:
    """Have a metric go on from :func:`state_of`."""
    for name, value in state.items():
        setattr(metric, name, value)
    metric._computed = None


def is_collection(module: Any) -> bool:
    """Whether it is a collection of metrics, of which some may share their states."""
    return all(has(module, name) for name in ("_groups", "_groups_checked", "_state_is_copy"))


def groups_of(collection: Any) -> list[list[str]] | None:
    """The names of the metrics that share their states; None if that is not known yet."""
    return [list(names) for names in collection._groups.values()] if collection._groups_checked else None


def put_groups(collection: Any, groups: list[list[str]] | None) -> None:
    """Have the metrics of a collection share their states as they did."""
    if groups is not None:
        collection._groups, collection._groups_checked = dict(enumerate(groups)), True
        collection._state_is_copy = False


@cache
def _arguments(kind: Any) -> frozenset[str]:
    """The names of what a class and its bases are made with."""
    inits = [vars(one)["__init__"] for one in kind.__mro__ if "__init__" in vars(one) and one is not object]
    return frozenset(name for init in inits for name in inspect.signature(init).parameters)


def _is_number(value: Any) -> bool:
    import torch

    return isinstance(value, (bool, int, float)) or type(value) is torch.Tensor
