"""Names: variables and attributes of them (``total``, ``self.step``), as source code writes them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator

_CLOCKS = frozenset(("monotonic", "perf_counter", "process_time", "time"))
_NUMBERS = frozenset(("abs", "float", "int", "max", "min", "round"))


def path(one: ast.AST) -> str | None:
    """The name of a variable or of an attribute of one; None for anything else."""
    if isinstance(one, ast.Name):
        return one.id
    if isinstance(one, ast.Attribute):
        before = path(one.value)
        return None if before is None else f"{before}.{one.attr}"
    return None


def prefixes(name: str) -> list[str]:
    """The name and all that it is an attribute of.

    Example:
        >>> prefixes("self.meter.sum")
        ['self', 'self.meter', 'self.meter.sum']
    """
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def root(name: str) -> str:
    """The variable in a dotted name."""
    return name.partition(".")[0]


def last(function: ast.AST) -> str:
    """The last part of what is called; "" if it has no name."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def single(target: ast.AST) -> Iterator[ast.AST]:
    """The single targets of one that may be a tuple."""
    if isinstance(target, ast.Tuple | ast.List):
        for one in target.elts:
            yield from single(one)
    else:
        yield target.value if isinstance(target, ast.Starred) else target


def targets(target: ast.AST) -> list[str]:
    """The names that an assignment sets."""
    return [name for one in single(target) if (name := path(one)) is not None]


def walrus(one: ast.AST) -> set[str]:
    """What ``:=`` sets in an expression."""
    return {inner.target.id for inner in ast.walk(one) if isinstance(inner, ast.NamedExpr)}


def assigned(tree: ast.AST) -> Iterator[tuple[list[str], ast.expr]]:
    """What code assigns, each name with its own value where several are assigned at once.

    Example:
        >>> [names for names, value in assigned(ast.parse("total, count = 0, 0"))]
        [['total'], ['count']]
    """
    for one in ast.walk(tree):
        if isinstance(one, ast.withitem) and one.optional_vars is not None:
            yield targets(one.optional_vars), one.context_expr
        if isinstance(one, ast.AnnAssign) and one.value is not None:
            yield targets(one.target), one.value
        if isinstance(one, ast.Assign):
            for target in one.targets:
                yield from _pairs(target, one.value)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[list[str], ast.expr]]:
    parts, values = getattr(target, "elts", ()), getattr(value, "elts", ())
    if parts and len(parts) == len(values):
        yield from ((targets(part), one) for part, one in zip(parts, values, strict=True))
    else:
        yield targets(target), value


def timed(code: Iterable[ast.AST]) -> frozenset[str]:
    r"""The variables that hold times, or what is computed from a time: they differ in every start.

    Example:
        >>> sorted(timed([ast.parse("began = time()\ntook = monotonic() - began\nn = 1")]))
        ['began', 'took']
    """
    return spread([pair for tree in code for pair in assigned(tree)], is_timed)


def spread(
    pairs: Iterable[tuple[list[str], ast.expr]], is_of: Callable[[ast.expr, frozenset[str]], bool]
) -> frozenset[str]:
    """The names whose values are of a kind, by themselves or for a name in them that is.

    A value is asked again only when a name in it was found, so a long chain of them is gone through once.

    Args:
        pairs: names with the value that is assigned to them.
        is_of: whether a value is of the kind, told those of the names in it that are.
    """
    values = [(names, value, frozenset(mentioned(value))) for names, value in pairs]
    users: dict[str, list[int]] = {}
    for at, (_, _, read) in enumerate(values):
        for name in read:
            users.setdefault(name, []).append(at)
    found: set[str] = set()
    left = [*reversed(range(len(values)))]
    while left:
        names, value, read = values[left.pop()]
        if not found.issuperset(names) and is_of(value, frozenset(one for one in read if one in found)):
            fresh = [name for name in names if name not in found]
            found |= {*fresh}
            left += [at for name in fresh for at in users.get(name, ())]
    return frozenset(found)


def mentioned(value: ast.AST) -> Iterator[str]:
    """The variables and attributes in a piece of code.

    Example:
        >>> [*mentioned(ast.parse("f(self.total[n])", mode="eval"))]
        ['f', 'self.total', 'n']
    """
    left = [value]
    while left:
        one = left.pop()
        name = path(one)
        if name is not None:
            yield name
        else:
            left += reversed([*ast.iter_child_nodes(one)])


def is_timed(value: ast.AST, known: frozenset[str]) -> bool:
    """Whether an expression is a time, or is computed from one; ``known`` are variables that are."""
    match value:
        case ast.Call(func=function, args=args):
            is_number = isinstance(function, ast.Name) and function.id in _NUMBERS
            return last(function) in _CLOCKS or (is_number and any(is_timed(one, known) for one in args))
        case ast.BinOp(left=left, right=right):
            return is_timed(left, known) or is_timed(right, known)
        case ast.UnaryOp(operand=operand):
            return is_timed(operand, known)
        case ast.Compare(left=left, comparators=others):
            return any(is_timed(one, known) for one in (left, *others))
        case _:
            return path(value) in known
