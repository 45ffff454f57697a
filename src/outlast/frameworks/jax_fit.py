"""Fit: whether a saved state goes into the one that the script makes, and what is wrong if it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlast.frameworks.jax_tree import described, fits, lost_types, shown

_MOST_NAMED = 3
_MOST_GROUPS = 5


def differences(saved: Mapping[str, Any], template: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """What differs, in phrases: leaves that differ in the same way are in one.

    A leaf fits if it is as the script makes it now; or if the script makes it as it did at first, for a step
    may give it another type.

    Args:
        saved: the leaves and their kinds.
        template: how leaves were described that the script had made otherwise.
        here: how they are described that the script makes now.
    """
    kinds, leaves = saved["kinds"], saved["leaves"]
    there = {name: described(leaves[name], kind) for name, kind in kinds.items()}
    groups: dict[str, list[str]] = {}
    for name, what in there.items():
        if name not in here:
            groups.setdefault("only in the run", []).append(name)
        elif not fits(what, here[name]) and template.get(name) != here[name]:
            groups.setdefault(f"{what} in the run, {here[name]} in this code", []).append(name)
    for name in here:
        if name not in there:
            groups.setdefault("only in this code", []).append(name)
    for name in lost_types(leaves, kinds):
        what = f"{leaves[name].dtype.name} in the run, which this process cannot hold: set jax_enable_x64"
        groups.setdefault(what, []).append(name)
    found = [f"{_named(names)}: {what}" for what, names in groups.items()]
    more = len(found) - _MOST_GROUPS
    return found if more <= 0 else [*found[:_MOST_GROUPS], f"and {more} more differences"]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(shown, names[:_MOST_NAMED])) + more
