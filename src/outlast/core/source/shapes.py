"""Shapes: what a single statement or target is, as far as its form says."""

from __future__ import annotations

import ast

from outlast.core.source.names import path

_LEAVES = (ast.Break, ast.Continue, ast.Raise, ast.Return)


def after_either(*ends: tuple[list[ast.stmt], frozenset[str]]) -> frozenset[str]:
    """What is set for certain after one of several pieces of code, each with what is set after it."""
    known = [after for code, after in ends if not (code and isinstance(code[-1], _LEAVES))]
    return frozenset.intersection(*known) if known else ends[0][1]


def base(target: ast.AST) -> str | None:
    """The variable that changes where an item of it, an attribute of that, or a value that it gives, does."""
    while isinstance(target, ast.Subscript | ast.Call | ast.Attribute) and path(target) is None:
        if isinstance(target, ast.Subscript | ast.Attribute):
            target = target.value
        elif isinstance(target.func, ast.Attribute):
            target = target.func.value
        else:
            return None
    return path(target)


def attribute_set(call: ast.Call) -> ast.Attribute | None:
    """What ``setattr(self, "n", 0)`` sets; None for another call.

    Example:
        >>> ast.unparse(attribute_set(ast.parse('setattr(self, "n", 0)', mode="eval").body))
        'self.n'
    """
    match call:
        case ast.Call(func=ast.Name(id="setattr"), args=[owner, ast.Constant(value=str() as name), _]):
            return ast.Attribute(owner, name, ast.Store())
    return None


def way_of(one: ast.AugAssign) -> str:
    """In which way it changes its target: it counts, it sums up, or it takes a step, as a schedule does.

    Example:
        >>> [way_of(one) for one in ast.parse("n += 1; total += loss; beta *= 0.9; beta += 0.1").body]
        ['+1', '+=', '*=', '*=']
    """
    is_constant = isinstance(one.value, ast.Constant)
    if not isinstance(one.op, ast.Add | ast.Sub | ast.BitOr):
        return "*="
    if not is_constant or not isinstance(one.value, ast.Constant):
        return "+="
    return "+1" if one.value.value == 1 and isinstance(one.op, ast.Add) else "*="


def adds_one(value: ast.expr, own: str) -> bool:
    """Whether it is ``n + 1`` for this variable."""
    match value:
        case ast.BinOp(left=left, op=ast.Add(), right=ast.Constant(value=1)):
            return path(left) == own
    return False


def is_all(index: ast.AST) -> bool:
    """Whether it is ``[:]`` or ``[...]``."""
    if isinstance(index, ast.Slice):
        return (index.lower, index.upper, index.step) == (None, None, None)
    return isinstance(index, ast.Constant) and index.value is Ellipsis


def constant(index: ast.AST) -> int | str | None:
    """The number or the text that an index is; None if it is computed."""
    value = index.value if isinstance(index, ast.Constant) else None
    return value if type(value) in (int, str) else None  # type: ignore[return-value]


def captured(pattern: ast.AST) -> frozenset[str]:
    """The variables that a pattern sets."""
    names = (getattr(one, "name", None) or getattr(one, "rest", None) for one in ast.walk(pattern))
    return frozenset(name for name in names if name)


def takes_all(case: ast.match_case) -> bool:
    """Whether it is ``case _``."""
    is_wildcard = isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None
    return is_wildcard and case.guard is None
