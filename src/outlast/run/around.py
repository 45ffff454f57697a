"""Around: what the script has wrapped around ``run.batches`` or ``run.steps`` that no resume brings back."""

from __future__ import annotations

import ast
import builtins
import gc
import inspect
import itertools
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import (
    CodeType,
    FrameType,
    FunctionType,
    GeneratorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

from outlast.core.asking import asked, has
from outlast.core.source import around
from outlast.core.source.ahead import takes_ahead
from outlast.core.source.around import Kind, Wrapping
from outlast.core.source.names import last, path, root
from outlast.core.text import few
from outlast.run import source

_OURS = __name__.partition(".")[0]
_DEPTH, _MOST, _FEW = 5, 300, 30  # of objects that are asked whether they hold a loop, and in one

_PLAIN = (list, tuple, dict, set, frozenset)
_NUMBERS = (itertools.count, itertools.repeat, type(iter(range(0))))

_ADVICE = {
    Kind.COUNTS: "put the limit around the loader, {loop}(islice(loader, n))",
    Kind.GATHERS: "put it around the loader, {loop}({name}(loader)), or collect in the body of the loop",
    Kind.BESIDE: "go through both with {loop}(zip(a, b))",
    Kind.TURNS: "write for batch in {loop}(islice(loader, n))",
}
_STEPS = "ask {loop} for as many as you want"
_GENERAL = "do that with the loader, and give {loop} what comes of it, or collect in the body of the loop"

Variables = Callable[[FrameType, set[str]], dict[str, Any]]
Carried = Callable[[FrameType, ast.Module, int], list[str]]


class Around:
    """Looks at what is around the run's loops, at each once.

    Args:
        variables: those of a frame, by their names.
        carried: the variables that the loop in a line of a generator carries on.
    """

    def __init__(self, variables: Variables, carried: Carried) -> None:
        self._variables, self._carried = variables, carried
        self._seen: set[tuple[CodeType, int]] = set()

    def look(self) -> list[str]:
        """What is around the loop that is asked for its first batch, as phrases."""
        inner, frames = _asking(sys._getframe(1))
        if inner is None:
            return []
        found: dict[str, str] = {}
        for frame in frames:
            if (frame.f_code, frame.f_lineno) not in self._seen and _is_scripts(frame):
                self._seen.add((frame.f_code, frame.f_lineno))
                found = {**dict(self._around(frame, inner)), **found}
        return [*found.values()]

    def _around(self, frame: FrameType, inner: FrameType) -> Iterator[tuple[str, str]]:
        tree, loop = source.parsed(frame), f"run.{inner.f_code.co_name}"
        resolved = Resolved(lambda names: self._variables(frame, names), inner)
        kinds, simple = dict(_kinds(tree, frame.f_lineno, resolved)), _simple(tree, frame.f_lineno, resolved)
        code, own = _function(tree, frame), _name(frame.f_code, resolved)
        loops = _loops(code, resolved) if code is not None else []
        if source.passes_on(frame):
            carried = [one for _, line in loops for one in self._carried(frame, tree, line)]
            if carried or kinds:
                yield own, _of_generator(own, loop, carried, [*kinds.values()])
            return
        if any(around.hands_over(one) for one, _ in loops):
            kinds[own] = Kind.GATHERS
        wrapping = takes_ahead(tree, code, resolved.holds) if code is not None else None
        if wrapping is not None:
            kinds[wrapping.name] = Kind.GATHERS
        for name, kind in kinds.items():
            is_right = name in simple or (
                wrapping is not None and name == wrapping.name and _iterates(wrapping)
            )
            advice = _STEPS if kind is Kind.COUNTS and loop == "run.steps" else _ADVICE[kind]
            if kind is Kind.GATHERS and not is_right:
                advice = _GENERAL
            yield name, f"{kind.value}: {advice}".format(name=name, loop=loop)


class Resolved:
    """Knows what the expressions of a frame are.

    Args:
        variables: those of the frame, by their names.
        inner: the frame of the run's loop.
    """

    def __init__(self, variables: Callable[[set[str]], dict[str, Any]], inner: FrameType) -> None:
        self._variables, self.inner = variables, inner
        self._run = inner.f_locals.get("self")

    def value(self, one: ast.expr) -> Any:
        """The value of a variable or an attribute; None for anything else."""
        name = path(one)
        if name is None:
            return None
        first, *others = name.split(".")
        found = self._variables({root(name)})
        value = found[first] if first in found else getattr(builtins, first, None)
        for other in others:
            value = _attribute(value, other)
        return value

    def holds(self, one: ast.expr) -> bool:
        """Whether an expression makes the run's loop, or a variable has it or something around it."""
        if isinstance(one, ast.Call):
            made = one.func
            if not isinstance(made, ast.Attribute) or made.attr != self.inner.f_code.co_name:
                return False
            return self.value(made.value) is self._run
        return self.between(one) is not None

    def between(self, one: ast.expr) -> list[Any] | None:
        """The objects around the loop in the value of a variable; None if it is not in there."""
        if path(one) is None or (value := self.value(one)) is self._run:
            return None
        return _between(value, self.inner) if _is_iterated(value) else None


def _kinds(tree: ast.Module, line: int, resolved: Resolved) -> Iterator[tuple[str, Kind]]:
    """What is around the loop in a line and is more than that, by name: calls, and objects in variables."""
    for one in around.wrappings(tree, line, resolved.holds):
        if kind := _kind_of_call(one, resolved.value(one.call.func), resolved):
            yield last(one.call.func), kind
    for expression in around.variables(tree, line):
        for value in resolved.between(expression) or ():
            if kind := _kind_of_object(value, resolved.inner):
                yield type(value).__name__.replace("callable_iterator", "iter"), kind


def _simple(tree: ast.Module, line: int, resolved: Resolved) -> set[str]:
    """Those of the calls in a line that are given the loop alone, and could be given the loader."""
    calls = (one.call for one in around.wrappings(tree, line, resolved.holds))
    return {last(one.func) for one in calls if isinstance(one.func, ast.Name) and len(one.args) == 1}


def _kind_of_call(one: Wrapping, function: Any, resolved: Resolved) -> Kind | None:
    code = asked(function, "__code__")
    is_generator = _is(code, CodeType) and bool(code.co_flags & inspect.CO_GENERATOR)
    if function is None or (is_generator and not source.is_installed(code)):
        return None  # its own frame tells
    module = asked(function, "__module__") or type(function).__module__
    owner = asked(function, "__self__")
    if owner is not None and not _is(owner, ModuleType, type):  # a pool's
        module = type(owner).__module__
    return around.kind_of(one, str(module), str(asked(function, "__name__") or ""), resolved.holds)


def _kind_of_object(value: Any, inner: FrameType) -> Kind | None:
    """What an iterator does that was made before, such as one that a function was given."""
    if not has(type(value), "__next__"):
        return None
    if not _is(value, zip):
        return around.kind_by_name(type(value).__module__, type(value).__name__)
    iterators = [one for held in gc.get_referents(value) for one in held if _is_iterated(one)]
    others = [one for one in iterators if _between(one, inner) is None]
    if not others:  # several at once of one loop
        return Kind.GATHERS if len(iterators) > 1 else None
    if any(not _is(one, *_NUMBERS) for one in others):
        return Kind.BESIDE
    return (
        Kind.COUNTS if any(operator.length_hint(one, _all(inner)) < _all(inner) for one in others) else None
    )


def _all(inner: FrameType) -> int:
    """At most so many batches the run's loop has, after the first; 0 if nobody knows."""
    if isinstance(steps := inner.f_locals.get("n"), int):
        return steps - 1
    with suppress(Exception):  # of the loader's own code
        return len(inner.f_locals["loader"]) - 1
    return 0


def _of_generator(name: str, loop: str, carried: list[str], kinds: list[Kind]) -> str:
    if carried:
        variables = few([*dict.fromkeys(carried)])
        does = (
            f"{name}(...) around {loop}(...) carries {variables} on, which starts over where an epoch goes on"
        )
    else:
        kind = Kind.GATHERS if Kind.GATHERS in kinds else Kind.COUNTS
        does = kind.value.format(name=name, loop=loop)
    return f"{does}: put it around the loader{f', {loop}({name}(loader))' if name.isidentifier() else ''}"


def _loops(code: ast.AST, resolved: Resolved) -> list[tuple[ast.AST, int]]:
    """The loops in a function that go through that of the run, each with the line where it asks."""
    found: list[tuple[ast.AST, int]] = []
    for one in ast.walk(code):
        if isinstance(one, ast.For) and around.goes_through(one.iter, resolved.holds):
            found.append((one, one.iter.lineno))
        elif isinstance(one, ast.While):
            calls = [inner for inner in ast.walk(one) if isinstance(inner, ast.Call) and inner.args]
            asks = [inner for inner in calls if last(inner.func) == "next" and resolved.holds(inner.args[0])]
            found += [(one, inner.lineno) for inner in asks[:1]]
    return found


def _asking(frame: FrameType | None) -> tuple[FrameType | None, list[FrameType]]:
    """The frame of the run's loop, and those that ask it, up to the first that no other goes on from."""
    inner: FrameType | None = None
    frames: list[FrameType] = []
    while frame is not None:
        if _package(frame) == _OURS and not frames:
            inner = frame
        else:
            frames.append(frame)
            if not (
                source.passes_on(frame)
                or frame.f_code.co_name == "__next__"
                or source.is_installed(frame.f_code)
            ):
                break
        frame = frame.f_back
    return inner, frames


def _between(value: Any, inner: FrameType) -> list[Any] | None:
    """The objects in which a value has a loop of the run; None if it has it not."""
    left: list[tuple[Any, ...]] = [(value,)]
    for chain in left:  # which grows
        one = chain[-1]
        if _is(one, GeneratorType) and one.gi_frame is inner:
            return [*chain[:-1]]
        if len(chain) <= _DEPTH and len(left) <= _MOST:
            left += [(*chain, other) for other in gc.get_referents(one) if _may_hold(other)]
    return None


def _may_hold(one: Any) -> bool:
    """Whether to look into an object: not into code, which knows everything, and not into large data."""
    if _is(one, type, ModuleType, FunctionType, CodeType, FrameType, str, bytes, int, float):
        return False
    return not _is(one, *_PLAIN) or len(one) <= _FEW


def _is_iterated(one: Any) -> bool:
    is_plain = _is(one, *_PLAIN, str, bytes, type, ModuleType)
    return not is_plain and (has(type(one), "__next__") or has(type(one), "__iter__"))


def _is(one: Any, *kinds: type) -> bool:
    """``isinstance``, but what is asked runs no code of its own, as proxies do."""
    return issubclass(type(one), kinds)


def _attribute(value: Any, name: str) -> Any:
    """An attribute that can be had without a property of the user's being asked, which may do anything."""
    if _is(value, ModuleType, type):
        return asked(value, name)
    own = asked(value, "__dict__")
    if _is(own, dict) and name in own:
        return own[name]
    found = inspect.getattr_static(type(value), name, None)
    if _is(found, FunctionType):
        return MethodType(found, value)
    return asked(value, name) if _is(found, MemberDescriptorType) else None


def _name(code: CodeType, resolved: Resolved) -> str:
    """The name of what a frame runs; of a method that Python calls, that of the class."""
    is_method = code.co_name in ("__iter__", "__next__", "__call__") and code.co_argcount
    own = resolved.value(ast.Name(code.co_varnames[0], ast.Load())) if is_method else None
    return code.co_name if own is None else type(own).__name__


def _iterates(one: ast.ClassDef) -> bool:
    return any(getattr(method, "name", "") == "__iter__" for method in one.body)


def _function(tree: ast.Module, frame: FrameType) -> ast.AST | None:
    """The function that the frame runs."""
    first = frame.f_code.co_firstlineno
    for one in ast.walk(tree):
        if not isinstance(one, ast.FunctionDef) or one.name != frame.f_code.co_name:
            continue
        if min([one.lineno, *(wrapper.lineno for wrapper in one.decorator_list)]) == first:
            return one
    return None


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_scripts(frame: FrameType) -> bool:
    """Whether a frame may be read: what a package does, such as a progress bar, is its own affair."""
    return not source.is_installed(frame.f_code)
