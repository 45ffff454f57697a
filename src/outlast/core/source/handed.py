"""Handed over: to which objects the code of a script gives its variables."""

from __future__ import annotations

import ast

from outlast.core.source import calls
from outlast.core.source.names import path


def handed_over(scope: ast.AST) -> dict[str, set[str]]:
    """To which attributes the variables are given, also together with others.

    Example:
        >>> handed_over(ast.parse("run.extra['total'] = total; run.extra.update(best=best)"))
        {'total': {'run.extra'}, 'best': {'run.extra'}}
    """
    found: dict[str, set[str]] = {}
    for one in ast.walk(scope):
        given: list[ast.expr] = []
        owners: set[str] = set()
        if isinstance(one, ast.Assign):
            given, owners = [one.value], {name for target in one.targets for name in _owners(target)}
        elif isinstance(one, ast.Call) and calls.changes(one, is_statement=True):
            assert isinstance(one.func, ast.Attribute)
            given, owners = [*calls.arguments(one)], {*_owners(one.func.value, whole=True)}
        for read in (inner for value in given for inner in ast.walk(value)) if owners else ():
            if isinstance(name := path(read), str):
                found.setdefault(name, set()).update(owners)
    return found


def _owners(target: ast.AST, *, whole: bool = False) -> list[str]:
    """What an assignment changes: an attribute, or what an item of it is in."""
    is_item = whole
    while isinstance(target, ast.Subscript):
        target, is_item = target.value, True
    if isinstance(target, ast.Tuple | ast.List):
        return [name for one in target.elts for name in _owners(one)]
    name = path(target)
    return [name] if name is not None and (is_item or "." in name) else []
