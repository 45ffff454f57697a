"""Dataflow: what a piece of code does with variables, in the order in which it runs.

A value matters only if it comes to something: a call, a value that is returned, an end of the loop. A sum
from which a mean is made that is printed comes to nothing. So each variable that is read is noted with what
it flows into, and ``ACT`` is where it comes to something.

A name may have several values, one after the other: a loop that prints a list may call each item what the
loop before called its loss. In code without branches it is plain which of them is read. So each that is set
there has a name of its own, such as ``loss#2``, and whoever may read any of them reads ``loss``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from outlast.core.source import calls
from outlast.core.source.flows import ACT, Ends
from outlast.core.source.names import is_timed, last, path, prefixes, root, single, targets, walrus
from outlast.core.source.pieces import PIECE, Piece, piece_of, pieces_of
from outlast.core.source.shapes import (
    adds_one,
    after_either,
    attribute_set,
    base,
    captured,
    constant,
    is_all,
    takes_all,
    way_of,
)

BINDING = frozenset(("=", "+=", "*=", "+1", "begun"))  # the ways in which a name gets a value
_NOTHING: frozenset[str] = frozenset()
_ACTS = frozenset((ACT,))


@dataclass(frozen=True)
class Inner:
    """What a function or a class inside some code has to do with the variables around it.

    Args:
        free: those of the code around it that it reads.
        declared: those that it, or a function in it, declares as ``global`` or ``nonlocal``.
    """

    free: tuple[str, ...]
    declared: frozenset[str]


Inners = dict[ast.AST, Inner]
Index = int | str


@dataclass
class Code:
    """What code does with variables.

    Args:
        timed: variables that hold times.
        begins: the code runs after what is looked at. A variable that it sets is then another one, and has
            ``=`` before its name.
        inners: the functions and classes that were read already, each once: they may lie in one another.

    Attributes:
        needed: those that it reads or changes before it sets them.
        drawn: those that it needs for more than to hand them to an object that it makes.
        changed: those that it sets or changes, and in which ways: ``=``, ``begun`` with a constant, ``+=``,
            ``*=`` by a factor or a step, ``+1``,
            ``reset``, ``out``, the name of a method; with ``[]`` before it for an item, with
            ``PIECE`` or ``ITEM`` before it where another variable stands for a piece.
        inside: those whose value it changes, so that everybody who has it sees that.
        called: those that it calls.
        flows: for those that it reads, what they flow into.
        declared: those that it declares as ``global`` or ``nonlocal``, also in functions in it.
        items: for those of which it sets items with constant indices, these, each with its name in ``known``.
        anew: those of the items that it sets before each other use.
        given: for each loop, what the variables that it sets in each turn are called in ``flows``.
    """

    timed: frozenset[str] = _NOTHING
    begins: bool = False
    inners: Inners = field(default_factory=dict)
    needed: dict[str, None] = field(default_factory=dict)
    drawn: set[str] = field(default_factory=set)
    changed: dict[str, set[str]] = field(default_factory=dict)
    inside: set[str] = field(default_factory=set)
    called: dict[str, None] = field(default_factory=dict)
    flows: dict[str, set[str]] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    items: dict[str, dict[str, Index]] = field(default_factory=dict)
    anew: dict[str, set[str]] = field(default_factory=dict)
    given: dict[ast.AST, dict[str, str]] = field(default_factory=dict)
    _effects: set[str] = field(default_factory=set)
    _own: set[str | None] = field(default_factory=set)  # what the assignment at hand changes a part of
    _values: dict[str, str] = field(default_factory=dict)  # which value each name has for certain
    _made: dict[str, int] = field(default_factory=dict)  # how many values each name had
    _touched: list[str] = field(default_factory=list)  # what was changed or called, in this order
    _pieces: dict[str, list[Piece]] = field(default_factory=dict)  # what each stands for

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
        with self._perhaps():
            known = self.run(code, known)
        effects = frozenset(self._effects)
        before |= effects
        self._effects = before
        return known, effects

    @contextmanager
    def _perhaps(self, *, is_repeated: bool = False) -> Iterator[None]:
        """Code that may not run, or that runs again: what it touches has no certain value after it.

        Args:
            is_repeated: nothing has one when it begins either, for a turn before may have set it.
        """
        outer, first = self._values, len(self._touched)
        if is_repeated:
            self._values = {}
        yield
        self._values = outer
        for name in self._touched[first:]:
            self._values.pop(name, None)

    def _statement(self, one: ast.stmt, known: frozenset[str]) -> frozenset[str]:
        match one:
            case ast.If(test=test, body=body, orelse=other):
                inner = known | walrus(test)
                self._unsettle(walrus(test))
                (yes, first), (no, second) = self._under(body, inner), self._under(other, inner)
                self._read(test, known, first | second)
                return after_either((body, yes), (other, no))
            case ast.For() | ast.AsyncFor():
                with self._perhaps(is_repeated=True):
                    inner = known | self._set(one.target, known)
                    self._stand_for_each(one.target, one.iter)
                    goals = self._goals(*targets(one.target))
                    self.given[one] = {**self._values}
                    inner, effects = self._under(one.body, inner)
                    anew = self._set_through(one.target, inner)
                    inner, at_the_end = self._under(one.orelse, inner)
                self._read(one.iter, known | anew, effects | at_the_end | goals)
                return inner
            case ast.While(test=test, body=body, orelse=other):
                with self._perhaps(is_repeated=True):
                    known = self._read(test, known, _NOTHING)
                    inner, effects = self._under(body, known)
                    if isinstance(test, ast.Constant) and test.value:
                        known = inner
                    known, at_the_end = self._under(other, known)
                    self._read(test, known, effects | at_the_end)
                return known
            case ast.With() | ast.AsyncWith():
                for item in one.items:
                    names = targets(item.optional_vars) if item.optional_vars else []
                    known = self._read(item.context_expr, known, self._goals(*names))
                    known |= self._set(item.optional_vars, known) if item.optional_vars else _NOTHING
                return self.run(one.body, known)
            case ast.Try() | ast.TryStar():
                parts = [[*one.body, *one.orelse], *(handler.body for handler in one.handlers)]
                ends = []
                self._unsettle({handler.name for handler in one.handlers if handler.name})
                for part in parts:
                    with self._perhaps():
                        ends.append((part, self.run(part, known)))
                return self.run(one.finalbody, after_either(*ends))
            case ast.Match(subject=subject, cases=cases):
                for case in cases:
                    self._unsettle(captured(case.pattern))
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
                    is_tensor = isinstance(target, ast.Attribute) and target.attr in ("data", "grad")
                    goals = self._goals_of(target) | (_ACTS if is_tensor else _NOTHING)
                    known = self._read(value, known, goals)
                    self._change(target, known, way_of(one))
                return known
            case ast.Expr(value=ast.Call() as call):
                named = attribute_set(call)
                return self._assign([named], call.args[2], known) if named else self._effect(call, known)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                function = self._inner(one)
                self.declared |= function.declared
                self._flow_all(function.free, known)
                self._unsettle({one.name})
                return known | {one.name}
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                imported = {root(alias.asname or alias.name) for alias in names}
                self._unsettle(imported)
                return known | imported
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                self.declared |= {*names}
            case ast.Delete():
                for gone in one.targets:
                    if isinstance(gone, ast.Subscript):
                        self._change(gone, known, "del")
                return known
            case ast.Expr() | ast.Return() | ast.Raise() | ast.Assert() | ast.Break() | ast.Continue():
                self._act()
        for child in ast.iter_child_nodes(one):
            known = self._read(child, known, _ACTS)
        return known

    def _assign(self, all_targets: list[ast.expr], value: ast.expr, known: frozenset[str]) -> frozenset[str]:
        if is_timed(value, self.timed):
            return known | {name for target in all_targets for name in targets(target)}
        goals = frozenset[str]().union(*map(self._goals_to_be, all_targets))
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
        if len(all_targets) == 1 and isinstance(all_targets[0], ast.Name):
            self._stand_for(all_targets[0].id, piece_of(value))
        return known

    def _effect(self, call: ast.Call, known: frozenset[str]) -> frozenset[str]:
        """A call whose value nobody takes."""
        on = call.func.value if isinstance(call.func, ast.Attribute) else None
        given = [*calls.arguments(call)]
        if calls.shows(call) or (on is not None and calls.is_quiet(call)):
            return self._read_all(given, known, _NOTHING)
        if calls.written(call) is not None:
            return self._write(call, known, _NOTHING)
        if on is not None and calls.resets(call):
            is_held = calls.is_in_place(call) or calls.loads(call)  # by others, as the weight of a model is
            goals = _ACTS if calls.seeds(call) or is_held else self._goals_of(on)
            known = self._read_all(given, known, goals)
            name = path(on)
            return known if name is None else known | self._reset(name, known, _way_of_reset(call))
        if (way := calls.changes_first(call)) is not None:
            is_tensor = calls.is_in_place(call)
            goals = self._goals_of(given[0]) | (_ACTS if is_tensor else _NOTHING)
            known = self._read_all(given[1:], known, goals)
            self._change(given[0], known, f"{PIECE}{way}" if is_tensor else way)
            return known
        if on is not None and calls.changes(call, is_statement=True):
            if not any(is_timed(one, self.timed) for one in given):
                goals = self._goals_of(on) | (_ACTS if calls.is_in_place(call) else _NOTHING)
                known = self._read_all(given, known, goals)
                self._change(on, known, call.func.attr if isinstance(call.func, ast.Attribute) else "()")
            return known
        self._act()
        self._call(call.func, known)
        known = known if on is None else self._read(on, known, _ACTS)
        return self._read_all(given, known, _ACTS, held=calls.makes(call))

    # Setting.

    def _set(self, target: ast.AST, known: frozenset[str], way: str = "=") -> frozenset[str]:
        names = frozenset(targets(target))
        for name in names:
            self._begin_value(name)
            self._note(name, way)
            if "." in name:
                self._note_whole(name, known, way)
        for one in single(target):
            if not isinstance(one, ast.Subscript | ast.Attribute) or path(one) is not None:
                continue
            whole = path(one.value) if isinstance(one, ast.Subscript) else None
            index = constant(one.slice) if isinstance(one, ast.Subscript) else None
            if whole is not None and isinstance(one, ast.Subscript) and is_all(one.slice):
                names |= self._reset(whole, known)
            elif whole is not None and index is not None:
                names |= {self._set_item(whole, index, known, way)}
            else:
                self._change(one, known, "=")
        return names

    def _reset(self, name: str, known: frozenset[str], way: str = "reset") -> frozenset[str]:
        """All of an object's content is set."""
        self._note(name, way)
        self.inside.add(name)
        return self._note_whole(name, known, "reset") | {name}

    def _write(self, call: ast.Call, known: frozenset[str], goals: frozenset[str]) -> frozenset[str]:
        """A function writes its result into something that it is given."""
        into = calls.written(call)
        assert into is not None
        self._own = {base(one) for one in single(into)}
        self._act()
        given = [one for one in calls.arguments(call) if one is not into]
        known = self._read_all([call.func, *given], known, self._goals_of(into) | goals | _ACTS)
        self._own = set()
        for one in single(into):
            name = path(one)
            if name is not None:
                known |= self._reset(name, known, "out")
            else:
                self._change(one, known, "out")
        return known

    def _stand_for_each(self, target: ast.AST, iterated: ast.AST) -> None:
        """The targets of a loop stand for pieces of what it goes through."""
        found = [(name, [*map(self._pieces_of, of)]) for name, of in pieces_of(target, iterated)]
        for name in targets(target):
            self._pieces.pop(name, None)
        for name, pieces in found:
            self._pieces[name] = [piece for some in pieces for piece in some]

    def _set_through(self, target: ast.AST, known: frozenset[str]) -> frozenset[str]:
        """What a loop sets anew by way of its targets: to go through it is not to read it."""
        return frozenset(
            piece.whole
            for name in targets(target)
            for piece in self._pieces.get(name, ())
            if piece.whole in known
        )

    def _stand_for(self, name: str, piece: Piece | None) -> None:
        """A variable that is set stands for a piece of another one, or for none."""
        pieces = [] if piece is None else self._pieces_of(piece)
        self._pieces.pop(name, None)
        if pieces:
            self._pieces[name] = pieces

    def _pieces_of(self, piece: Piece) -> list[Piece]:
        """What a piece of what is itself one is a piece of."""
        of = self._pieces.get(root(piece.whole))
        return [piece] if of is None else of

    def _note_whole(self, name: str, known: frozenset[str], way: str) -> frozenset[str]:
        """A piece changes, and what it is a piece of with it; returns what is set anew so."""
        anew: set[str] = set()
        for piece in self._pieces.get(root(name), ()):
            changed = piece.way(name, way)
            if changed is None:
                continue
            if way == "reset":
                anew.add(piece.whole)
            else:
                self._need(piece.whole, known)
            self._note(piece.whole, changed)
            self.inside.add(piece.whole)
        return frozenset(anew)

    def _set_item(self, name: str, index: Index, known: frozenset[str], way: str) -> str:
        item = f"{name}[{index!r}]"
        if item not in self.items.setdefault(name, {}):
            self.items[name][item] = index
        self.needed |= dict.fromkeys(prefixes(name)) if not self._is_known(name, known) else {}
        self._note(name, f"[]{'=' if way == 'begun' else way}")
        self.inside.add(name)
        return item

    def indices_anew(self, name: str, ended: frozenset[str]) -> frozenset[Index]:
        """The items of a variable that it sets whenever it runs, before any other use of the variable."""
        items, used = self.items.get(name, {}), self.anew.get(name)
        return frozenset(
            index for item, index in items.items() if item in ended and (used is None or item in used)
        )

    def _is_known(self, name: str, known: frozenset[str]) -> bool:
        return any(one in known for one in prefixes(name))

    def _change(self, changed: ast.AST, known: frozenset[str], way: str) -> None:
        target = changed
        if isinstance(target, ast.Subscript | ast.Attribute) and path(target) is None:
            way = f"[]{way}"
        is_inside = way not in BINDING
        while True:
            if isinstance(target, ast.Subscript):
                self._read(target.slice, known, self._goals_of(target))
                target = target.value
            elif isinstance(target, ast.Attribute) and path(target) is None:
                target = target.value  # such as stats[0].total
            elif isinstance(target, ast.Call) and isinstance(target.func, ast.Attribute):
                self._read_all(calls.arguments(target), known, self._goals_of(target))
                target, is_inside = target.func.value, True
            else:
                break
        name = path(target)
        if name is None:
            self._read(target, known, _ACTS)
            return
        self._need(name, known)
        self._note(name, way)
        self._note_whole(name, known, way)
        if is_inside:
            self.inside.add(name)

    def _note(self, name: str, way: str) -> None:
        self.changed.setdefault(name, set()).add(way)
        self._touched.append(root(name))
        self._effects |= self._goals(name)

    def _act(self) -> None:
        self._effects.add(ACT)

    def _goals(self, *names: str) -> frozenset[str]:
        """Where a value goes that these names have now, or a part of them."""
        return frozenset(goal for name in names for goal in self._goals_now(name))

    def _goals_now(self, name: str) -> tuple[str, ...]:
        value = self._value_of(name)
        if value is not None:
            return (value,)
        return (name, f"={name}") if self.begins else (name,)

    def _goals_of(self, target: ast.AST) -> frozenset[str]:
        return self._goals(*(name for one in single(target) if (name := base(one)) is not None))

    def _goals_to_be(self, target: ast.AST) -> frozenset[str]:
        """Where a value goes that a target will have: a variable gets a new one."""
        names = {one.id for one in single(target) if isinstance(one, ast.Name)}
        others = {name for one in single(target) if (name := base(one)) is not None and name not in names}
        return self._goals(*others) | {self._next_value(name) for name in names}

    # Values.

    def _next_value(self, name: str) -> str:
        return f"{'=' if self.begins else ''}{name}#{self._made.get(name, 0) + 1}"

    def _begin_value(self, name: str) -> None:
        """A variable is set; whoever reads it where its value is not certain may read this one."""
        if "." in name:
            return
        value = self._next_value(name)
        self._made[name] = self._made.get(name, 0) + 1
        self._values[name] = value
        self.flows.setdefault(value, set()).update((name, f"={name}") if self.begins else (name,))

    def _value_of(self, name: str) -> str | None:
        """What a name, or an attribute, is called whose value is certain."""
        first, dot, others = name.partition(".")
        value = self._values.get(first)
        return None if value is None else f"{value}{dot}{others}"

    def _unsettle(self, names: Iterable[str]) -> None:
        """These names are set by what has no value of its own here."""
        for name in names:
            self._touched.append(name)
            self._values.pop(name, None)

    # Reading.

    def _need(self, name: str, known: frozenset[str], *, held: bool = False) -> None:
        if not self._is_known(name, known):
            for whole in prefixes(name):
                here = {item for item in self.items.get(whole, ()) if item in known}
                self.anew[whole] = self.anew.get(whole, here) & here
            self.needed |= dict.fromkeys(prefixes(name))
            if not held:
                self.drawn |= {*prefixes(name)}

    def _call(self, function: ast.AST, known: frozenset[str]) -> None:
        name = path(function)
        if name is None:
            return
        self._touched.append(root(name))
        if not self._is_known(name, known):
            self.needed |= dict.fromkeys(prefixes(name))
            self.drawn |= {*prefixes(name)}
            self.called[name] = None

    def _flow_all(self, names: Iterable[str], known: frozenset[str], goals: frozenset[str] = _ACTS) -> None:
        """What a function reads, whenever it is called: any of the values."""
        for name in names:
            self._flow(self._unsettled(name, known), name, goals)

    def _flow(self, read: str, name: str, goals: frozenset[str]) -> None:
        self.flows.setdefault(read, set()).update(goals - _ACTS if name in self._own else goals)

    def _unsettled(self, name: str, known: frozenset[str]) -> str:
        is_other = self.begins and self._is_known(name, known)
        return f"={name}" if is_other else name

    def _inner(self, one: ast.AST) -> Inner:
        if one not in self.inners:
            self.inners[one] = inside(one, self.inners)
        return self.inners[one]

    def _read_all(
        self, all_: Iterable[ast.AST], known: frozenset[str], goals: frozenset[str], *, held: bool = False
    ) -> frozenset[str]:
        for one in all_:
            known = self._read(one, known, goals, held=held)
        return known

    def _read(
        self,
        one: ast.AST,
        known: frozenset[str],
        goals: frozenset[str],
        *,
        held: bool = False,
        is_term: bool = False,
    ) -> frozenset[str]:
        """Read what is in an expression, for these goals; takes and returns what is set for certain.

        Args:
            one: the expression.
            known: what is set for certain.
            goals: what it flows into.
            held: it is handed to an object that is made.
            is_term: it is one of a sum or a comparison that is no time, as was asked.
        """
        own = path(one)
        if own is None and goals and not is_term and is_timed(one, self.timed):
            goals = _NOTHING
        match one:
            case ast.Lambda():
                self._flow_all(self._inner(one).free, known, goals)
                return known
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                inner = {name for made in one.generators for name in targets(made.target)}
                outer, pieces = self._values, {**self._pieces}
                self._values = outer | {name: f"{name}#" for name in inner}  # nothing flows into these
                for made in one.generators:
                    self._stand_for_each(made.target, made.iter)
                self._read_all(ast.iter_child_nodes(one), known | inner, goals)
                self._values, self._pieces = outer, pieces
                return known | walrus(one)
            case ast.NamedExpr(target=target, value=value):
                known = self._read(value, known, goals | self._goals_to_be(target))
                return known | self._set(target, known, "+1" if adds_one(value, target.id) else "=")
            case ast.Call():
                return self._value(one, known, goals)
            case ast.Yield() | ast.YieldFrom() | ast.Await():
                self._act()
                goals |= {ACT}
        if isinstance(one, ast.Subscript) and isinstance(one.ctx, ast.Load):
            whole, index = path(one.value), constant(one.slice)
            if whole is not None and f"{whole}[{index!r}]" in known:  # as it was set in this turn
                self._flow(self._value_of(whole) or self._unsettled(whole, known), whole, goals)
                return known
        if own is None:
            has_terms = isinstance(one, ast.BinOp | ast.UnaryOp | ast.Compare)
            for child in ast.iter_child_nodes(one):
                known = self._read(child, known, goals, is_term=has_terms)
        elif isinstance(getattr(one, "ctx", None), ast.Load):
            self._need(own, known, held=held)
            self._flow(self._value_of(own) or self._unsettled(own, known), own, goals)
        return known

    def _value(self, call: ast.Call, known: frozenset[str], goals: frozenset[str]) -> frozenset[str]:
        """A call whose value goes somewhere."""
        on = call.func.value if isinstance(call.func, ast.Attribute) else None
        is_next = isinstance(call.func, ast.Name) and call.func.id == "next" and call.args
        if calls.written(call) is not None:
            return self._write(call, known, goals)
        if is_next:
            self._change(call.args[0], known, "next")
        elif on is not None and calls.loads(call):
            known = self._read_all(calls.arguments(call), known, goals | _ACTS)
            return known if (name := path(on)) is None else known | self._reset(name, known, last(call.func))
        elif (way := calls.changes_first(call)) is not None:
            self._change(call.args[0], known, f"{PIECE}{way}" if calls.is_in_place(call) else way)
        elif on is not None and calls.changes(call, is_statement=False):
            self._change(on, known, last(call.func) if calls.is_in_place(call) else "taken")
        if not (is_next or calls.computes(call)):
            self._act()
            self._call(call.func, known)
        known = self._read(call.func, known, goals)
        inner = goals if is_next or calls.computes(call) else goals | {ACT}
        return self._read_all(calls.arguments(call), known, inner, held=calls.makes(call))


def _way_of_reset(call: ast.Call) -> str:
    return last(call.func) if calls.loads(call) else "reset"


def inside(one: ast.AST, inners: Inners | None = None) -> Inner:
    """What a function or a class has to do with the variables of the code around it.

    Example:
        >>> inside(ast.parse("def rate(n): k = n; return start / (k + step.count)").body[0]).free
        ('start', 'step.count')
    """
    code = Code(begins=True, inners={} if inners is None else inners)
    known = frozenset(parameters(one))
    if isinstance(one, ast.Lambda):
        code._read(one.body, known, _ACTS)
    elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        code.run(one.body, known)
        known |= {name for name, ways in code.changed.items() if ways & BINDING} - code.declared
    ends = Ends(code.flows)
    free = (name for name in code.flows if "#" not in name and not name.startswith("="))
    read = tuple(name for name in free if root(name) not in known and ends.has(name))
    return Inner(read, frozenset(code.declared))


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
