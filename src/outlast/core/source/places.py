"""Places: where in a script's source a loop of the run is, and the code in which it matters what it does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from outlast.core.source.calls import arguments, passes
from outlast.core.source.names import assigned, last, path, spread, targets

Function = ast.FunctionDef | ast.AsyncFunctionDef
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)


@dataclass(frozen=True)
class Place:
    """A loop, and the code around it.

    Args:
        tree: all of the source.
        loop: a statement; or one with a comprehension in it, which is the loop.
        line: of the loop, for one without a statement of its own.
        around: the outermost loop around it in its function.
        before: the statements of the function before the loop.
        behind: those after the loop, also in the loops around it.
        rest: those after the outermost loop.
        function: that it is in; None at the level of the module.
    """

    tree: ast.Module
    loop: ast.stmt
    line: int
    around: ast.stmt
    before: tuple[ast.stmt, ...]
    behind: tuple[ast.stmt, ...]
    rest: tuple[ast.stmt, ...]
    function: Function | None

    @property
    def turn(self) -> tuple[list[ast.stmt], frozenset[str]]:
        """The code of one turn, and what is set when it begins."""
        if isinstance(self.loop, ast.For | ast.AsyncFor):
            return self.loop.body, frozenset(targets(self.loop.target))
        return [self.loop], frozenset()

    @property
    def is_loop(self) -> bool:
        """Whether it has a statement of its own, and is no comprehension."""
        return isinstance(self.loop, _LOOPS)


def place_at(tree: ast.Module, line: int, kinds: frozenset[str] = frozenset(("batches",))) -> Place | None:
    """The loop that goes on in a line.

    Args:
        tree: of the source.
        line: in which the next turn is asked for.
        kinds: the run's loops that may be meant.
    """
    found: dict[str, tuple[ast.AST, ...]] = {}
    for around in _paths(tree):
        one = around[-1]
        if isinstance(one, ast.For | ast.AsyncFor):
            if _covers(one.iter, line):
                found["named" if passes(one.iter) & kinds else "loop"] = around
        elif isinstance(one, ast.stmt) and any(_covers(part, line) for part in _header(one)):
            kind = _kind_of_use(one, line, kinds)
            loops = [at for at, outer in enumerate(around) if isinstance(outer, _LOOPS)]
            if kind == "next" and loops:
                found[kind] = around[: loops[-1] + 1]
            elif kind not in ("", "next"):
                found[kind] = around
    around = next((found[kind] for kind in ("named", "gathers", "loop", "next", "used") if kind in found), ())
    return _place(tree, around, line) if around else None


def counted(loop: ast.stmt) -> str | None:
    """The variable with which a loop counts its own turns, by ``enumerate``, or by ``zip`` with numbers.

    Example:
        >>> counted(ast.parse("for i, x in tqdm(enumerate(run.batches(loader))): train(x, i)").body[0])
        'i'
    """
    return _counter(loop.iter, loop.target) if isinstance(loop, ast.For | ast.AsyncFor) else None


def going_through(tree: ast.AST) -> set[str]:
    """The variables that hold a loop of the run, also one that is wrapped, as in a progress bar.

    Example:
        >>> sorted(going_through(ast.parse("batches = run.batches(x); bar = tqdm(batches)")))
        ['bar', 'batches']
    """
    return {*spread(assigned(tree), _holds)}


def loaders(tree: ast.AST) -> set[str]:
    """The variables that the run's loops are given.

    Example:
        >>> loaders(ast.parse("for x in run.batches(self.loader): pass"))
        {'self.loader'}
    """
    found = (one for one in ast.walk(tree) if isinstance(one, ast.Call) and last(one.func) in _GIVEN)
    return {name for call in found for given in arguments(call) if (name := path(given)) is not None}


_GIVEN = frozenset(("batches", "steps", "validation"))


def _holds(value: ast.expr, known: frozenset[str]) -> bool:
    """Whether a value is a loop of the run, or goes through one when it is iterated."""
    match value:
        case ast.Call(func=function):
            if isinstance(function, ast.Attribute) and function.attr in ("batches", "steps"):
                return True
            return last(function) != "next" and any(_holds(one, known) for one in value.args)
        case ast.GeneratorExp():
            return _holds(value.generators[0].iter, known)
    return path(value) in known


def _counter(iterated: ast.expr, target: ast.AST) -> str | None:
    if not isinstance(iterated, ast.Call) or passes(iterated) & {last(iterated.func)}:
        return None
    elements = target.elts if isinstance(target, ast.Tuple) else []
    if last(iterated.func) == "enumerate":
        return elements[0].id if elements and isinstance(elements[0], ast.Name) else None
    if last(iterated.func) == "zip":
        for given, one in zip(iterated.args, elements, strict=False):
            is_number = isinstance(given, ast.Call) and last(given.func) in ("count", "range")
            if is_number and isinstance(one, ast.Name):
                return one.id
        return None
    return _counter(iterated.args[0], target) if iterated.args else None


def _kind_of_use(one: ast.stmt, line: int, kinds: frozenset[str]) -> str:
    """How a statement goes through a loop of the run, if it does."""
    inner = [part for header in _header(one) for part in ast.walk(header)]
    comprehensions = [part for part in inner if isinstance(part, _COMPREHENSIONS) and _covers(part, line)]
    if any(passes(made.iter) & kinds for part in comprehensions for made in part.generators):
        return "gathers"
    if any(isinstance(part, ast.Call) and last(part.func) in ("next", "__next__") for part in inner):
        return "next"
    return "used" if comprehensions or any(passes(part) & kinds for part in inner) else ""


def _header(one: ast.stmt) -> list[ast.AST]:
    """The expressions of a statement, without the statements in it."""
    if isinstance(one, Function | ast.ClassDef):
        return []
    children = ast.iter_child_nodes(one)
    return [part for part in children if isinstance(part, ast.expr | ast.withitem | ast.keyword)]


def _covers(one: ast.AST, line: int) -> bool:
    if isinstance(one, ast.withitem):
        one = one.context_expr
    first: int | None = getattr(one, "lineno", None)
    return first is not None and first <= line <= (getattr(one, "end_lineno", None) or first)


def _paths(tree: ast.AST, around: tuple[ast.AST, ...] = ()) -> Iterator[tuple[ast.AST, ...]]:
    """Each statement, with those around it before it."""
    around = (*around, tree)
    yield around
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _paths(child, around)


def _place(tree: ast.Module, around: tuple[ast.AST, ...], line: int) -> Place:
    starts = [at for at, one in enumerate(around) if isinstance(one, Function | ast.Module | ast.ClassDef)]
    inner = around[starts[-1] :]  # the function, and what is in it
    loop = around[-1]
    assert isinstance(loop, ast.stmt)
    loops = [at for at, one in enumerate(inner) if isinstance(one, _LOOPS)]
    outermost = loops[0] if loops else len(inner) - 1
    outer = inner[outermost]
    assert isinstance(outer, ast.stmt)
    function = inner[0] if isinstance(inner[0], Function) else None
    before = [one for at in range(1, len(inner)) for one in _siblings(inner, at)[0]]
    after = [(at, one) for at in reversed(range(1, len(inner))) for one in _siblings(inner, at)[1]]
    return Place(
        tree,
        loop,
        line,
        outer,
        before=tuple(before),
        behind=tuple(one for _, one in after),
        rest=tuple(one for at, one in after if at <= outermost),
        function=function,
    )


def _siblings(inner: tuple[ast.AST, ...], at: int) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """The statements before and after one in its block."""
    for _, block in ast.iter_fields(inner[at - 1]):
        if isinstance(block, list) and any(one is inner[at] for one in block):
            index = next(place for place, one in enumerate(block) if one is inner[at])
            is_code = isinstance(inner[at], ast.stmt)
            return (block[:index], block[index + 1 :]) if is_code else ([], [])
    return [], []
