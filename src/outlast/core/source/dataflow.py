"""Dataflow: what a piece of code does with variables, in the order in which it runs.

A value matters only if it comes to something: a call, a value that is returned, an end of the loop. A sum
from which a mean is made that is printed comes to nothing. So each variable that is read is noted with what
it flows into, and ``ACT`` is where it comes to something.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from outlast.core.source import calls
from outlast.core.source.names import is_timed, path, prefixes, root, single, targets, walrus
from outlast.core.source.shapes import adds_one, adds_one_to, after_either, base, captured, is_all, takes_all

ACT = ""
BINDING = frozenset(("=", "+=", "+1", "begun"))  # the ways in which a name gets a value
_NOTHING: frozenset[str] = frozenset()

Flows = Mapping[str, Iterable[str]]


@dataclass
class Code:
    """What code does with variables.

    Args:
        timed: variables that hold times.
        begins: the code runs after what is looked at. A variable that it sets is then another one, and has
            ``=`` before its name.

    Attributes:
        needed: those that it reads or changes before it sets them.
        drawn: those that it needs for more than to hand them to an object that it makes.
        changed: those that it sets or changes, and in which ways: ``=``, ``begun`` with a constant, ``+=``,
            ``+1``, ``reset``, the name of a method; with ``[]`` before it for an item.
        inside: those whose value it changes, so that everybody who has it sees that.
        called: those that it calls.
        flows: for those that it reads, what they flow into.
    """

    timed: frozenset[str] = _NOTHING
    begins: bool = False
    needed: dict[str, None] = field(default_factory=dict)
    drawn: set[str] = field(default_factory=set)
    changed: dict[str, set[str]] = field(default_factory=dict)
    inside: set[str] = field(default_factory=set)
    called: dict[str, None] = field(default_factory=dict)
    flows: dict[str, set[str]] = field(default_factory=dict)
    _effects: set[str] = field(default_factory=set)
    _own: set[str | None] = field(default_factory=set)  # what the assignment at hand changes a part of

    def run(self, code: Iterable[ast.stmt], known: frozenset[str]) -> frozenset[str]:
        """Go through statements; takes and returns what is set for certain."""
        for statement in code:
            known = self._statement(statement, known)
        return known

    def _under(
        self, code: Iterable[ast.stmt], known: frozenset[str]
    ) -> tuple[frozenset[str], frozenset[str]]:
        """Go through what depends on a condition; returns what is set then, and all that it does."""
        before, self._effects = self._effects, set()
        known = self.run(code, known)
        effects = frozenset(self._effects)
        self._effects |= before
        return known, effects

    def _statement(self, one: ast.stmt, known: frozenset[str]) -> frozenset[str]:
        match one:
            case ast.If(test=test, body=body, orelse=other):
                inner = known | walrus(test)
                (yes, first), (no, second) = self._under(body, inner), self._under(other, inner)
                self._read(test, known, first | second)
                return after_either((body, yes), (other, no))
            case ast.For() | ast.AsyncFor():
                inner, effects = self._under([*one.body, *one.orelse], known | self._set(one.target, known))
                self._read(one.iter, known, effects | self._goals(*targets(one.target)))
                return inner
            case ast.While(test=test, body=body):
                known = self._read(test, known, _NOTHING)
                inner, effects = self._under(body, known)
                self._read(test, known, effects)
                return inner if isinstance(test, ast.Constant) and test.value else known
            case ast.With() | ast.AsyncWith():
                for item in one.items:
                    names = targets(item.optional_vars) if item.optional_vars else []
                    known = self._read(item.context_expr, known, self._goals(*names))
                    known |= self._set(item.optional_vars, known) if item.optional_vars else _NOTHING
                return self.run(one.body, known)
            case ast.Try() | ast.TryStar():
                ends = [([*one.body, *one.orelse], self.run([*one.body, *one.orelse], known))]
                ends += [(handler.body, self.run(handler.body, known)) for handler in one.handlers]
                return self.run(one.finalbody, after_either(*ends))
            case ast.Match(subject=subject, cases=cases):
                taken = [self._under(case.body, known | captured(case.pattern)) for case in cases]
                self._read(subject, known, _NOTHING.union(*(effects for _, effects in taken)))
                ends = [(case.body, inner) for case, (inner, _) in zip(cases, taken, strict=True)]
                return after_either(*ends) if takes_all(cases[-1]) else known
            case ast.Assign(targets=all_targets, value=value):
                return self._assign(all_targets, value, known)
            case ast.AnnAssign(target=target, value=value) if value is not None:
                return self._assign([target], value, known)
            case ast.AugAssign(target=target, value=value):
                if not is_timed(value, self.timed):
                    known = self._read(value, known, self._goals_of(target))
                    self._change(target, known, "+1" if adds_one_to(one) else "+=")
                return known
            case ast.Expr(value=ast.Call() as call):
                return self._effect(call, known)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self._flow_all(free(one), known)
                return known | {one.name}
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                return known | {root(alias.asname or alias.name) for alias in names}
            case ast.Delete():
                for gone in one.targets:
                    if isinstance(gone, ast.Subscript):
                        self._change(gone, known, "del")
                return known
            case ast.Expr() | ast.Return() | ast.Raise() | ast.Assert() | ast.Break() | ast.Continue():
                self._act()
        for child in ast.iter_child_nodes(one):
            known = self._read(child, known, frozenset((ACT,)))
        return known

    def _assign(self, all_targets: list[ast.expr], value: ast.expr, known: frozenset[str]) -> frozenset[str]:
        if is_timed(value, self.timed):
            return known | {name for target in all_targets for name in targets(target)}
        goals = frozenset[str]().union(*map(self._goals_of, all_targets))
        parts = [one for target in all_targets for one in single(target) if not isinstance(one, ast.Name)]
        if parts:  # others may have the object
            self._own = {base(one) for one in parts}
            goals |= {ACT}
            self._act()
        known = self._read(value, known, goals)
        self._own = set()
        own = path(all_targets[0]) if len(all_targets) == 1 else None
        way = "+1" if own is not None and adds_one(value, own) else "="
        if own is not None and isinstance(value, ast.Constant):
            way = "begun"
        for target in all_targets:
            known |= self._set(target, known, way)
        return known

    def _effect(self, call: ast.Call, known: frozenset[str]) -> frozenset[str]:
        """A call whose value nobody takes."""
        on = call.func.value if isinstance(call.func, ast.Attribute) else None
        given = [*calls.arguments(call)]
        if calls.shows(call) or (on is not None and calls.is_quiet(call)):
            return self._read_all(given, known, _NOTHING)
        if on is not None and calls.resets(call):
            goals = frozenset((ACT,)) if calls.seeds(call) else self._goals_of(on)
            known = self._read_all(given, known, goals)
            name = path(on)
            return known if name is None else known | self._reset(name)
        if on is not None and calls.changes(call, is_statement=True):
            if not any(is_timed(one, self.timed) for one in given):
                known = self._read_all(given, known, self._goals_of(on))
                self._change(on, known, call.func.attr if isinstance(call.func, ast.Attribute) else "()")
            return known
        if calls.changes_first(call):
            known = self._read_all(given[1:], known, self._goals_of(given[0]))
            self._change(given[0], known, "first")
            return known
        self._act()
        self._call(call.func, known)
        known = known if on is None else self._read(on, known, frozenset((ACT,)))
        return self._read_all(given, known, frozenset((ACT,)), held=calls.makes(call))

    # Setting.

    def _set(self, target: ast.AST, known: frozenset[str], way: str = "=") -> frozenset[str]:
        names = frozenset(targets(target))
        for name in names:
            self._note(name, way)
        for one in single(target):
            if not isinstance(one, ast.Subscript):
                continue
            if is_all(one.slice) and (whole := path(one.value)) is not None:
                names |= self._reset(whole)
            else:
                self._change(one, known, "=")
        return names

    def _reset(self, name: str) -> frozenset[str]:
        """All of an object's content is set."""
        self._note(name, "reset")
        self.inside.add(name)
        return frozenset((name,))

    def _change(self, changed: ast.AST, known: frozenset[str], way: str) -> None:
        target = changed
        if isinstance(target, ast.Subscript):
            way = f"[]{way}"
        is_inside = way not in BINDING
        while True:
            if isinstance(target, ast.Subscript):
                self._read(target.slice, known, self._goals_of(target))
                target = target.value
            elif isinstance(target, ast.Call) and isinstance(target.func, ast.Attribute):
                self._read_all(calls.arguments(target), known, self._goals_of(target))
                target, is_inside = target.func.value, True
            else:
                break
        name = path(target)
        if name is None:
            self._read(target, known, frozenset((ACT,)))
            return
        self._need(name, known)
        self._note(name, way)
        if is_inside:
            self.inside.add(name)

    def _note(self, name: str, way: str) -> None:
        self.changed.setdefault(name, set()).add(way)
        self._effects |= self._goals(name)

    def _act(self) -> None:
        self._effects.add(ACT)

    def _goals(self, *names: str) -> frozenset[str]:
        return frozenset((*names, *(f"={name}" for name in names if self.begins)))

    def _goals_of(self, target: ast.AST) -> frozenset[str]:
        return self._goals(*(name for one in single(target) if (name := base(one)) is not None))

    # Reading.

    def _need(self, name: str, known: frozenset[str], *, held: bool = False) -> None:
        if not any(one in known for one in prefixes(name)):
            self.needed |= dict.fromkeys(prefixes(name))
            if not held:
                self.drawn |= {*prefixes(name)}

    def _call(self, function: ast.AST, known: frozenset[str]) -> None:
        name = path(function)
        if name is not None and not any(one in known for one in prefixes(name)):
            self.needed |= dict.fromkeys(prefixes(name))
            self.drawn |= {*prefixes(name)}
            self.called[name] = None

    def _flow_all(self, names: Iterable[str], known: frozenset[str]) -> None:
        for name in names:
            self._flow(name, known, {ACT})

    def _flow(self, name: str, known: frozenset[str], goals: Iterable[str]) -> None:
        goals = {*goals} - ({ACT} if name in self._own else set())
        is_other = self.begins and any(one in known for one in prefixes(name))
        self.flows.setdefault(f"={name}" if is_other else name, set()).update(goals)

    def _read_all(
        self, all_: Iterable[ast.AST], known: frozenset[str], goals: frozenset[str], *, held: bool = False
    ) -> frozenset[str]:
        for one in all_:
            known = self._read(one, known, goals, held=held)
        return known

    def _read(
        self, one: ast.AST, known: frozenset[str], goals: frozenset[str], *, held: bool = False
    ) -> frozenset[str]:
        """Read what is in an expression, for these goals; takes and returns what is set for certain."""
        if path(one) is None and is_timed(one, self.timed):
            goals = _NOTHING
        match one:
            case ast.Lambda():
                for name in free(one):
                    self._flow(name, known, goals)
                return known
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                inner = {name for made in one.generators for name in targets(made.target)}
                hidden = {name: self.flows.pop(name) for name in inner - known if name in self.flows}
                self._read_all(ast.iter_child_nodes(one), known | inner, goals)
                for name in inner - known:
                    self.flows.pop(name, None)
                self.flows |= hidden
                return known | walrus(one)
            case ast.NamedExpr(target=target, value=value):
                known = self._read(value, known, goals | self._goals(target.id))
                return known | self._set(target, known, "+1" if adds_one(value, target.id) else "=")
            case ast.Call():
                return self._value(one, known, goals)
            case ast.Yield() | ast.YieldFrom() | ast.Await():
                self._act()
                goals |= {ACT}
        own = path(one)
        if own is None:
            return self._read_all(ast.iter_child_nodes(one), known, goals)
        if isinstance(getattr(one, "ctx", None), ast.Load):
            self._need(own, known, held=held)
            self._flow(own, known, goals)
        return known

    def _value(self, call: ast.Call, known: frozenset[str], goals: frozenset[str]) -> frozenset[str]:
        """A call whose value goes somewhere."""
        on = call.func.value if isinstance(call.func, ast.Attribute) else None
        is_next = isinstance(call.func, ast.Name) and call.func.id == "next" and call.args
        if is_next:
            self._change(call.args[0], known, "next")
        elif on is not None and calls.changes(call, is_statement=False):
            self._change(on, known, "taken")
        elif calls.changes_first(call):
            self._change(call.args[0], known, "first")
        if not (is_next or calls.computes(call)):
            self._act()
            self._call(call.func, known)
        known = self._read(call.func, known, goals)
        inner = goals if is_next or calls.computes(call) else goals | {ACT}
        return self._read_all(calls.arguments(call), known, inner, held=calls.makes(call))


