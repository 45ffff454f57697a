"""Changed data: whether a loop changes something of a loader's dataset that is not saved with the loader."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from outlast.core.asking import asked
from outlast.core.source.carried import Carried
from outlast.core.source.dataflow import Code
from outlast.core.source.names import path
from outlast.frameworks import loaders

_CALLED = ("__call__", "add", "append", "record", "update")


def is_unsaved(one: Carried, values: list[Any], given: Iterable[Any]) -> bool:
    """Whether a variable is a dataset, or in one, and what the loop changes of it is not saved.

    Args:
        one: the variable.
        values: that of each part of its name.
        given: the loaders.
    """
    for found in (found for loader in given for found in loaders.within(loader)):
        dataset = asked(found.holder, "dataset")
        for depth, value in enumerate(values):
            if dataset is not None and value is dataset:
                called = _CALLED if one.is_called else one.ways
                inner = one.name.split(".")[depth + 1 :]
                changed = {*inner[:1]} if inner else {*_changed_by(type(dataset), {*called})}
                return not changed <= loaders.saved_of_dataset(found.holder)
    return False


def _changed_by(kind: type, methods: set[str]) -> Iterator[str]:
    """The attributes that methods change, and those methods that they call."""
    waiting, seen = [*methods], {*methods}
    while waiting:
        method = _read(getattr(kind, waiting.pop(), None))
        if method is None or not method.args.args:
            continue
        code, itself = Code(), method.args.args[0].arg
        code.run(method.body, frozenset())
        for name in code.changed:
            first, _, rest = name.partition(".")
            if first == itself and rest:
                yield rest.partition(".")[0]
        calls = (path(one.func) or "" for one in ast.walk(method) if isinstance(one, ast.Call))
        others = {name.partition(".")[2] for name in calls if name.startswith(f"{itself}.")} - seen
        waiting, seen = [*waiting, *others], seen | others


def _read(method: Any) -> ast.FunctionDef | None:
    with suppress(Exception):  # it has no source, or none that can be read
        found = ast.parse(textwrap.dedent(inspect.getsource(method))).body[0]
        return found if isinstance(found, ast.FunctionDef) else None
    return None
