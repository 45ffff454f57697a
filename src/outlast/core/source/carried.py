"""Carried: the variables that the code of a loop carries from one turn to the next.

A script that is started again runs its code from the beginning. A sum of its own then lacks what it had
summed up, a count begins at 0, and a best score is forgotten. Code shows which variables are of that kind: a
turn reads them before it sets them, and changes them for the next. What comes to nothing does not matter.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from outlast.core.source import calls, places
from outlast.core.source.dataflow import ACT, Code, Flows, comes_to_something, free
from outlast.core.source.names import root, targets, timed
from outlast.core.source.outside import Outside
from outlast.core.source.places import Function, Place

_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Carried:
    """A variable that a loop carries.

    Args:
        name: as the loop writes it, such as ``self.total``.
        ways: in which the loop changes it, as :class:`Code` has them.
        outlasts: it goes on when the function with the loop has returned, and nobody begins it again.
        counts: it counts the turns of a loop over batches.
        is_called: the loop changes it at most by calling it.
    """

    name: str
    ways: frozenset[str] = _NOTHING
    outlasts: bool = False
    counts: bool = False
    is_called: bool = False


@dataclass(frozen=True)
class Looked:
    """What the code of a loop shows.

    Args:
        carried: what it carries.
        drawn: what it reads before it sets it: a generator among them gives other numbers each time.
        counter: the variable with which it counts its turns by ``enumerate``; None if there is none.
        gathered: what a comprehension that is the loop makes its values into; None if there is none.
    """

    carried: tuple[Carried, ...] = ()
    drawn: tuple[Carried, ...] = ()
    counter: str | None = None
    gathered: str | None = None


def look(place: Place) -> Looked:
    """Look at a loop.

    Example:
        >>> from outlast.core.source.places import place_at
        >>> tree = ast.parse('''
        ... for epoch in run.epochs(3):
        ...     total = 0
        ...     for x in run.batches(loader):
        ...         total += loss(x)
        ...         noted.append(x)
        ...     run.log(loss=total)
        ... ''')
        >>> [one.name for one in look(place_at(tree, line=4)).carried]
        ['total']
    """
    times = timed([place.function or place.tree])
    turn = Code(times)
    code, begun = place.turn
    ended = turn.run(code, begun)
    outside, passing = Outside(place), places.going_through(place.function or place.tree)
    drawn = tuple(
        Carried(name, outlasts=outside.outlasts(name, is_changed_inside=True))
        for name in turn.needed
        if name in turn.drawn
    )
    if not place.is_loop:
        return Looked(drawn=drawn, gathered=_gathered(place, times))
    flows, behind = _flows(place, times), _code_behind(place.behind, times).flows

    def matters(name: str) -> bool:
        if outside.has(name, is_changed_inside=name in turn.inside):
            return True
        if name in turn.needed:
            return comes_to_something(flows, name)
        return name not in ended and comes_to_something(behind, name)  # it is set in some turns only

    def found(name: str) -> Carried:
        ways = frozenset(turn.changed.get(name, ()))
        outlasts = outside.outlasts(name, is_changed_inside=name in turn.inside)
        return Carried(name, ways, outlasts, counts(place.loop, name), is_called=not ways)

    names = [name for name in turn.needed if name in turn.changed]
    names += [name for name in turn.changed if name not in turn.needed and name not in ended]
    names = [name for name in names if not {name, root(name)} & passing and matters(name)]
    called = [name for name in turn.called if name not in turn.changed and _is_asked(name, flows, outside)]
    counter = places.counted(place.loop)
    return Looked(
        tuple(map(found, [*names, *called])),
        drawn,
        counter if counter is not None and comes_to_something(flows, counter) else None,
    )


def _flows(place: Place, times: frozenset[str]) -> Flows:
    """What flows where in the loops around a loop, and after them."""
    around = Code(times)
    around.run([place.around], _NOTHING)
    flows = {name: {*goals} for name, goals in around.flows.items()}
    for name, goals in _code_behind(place.rest, times).flows.items():
        flows.setdefault(name, set()).update(goals)
    for name in _read_elsewhere(place):
        flows.setdefault(name, set()).add(ACT)
    return flows


def _code_behind(code: tuple[ast.stmt, ...], times: frozenset[str]) -> Code:
    behind = Code(times, begins=True)
    behind.run(code, _NOTHING)
    return behind


def counts(loop: ast.stmt, name: str) -> bool:
    """Whether a variable counts the turns of a loop over the run's batches, and nothing else.

    Example:
        >>> counts(ast.parse("for x in run.batches(loader): n += 1").body[0], "n")
        True
    """
    loops: list[ast.AST] = [
        one
        for one in ast.walk(loop)
        if isinstance(one, ast.For) and calls.passes(one.iter) & {"batches", "steps"}
    ]
    loops = loops or ([] if calls.passes(loop) & {"batches", "epochs"} else [loop])
    code = Code()
    code.run([loop], _NOTHING)
    if not code.changed.get(name, set()) <= {"+1", "begun"}:
        return False
    bodies = [[part for part in getattr(one, "body", ()) if _counts(part, name)] for one in loops]
    return [len(one) for one in bodies if one] == [1]


def _counts(one: ast.stmt, name: str) -> bool:
    code = Code()
    is_change = isinstance(one, ast.AugAssign | ast.Assign)
    code.run([one] if is_change else [], _NOTHING)
    return code.changed.get(name) == {"+1"}


def _is_asked(name: str, flows: Flows, outside: Outside) -> bool:
    """Whether code asks an object that it calls for something, as in ``accuracy.compute()``."""
    is_read = any(one.startswith(f"{name}.") and comes_to_something(flows, one) for one in flows)
    return is_read or (outside.has(name, is_changed_inside=False) and outside.is_asked(name))


def _gathered(place: Place, times: frozenset[str]) -> str | None:
    """The variable that a comprehension makes, or its line; None if it comes to nothing."""
    one = place.loop
    if isinstance(one, ast.Assign):
        behind, outside = _code_behind(place.behind, times).flows, Outside(place)
        names = [name for target in one.targets for name in targets(target)]
        read = [
            name
            for name in names
            if comes_to_something(behind, name) or outside.has(name, is_changed_inside=False)
        ]
        return ", ".join(read) or None
    if isinstance(one, ast.Expr):
        call = one.value if isinstance(one.value, ast.Call) else None
        if call is None or calls.shows(call) or not any(calls.arguments(call)):
            return None
    return f"result of line {place.line}"


def _read_elsewhere(place: Place) -> Iterator[str]:
    """What functions read of a module's own variables."""
    if place.function is None:
        for one in ast.walk(place.tree):
            if isinstance(one, Function):
                yield from free(one)
