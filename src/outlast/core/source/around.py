"""Around: what a loop of the run is wrapped in, and whether that counts by itself or takes batches ahead.

A resumed run goes on inside an epoch, and what is wrapped around its batches begins again: ``islice`` takes
ten more. What collects batches, as ``list`` does, has them before they are trained. Inside the brackets,
around the loader, neither matters.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from outlast.core.source.calls import arguments, passes
from outlast.core.source.names import last

Holds = Callable[[ast.expr], bool]


class Kind(Enum):
    """What a wrapping does that a resume cannot see, as a phrase; in braces its name, and the loop."""

    COUNTS = "{name}(...) around {loop}(...) counts from the beginning again where an epoch goes on"
    GATHERS = (
        "{name}(...) around {loop}(...) takes batches before they are trained, so a save cannot tell those"
    )
    BESIDE = "what {name}(...) has beside {loop}(...) begins again where an epoch goes on"
    TURNS = (
        "the loop around next(...) of {loop}(...) counts its turns from the beginning where an epoch goes on"
    )


@dataclass(frozen=True)
class Wrapping:
    """A call that goes through a loop of the run.

    Args:
        call: the call.
        turns: it is in a ``for`` over something else, of which each turn asks for a batch.
    """

    call: ast.Call
    turns: bool = False


_GATHERING = frozenset(("cytoolz", "itertools", "more_itertools", "toolz"))  # but for what is named here
_COLLECTIONS = frozenset(
    ("callable_iterator", "deque", "dict", "frozenset", "list", "set", "sorted", "tuple")  # iter(take, [])
)
_COUNTING = frozenset(
    {
        *("accumulate", "compress", "drop", "dropwhile", "islice", "islice_extended", "nth"),
        *("strided", "take", "take_nth"),
    }
)
_LAZY = frozenset(
    {
        *(
            "always_iterable",
            "chain",
            "concat",
            "consume",
            "filter",
            "filterfalse",
            "flatten",
            "from_iterable",
        ),
        *("map", "map_except", "pluck", "remove", "repeat", "side_effect", "starmap", "takewhile"),
    }
)
_POOLS = frozenset(("concurrent", "multiprocessing"))
_ENDLESS = frozenset(("count", "repeat"))


def wrappings(tree: ast.AST, line: int, holds: Holds) -> list[Wrapping]:
    """The calls in a line that go through a loop of the run, the inner ones first.

    Args:
        tree: of the source.
        line: in which the next batch is asked for.
        holds: whether an expression is the loop, where it is no call around it.

    Example:
        >>> tree = ast.parse("for i, x in enumerate(islice(run.batches(loader), 10)): train(x)")
        >>> found = wrappings(tree, 1, lambda one: last(getattr(one, "func", one)) == "batches")
        >>> [one.call.func.id for one in found]
        ['islice', 'enumerate']
    """
    found: list[Wrapping] = []
    for one, loop in _expressions(tree, line):
        if isinstance(one, ast.Call) and any(goes_through(given, holds) for given in arguments(one)):
            found.append(Wrapping(one, last(one.func) == "next" and _is_another(loop, holds)))
    return found[::-1]


def variables(tree: ast.AST, line: int) -> list[ast.expr]:
    """The variables and attributes that a line reads."""
    read = (one for one, _ in _expressions(tree, line) if isinstance(one, ast.Name | ast.Attribute))
    return [one for one in read if isinstance(one.ctx, ast.Load)]


def goes_through(one: ast.expr, holds: Holds) -> bool:
    """Whether an expression is a loop of the run, or goes through one when it is iterated."""
    if holds(one):
        return True
    match one:
        case ast.Call():
            is_one = last(one.func) != "next"
            return is_one and any(goes_through(given, holds) for given in arguments(one))
        case ast.GeneratorExp(generators=generators):
            return goes_through(generators[0].iter, holds)
        case ast.Starred(value=value):
            return goes_through(value, holds)
        case ast.BinOp(left=ast.List(elts=several) | ast.Tuple(elts=several), op=ast.Mult()):
            return any(goes_through(given, holds) for given in several)  # [it] * 2
    return False


def kind_of(one: Wrapping, module: str, name: str, holds: Holds) -> Kind | None:
    """What a wrapping does that a resume cannot see; None if it is nothing.

    Args:
        one: the wrapping.
        module: in which that is which it calls.
        name: of that.
        holds: as for :func:`wrappings`.

    Example:
        >>> call = ast.parse("islice(batches, 10)", mode="eval").body
        >>> kind_of(Wrapping(call), "itertools", "islice", lambda one: False)
        <Kind.COUNTS: '{name}(...) around {loop}(...) counts from the beginning again where an epoch goes on'>
    """
    package = module.partition(".")[0]
    if package == "builtins" and name == "next":
        return Kind.TURNS if one.turns else None
    if name in ("zip", "zip_longest", "zip_equal") and package in ("builtins", *_GATHERING):
        return _beside(one.call, holds)
    if name in _COLLECTIONS and all(isinstance(given, ast.GeneratorExp) for given in one.call.args):
        return None  # a loop of its own
    return kind_by_name(module, name)


def kind_by_name(module: str, name: str) -> Kind | None:
    """The same for a function or a class, whatever it is called with.

    Example:
        >>> kind_by_name("builtins", "list").name, kind_by_name("builtins", "enumerate")
        ('GATHERS', None)
    """
    package = module.partition(".")[0]
    if package in _GATHERING:
        return Kind.COUNTS if name in _COUNTING else None if name in _LAZY else Kind.GATHERS
    is_collection = package in ("builtins", "collections") and name in _COLLECTIONS
    is_ahead = "prefetch" in name.lower() or package in _POOLS
    return Kind.GATHERS if is_collection or is_ahead else None


def hands_over(loop: ast.AST) -> bool:
    """Whether all that a loop does with what it is given is to put it into a queue.

    Example:
        >>> hands_over(ast.parse("for batch in batches: queue.put(batch)").body[0])
        True
    """
    if not isinstance(loop, ast.For) or not isinstance(loop.target, ast.Name):
        return False
    calls = [one for one in ast.walk(loop) if isinstance(one, ast.Call) and last(one.func).startswith("put")]
    return any(
        isinstance(given, ast.Name) and given.id == loop.target.id for one in calls for given in one.args
    )


def _beside(call: ast.Call, holds: Holds) -> Kind | None:
    """What is beside the loop in ``zip``: a limit, other data, or numbers that only count."""
    others = [one for one in call.args if not goes_through(one, holds)]
    if call.args and not others:  # several at once of one loop
        return Kind.GATHERS if len(call.args) > 1 or isinstance(call.args[0], ast.Starred) else None
    ends = [one for one in others if not (isinstance(one, ast.Call) and _is_endless(one))]
    if not ends:
        return None
    is_range = all(isinstance(one, ast.Call) and last(one.func) == "range" for one in ends)
    return Kind.COUNTS if is_range else Kind.BESIDE


def _is_endless(one: ast.Call) -> bool:
    """Whether it gives as much as anybody asks for: also ``range(len(loader))``."""
    if last(one.func) == "range":
        return any(isinstance(given, ast.Call) and last(given.func) == "len" for given in one.args)
    return last(one.func) in _ENDLESS


def _is_another(loop: ast.AST | None, holds: Holds) -> bool:
    """Whether it is a ``for`` over something else than a loop of the run, which was begun before it."""
    if not isinstance(loop, ast.For | ast.AsyncFor) or goes_through(loop.iter, holds):
        return False
    return not passes(loop.iter) and not any(passes(one) & {"batches", "steps"} for one in loop.body)


def _expressions(tree: ast.AST, line: int) -> Iterator[tuple[ast.expr, ast.AST | None]]:
    """The expressions in a line, the outer ones first, each with the innermost loop around it."""
    for one, loop in _statements(tree, None):
        for part in (inner for header in _header(one) for inner in ast.walk(header)):
            if isinstance(part, ast.expr) and part.lineno <= line <= (part.end_lineno or part.lineno):
                yield part, loop


def _statements(one: ast.AST, loop: ast.AST | None) -> Iterator[tuple[ast.stmt, ast.AST | None]]:
    """Each statement, with the innermost loop around it in its function."""
    for child in ast.iter_child_nodes(one):
        if isinstance(child, ast.stmt):
            yield child, child if isinstance(child, ast.While) else loop
        is_scope = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        is_loop = isinstance(child, ast.For | ast.AsyncFor | ast.While)
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _statements(child, None if is_scope else child if is_loop else loop)


def _header(one: ast.stmt) -> list[ast.AST]:
    """The expressions of a statement, without the statements in it."""
    if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return []
    children = ast.iter_child_nodes(one)
    return [child for child in children if isinstance(child, ast.expr | ast.withitem | ast.keyword)]