def free(one: ast.AST) -> list[str]:
    """The variables of the code around it that a function or a class reads.

    Example:
        >>> free(ast.parse("def rate(n): k = n; return start / (k + step.count)").body[0])
        ['start', 'step.count']
    """
    code = Code(begins=True)
    known = frozenset(parameters(one))
    if isinstance(one, ast.Lambda):
        code._read(one.body, known, frozenset((ACT,)))
    elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        outer = declared_outside(one)
        code.run(one.body, known)
        known |= {name for name, ways in code.changed.items() if ways & BINDING} - outer
    return [
        name
        for name in code.flows
        if not name.startswith("=") and root(name) not in known and comes_to_something(code.flows, name)
    ]


def declared_outside(one: ast.AST) -> set[str]:
    """What the code declares as ``global`` or ``nonlocal``."""
    declared = (inner for inner in ast.walk(one) if isinstance(inner, ast.Global | ast.Nonlocal))
    return {name for inner in declared for name in inner.names}


def parameters(one: ast.AST) -> list[str]:
    """The names of what a function takes."""
    if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return []
    given = one.args
    others = [extra for extra in (given.vararg, given.kwarg) if extra is not None]
    return [arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs, *others)]


def comes_to_something(flows: Flows, name: str) -> bool:
    """Whether a variable, or a part of it, flows into something that the code does.

    Example:
        >>> flows = {"total": {"mean"}, "mean": {ACT}, "count": {"shown"}}
        >>> comes_to_something(flows, "total"), comes_to_something(flows, "count")
        (True, False)
    """
    seen, left = {name}, [name]
    while left:
        one = left.pop()
        for read, goals in flows.items():
            if one in prefixes(read) or read in prefixes(one):
                if ACT in goals:
                    return True
                left += [goal for goal in goals if goal not in seen]
                seen |= {*goals}
    return False
