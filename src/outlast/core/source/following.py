"""Following: whether code that changes a variable puts it into an object afterwards, each time.

Training changes its own state, so that has what a variable was only where it was put into it after the last
change. A copy that a script keeps to go back to is put into it now and then.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from outlast.core.source.names import single
from outlast.core.source.shapes import base

Puts = Callable[[ast.AST], bool]


def follows(scope: ast.AST, loop: ast.AST, name: str, puts: Puts, takes: Puts) -> bool:
    r"""Whether a variable is put into an object after each change in a loop.

    Args:
        scope: the code that does it.
        loop: a statement in it.
        name: of the variable.
        puts: whether a statement puts it there.
        takes: whether a statement sets it to what the object has, so that both are the same.

    Example:
        >>> loop = ast.parse("for x in xs:\n  s = step(s, x)\n  if x: run.state = s").body[0]
        >>> puts = lambda one: ast.unparse(one) == "run.state = s"
        >>> follows(loop, loop, "s", puts, lambda one: False)
        False
    """
    changes = {one for one in ast.walk(loop) if _changes(one, name) and not takes(one)}
    return _open(scope, changes, puts, takes) is None


def _changes(one: ast.AST, name: str) -> bool:
    if isinstance(one, ast.AugAssign):
        return base(one.target) == name
    set_by = one.targets if isinstance(one, ast.Assign) else []
    return any(base(part) == name for target in set_by for part in single(target))


def _open(one: ast.AST, changes: set[ast.AST], puts: Puts, takes: Puts) -> ast.AST | None:
    """A change in some code that nothing in it follows; None if there is none."""
    if one in changes:
        return None if puts(one) else one
    left: ast.AST | None = None
    for block in _blocks(one):
        here: ast.AST | None = None
        for statement in block:
            if here is not None and _settles(statement, puts, takes):
                here = None
            here = _open(statement, changes, puts, takes) or here
        left = left or here
    return left


def _settles(one: ast.AST, puts: Puts, takes: Puts) -> bool:
    """Whether a statement puts the variable into the object in any case, or sets it to what that has."""
    if isinstance(one, ast.If):
        branches = [one.body, one.orelse]
        ends = [any(_settles(inner, puts, takes) for inner in branch) for branch in branches]
        has = [end or any(map(takes, branch)) for end, branch in zip(ends, branches, strict=True)]
        return any(ends) and all(has)
    if isinstance(one, ast.With | ast.Try):
        return any(_settles(inner, puts, takes) for inner in one.body)
    return puts(one)


def _blocks(one: ast.AST) -> Iterator[list[ast.AST]]:
    """The blocks of statements in a statement."""
    for _, value in ast.iter_fields(one):
        if (
            isinstance(value, list)
            and value
            and isinstance(value[0], ast.stmt | ast.ExceptHandler | ast.match_case)
        ):
            yield value
