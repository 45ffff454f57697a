"""Carried: the variables that the code of a loop carries from one turn to the next.

A script that is started again runs its code from the beginning. A sum of its own then lacks what it had
summed up, a count begins at 0, and a best score is forgotten. Code shows which variables are of that kind: a
turn reads them before it sets them, and changes them for the next. What nothing else reads does not matter.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

# Methods that change what they are called on, where nobody takes what they return.
_CHANGING = frozenset(("add", "append", "appendleft", "extend", "insert", "update"))
_CLOCKS = frozenset(("monotonic", "perf_counter", "time"))


def loop_at(tree: ast.Module, line: int) -> tuple[ast.For, ast.stmt] | None:
    """The innermost loop that begins on a line, and the code in which it matters what that loop carries.

    That is the outermost loop around it, or else the function around it, or else itself.
    """
    found = None
    for around in _paths(tree):
        loop = around[-1]
        if isinstance(loop, ast.For) and loop.iter.lineno <= line <= (loop.iter.end_lineno or line):
            found = loop, _scope(around)
    return found


def carried(loop: ast.For, scope: ast.stmt) -> list[str]:
    """Names of variables (``total``, ``self.step``) that the loop carries, and that the scope reads.

    Example:
        >>> tree = ast.parse('''
        ... for epoch in run.epochs(3):
        ...     total = 0
        ...     for x in run.batches(loader):
        ...         total += loss(x)
        ...         noted.append(x)
        ...     run.log(loss=total)
        ... ''')
        >>> carried(*loop_at(tree, line=4)), carried(*loop_at(tree, line=2))
        (['total'], [])
    """
    turn = _Code()
    turn.run(loop.body, {*_targets(loop.target)})
    read = _Code()
    read.run(scope.body if isinstance(scope, ast.FunctionDef) else [scope], set())
    return [name for name in turn.needed if name in turn.changed and _reads(read.read, name)]


def counted(loop: ast.For) -> str | None:
    """The variable with which a loop counts its own turns by ``enumerate``, if its body reads it.

    Example:
        >>> counted(ast.parse("for i, x in enumerate(run.batches(loader)): train(x, i)").body[0])
        'i'
    """
    iterated, target = loop.iter, loop.target
    is_counting = isinstance(iterated, ast.Call) and _path(iterated.func) == "enumerate"
    if not (is_counting and isinstance(target, ast.Tuple) and isinstance(target.elts[0], ast.Name)):
        return None
    turn = _Code()
    turn.run(loop.body, set())
    return target.elts[0].id if _reads(turn.read, target.elts[0].id) else None


def handed_over(scope: ast.AST) -> dict[str, set[str]]:
    """To which attributes the variables are assigned, also together with others.

    Example:
        >>> handed_over(ast.parse("run.state = {'params': params, 'rate': 0.1}"))
        {'params': {'run.state'}}
    """
    found: dict[str, set[str]] = {}
    for one in ast.walk(scope):
        if isinstance(one, ast.Assign):
            targets = {name for target in one.targets for name in _targets(target) if "." in name}
            for read in ast.walk(one.value) if targets else ():
                if isinstance(read, ast.Name):
                    found.setdefault(read.id, set()).update(targets)
    return found


@dataclass
class _Code:
    """What a piece of code does with variables, in the order in which it runs.

    Attributes:
        needed: those that it reads before it sets them.
        changed: those that it sets or changes.
        read: those that it reads for something else than to change them or to print them.
    """

    needed: dict[str, None] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)

    def run(self, code: Iterable[ast.stmt], known: set[str]) -> set[str]:
        """Go through statements; takes and returns what is set for certain."""
        for statement in code:
            known = self._statement(statement, known)
        return known

    def _statement(self, one: ast.stmt, known: set[str]) -> set[str]:
        match one:
            case ast.If(test=test, body=body, orelse=other):
                self._expression(test, known)
                return self.run(body, known) & self.run(other, known)
            case ast.For(target=target, iter=iterated, body=body, orelse=other):
                self._expression(iterated, known)
                return self.run([*body, *other], known | self._set(target, known))
            case ast.While(test=test, body=body):
                self._expression(test, known)
                self.run(body, known)
                return known
            case ast.With(items=items, body=body):
                for item in items:
                    self._expression(item.context_expr, known)
                    known = known | (self._set(item.optional_vars, known) if item.optional_vars else set())
                return self.run(body, known)
            case ast.Try(body=body, handlers=handlers, orelse=other, finalbody=last):
                after = self.run([*body, *other], known)
                for handler in handlers:
                    self.run(handler.body, known)
                return self.run(last, after)
            case ast.Match(subject=subject, cases=cases):
                self._expression(subject, known)
                for case in cases:
                    self.run(case.body, known)
                return known
            case ast.Assign(targets=targets, value=value):
                return self._assign(targets, value, known)
            case ast.AnnAssign(target=target, value=value) if value is not None:
                return self._assign([target], value, known)
            case ast.AugAssign(target=target, value=value):
                self._expression(value, known)
                self._change(target, known)
                return known
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=on, attr=method)) as call):
                for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
                    self._expression(argument, known)
                if method in _CHANGING:
                    self._change(on, known)
                else:
                    self._expression(on, known)
                return known
            case ast.Expr(value=ast.Call(func=ast.Name(id="print"))):
                return known
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                return known | {name}
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                return known | {(alias.asname or alias.name).partition(".")[0] for alias in names}
            case _:
                for child in ast.iter_child_nodes(one):
                    if isinstance(child, ast.stmt):
                        self._statement(child, known)
                    else:
                        self._expression(child, known)
                return known

    def _assign(self, targets: list[ast.expr], value: ast.expr, known: set[str]) -> set[str]:
        own = _path(targets[0]) if len(targets) == 1 else None
        if own is not None and _is_clock(value):  # to measure how long something takes
            return known | {own}
        self._expression(value, known, own)
        for target in targets:
            known = known | self._set(target, known)
        return known

    def _set(self, target: ast.AST, known: set[str]) -> set[str]:
        names = {*_targets(target)}
        self.changed |= names
        for one in _parts(target):
            if isinstance(one, ast.Subscript):
                self._expression(one.slice, known)
                self._change(one, known)
        return names

    def _change(self, target: ast.AST, known: set[str]) -> None:
        while isinstance(target, ast.Subscript):
            self._expression(target.slice, known)
            target = target.value
        name = _path(target)
        if name is None:
            self._expression(target, known)
            return
        self._need(name, known)
        self.changed.add(name)

    def _need(self, name: str, known: set[str]) -> None:
        if not any(one in known for one in _prefixes(name)):
            self.needed |= dict.fromkeys(_prefixes(name))

    def _expression(self, one: ast.AST, known: set[str], own: str | None = None) -> None:
        """Read what is in it; that the variable ``own``, which is set to it, is in it does not count."""
        match one:
            case ast.Lambda():
                return
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                inner = {name for made in one.generators for name in _targets(made.target)}
                for child in ast.iter_child_nodes(one):
                    self._expression(child, known | inner, own)
                self.read -= inner - known
                return
            case ast.Call(func=ast.Name(id="next"), args=[ast.Name(id=name), *_]):
                self._change(one.args[0], known)
                self.read.add(name)
        path = _path(one)
        if path is None:
            for child in ast.iter_child_nodes(one):
                self._expression(child, known, own)
        elif isinstance(getattr(one, "ctx", None), ast.Load):
            self._need(path, known)
            if path != own:
                self.read.add(path)


def _reads(read: set[str], name: str) -> bool:
    return any(name in _prefixes(one) for one in read)


def _prefixes(name: str) -> list[str]:
    """``["a", "a.b"]`` of ``"a.b"``."""
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _path(one: ast.AST) -> str | None:
    """The name of a variable or of an attribute of one."""
    if isinstance(one, ast.Name):
        return one.id
    if isinstance(one, ast.Attribute):
        before = _path(one.value)
        return None if before is None else f"{before}.{one.attr}"
    return None


def _parts(target: ast.AST) -> Iterator[ast.AST]:
    """The single targets of one that may be a tuple."""
    if isinstance(target, ast.Tuple | ast.List):
        for one in target.elts:
            yield from _parts(one)
    else:
        yield target.value if isinstance(target, ast.Starred) else target


def _targets(target: ast.AST) -> list[str]:
    return [name for one in _parts(target) if (name := _path(one)) is not None]


def _is_clock(value: ast.expr) -> bool:
    if not isinstance(value, ast.Call):
        return False
    return (_path(value.func) or "").rpartition(".")[2] in _CLOCKS


def _paths(tree: ast.AST, around: tuple[ast.AST, ...] = ()) -> Iterator[tuple[ast.AST, ...]]:
    """Each node, with those around it before it."""
    around = (*around, tree)
    yield around
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _paths(child, around)


def _scope(around: tuple[ast.AST, ...]) -> ast.stmt:
    """The last function around a loop, or what is in it from the outermost loop on."""
    functions = [index for index, one in enumerate(around) if isinstance(one, ast.FunctionDef)]
    inner = [one for one in around[functions[-1] if functions else 0 :] if isinstance(one, ast.stmt)]
    loops = [one for one in inner if isinstance(one, ast.For | ast.While)]
    return inner[0] if functions and len(loops) == 1 else loops[0]
