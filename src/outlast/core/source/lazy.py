"""Lazy: things that a loop makes when they are first missing, such as a pool of processes or a buffer.

A script that is started again makes them again, and nothing is lost with them. That is not so for what is
made of numbers at hand: a first loss, a copy of the model.
"""

from __future__ import annotations

import ast
from collections import Counter

from outlast.core.source import calls
from outlast.core.source.names import last, mentioned, path

# What these make has nothing of the numbers that they are given.
_EMPTY = frozenset(
    {
        *("compile", "empty", "empty_like", "full", "grad", "jit", "make_jaxpr", "ones", "ones_like"),
        *("open", "script", "trace", "value_and_grad", "vmap", "zeros", "zeros_like"),
    }
)
# Methods of an object that a turn may call, and that leave nothing in it for the next.
_SERVING = frozenset(
    {
        *("add_scalar", "apply", "apply_async", "close", "copy_", "fill_", "flush", "imap", "imap_unordered"),
        *("map", "shutdown", "starmap", "submit", "terminate", "write", "writelines", "writerow", "zero_"),
    }
)


def made_when_missing(loop: ast.AST) -> dict[str, frozenset[str]]:
    r"""The variables that a loop sets only where they are missing, with those that they are made of.

    Example:
        >>> code = "for x in y:\n    if pool is None: pool = Pool(size)\n    pool.map(f, x)"
        >>> made_when_missing(ast.parse(code).body[0])
        {'pool': frozenset({'size'})}
    """
    made = [pair for one in ast.walk(loop) for pair in _made(one)]
    names = Counter(name for name, _ in made)
    if not names:
        return {}
    sets = Counter(path(one) for one in ast.walk(loop) if isinstance(getattr(one, "ctx", None), ast.Store))
    found: dict[str, frozenset[str]] = {}
    for name, call in made:
        is_empty = last(call.func) in _EMPTY
        given = frozenset() if is_empty else frozenset(_given(call))
        is_right = is_empty or (calls.makes(call) and _only_serves(loop, name))
        if is_right and sets[name] == names[name] and not any(one in sets for one in given):
            found[name] = found.get(name, frozenset()) | given
    return found


def _made(one: ast.AST) -> list[tuple[str, ast.Call]]:
    """What a statement makes where it is missing."""
    match one:
        case ast.If(test=ast.Compare(left=left, ops=[ast.Is()], comparators=[ast.Constant(value=None)])):
            missing = path(left)
        case ast.If(test=ast.UnaryOp(op=ast.Not(), operand=operand)):
            missing = path(operand)
        case ast.Assign(targets=[target], value=ast.BoolOp(op=ast.Or(), values=[first, ast.Call() as call])):
            name = path(target)
            return [(name, call)] if name is not None and name == path(first) else []
        case _:
            return []
    return [
        (missing, part.value)
        for inner in one.body
        for part in ast.walk(inner)
        if isinstance(part, ast.Assign) and isinstance(part.value, ast.Call)
        if missing is not None and [path(target) for target in part.targets] == [missing]
    ]


def _given(call: ast.Call) -> list[str]:
    return [name for given in calls.arguments(call) for name in mentioned(given)]


def _only_serves(loop: ast.AST, name: str) -> bool:
    """Whether a loop calls no method of an object but those that leave it as it is."""
    functions = [path(one.func) or "" for one in ast.walk(loop) if isinstance(one, ast.Call)]
    return all(
        one.removeprefix(f"{name}.") in _SERVING
        for one in functions
        if one == name or one.startswith(f"{name}.")
    )
