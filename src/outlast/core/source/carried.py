"""Carried: the variables that the code of a loop carries from one turn to the next.

A script that is started again runs its code from the beginning. A sum of its own then lacks what it had
summed up, a count begins at 0, and a best score is forgotten. Code shows which variables are of that kind: a
turn reads them before it sets them, and changes them for the next. What comes to nothing does not matter.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from outlast.core.source import calls, places
from outlast.core.source.dataflow import Code, Index, Inners, inside
from outlast.core.source.flows import ACT, Ends
from outlast.core.source.lazy import made_when_missing
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
        anew: the indices of the items that each turn sets before any other use; if those are all, nothing
            starts over.
        made_of: the loop makes it only where it is missing, of these variables; None if that is not so.
    """

    name: str
    ways: frozenset[str] = _NOTHING
    outlasts: bool = False
    counts: bool = False
    is_called: bool = False
    anew: frozenset[Index] = frozenset()
    made_of: frozenset[str] | None = None


@dataclass(frozen=True)
class Looked:
    """What the code of a loop shows.

    Args:
        carried: what it carries.
        others: what it changes otherwise, and comes to nothing as far as its code shows.
        drawn: what it reads before it sets it: a generator among them gives other numbers each time.
        counter: the variable with which it counts its turns by ``enumerate``; None if there is none.
        gathered: what a comprehension that is the loop makes its values into; None if there is none.
    """

    carried: tuple[Carried, ...] = ()
    others: tuple[Carried, ...] = ()
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
    times, inners = timed([place.function or place.tree]), Inners()
    turn = Code(times, inners=inners)
    code, begun = place.turn
    ended = turn.run(code, begun)
    outside, passing = Outside(place), places.going_through(place.function or place.tree)
    drawn = tuple(
        Carried(name, outlasts=outside.outlasts(name, is_changed_inside=True))
        for name in turn.needed
        if name in turn.drawn
    )
    behind = Ends(_code_behind(place.behind, times, inners).flows)
    if not place.is_loop:
        return Looked(drawn=drawn, gathered=_gathered(place, behind, outside))
    around = Code(times, inners=inners)
    around.run([place.around], _NOTHING)
    ends, counting = _ends(place, around), counters(place.loop)
    made = made_when_missing(place.loop)

    def matters(name: str) -> bool:
        if outside.has(name, is_changed_inside=name in turn.inside):
            return True
        if name in turn.needed:
            return ends.has(name)
        return name not in ended and behind.has(name)  # it is set in some turns only

    def found(name: str) -> Carried:
        ways = frozenset(turn.changed.get(name, ()))
        outlasts = outside.outlasts(name, is_changed_inside=name in turn.inside)
        is_set = ways <= {"[]="}
        return Carried(
            name,
            ways,
            outlasts,
            name in counting,
            is_called=not ways,
            anew=turn.indices_anew(name, ended) if is_set else frozenset(),
            made_of=made.get(name) if ways <= {"=", "reset"} else None,
        )

    names = [name for name in turn.needed if name in turn.changed]
    names += [name for name in turn.changed if name not in turn.needed and name not in ended]
    names = [name for name in names if not {name, root(name)} & passing and matters(name)]
    others = [name for name in turn.changed if name not in names and (name in turn.inside or "." in name)]
    called = [name for name in turn.called if name not in turn.changed and _is_asked(name, ends, outside)]
    counter = places.counted(place.loop)
    return Looked(
        tuple(map(found, [*names, *called])),
        tuple(map(found, others)),
        drawn,
        counter if counter is not None and ends.has(around.given[place.loop][counter]) else None,
    )


def _ends(place: Place, around: Code) -> Ends:
    """What comes to something in the loops around a loop, and after them."""
    flows = {name: {*goals} for name, goals in around.flows.items()}
    for name, goals in _code_behind(place.rest, around.timed, around.inners).flows.items():
        flows.setdefault(name, set()).update(goals)
    for name in _read_elsewhere(place, around.inners):
        flows.setdefault(name, set()).add(ACT)
    return Ends(flows)


def _code_behind(code: tuple[ast.stmt, ...], times: frozenset[str], inners: Inners) -> Code:
    behind = Code(times, begins=True, inners=inners)
    behind.run(code, _NOTHING)
    return behind


def counters(loop: ast.stmt) -> frozenset[str]:
    """The variables that count the turns of a loop over the run's batches, and nothing else.

    Example:
        >>> counters(ast.parse("for x in run.batches(loader): n += 1").body[0])
        frozenset({'n'})
    """
    loops: list[ast.AST] = [
        one
        for one in ast.walk(loop)
        if isinstance(one, ast.For) and calls.passes(one.iter) & {"batches", "steps"}
    ]
    loops = loops or ([] if calls.passes(loop) & {"batches", "epochs"} else [loop])
    code = Code()
    code.run([loop], _NOTHING)
    counted = Counter(name for one in loops for part in getattr(one, "body", ()) for name in _counted(part))
    return frozenset(
        name for name, times in counted.items() if times == 1 and code.changed[name] <= {"+1", "begun"}
    )


def _counted(one: ast.stmt) -> list[str]:
    """What a statement adds one to."""
    code = Code()
    is_change = isinstance(one, ast.AugAssign | ast.Assign)
    code.run([one] if is_change else [], _NOTHING)
    return [name for name, ways in code.changed.items() if ways == {"+1"}]


def _is_asked(name: str, ends: Ends, outside: Outside) -> bool:
    """Whether code asks an object that it calls for something, as in ``accuracy.compute()``."""
    is_outside = outside.has(name, is_changed_inside=False)
    return ends.has_part_of(name) or (is_outside and outside.is_asked(name))


def _gathered(place: Place, behind: Ends, outside: Outside) -> str | None:
    """The variable that a comprehension makes, or its line; None if it comes to nothing."""
    one = place.loop
    if isinstance(one, ast.Assign):
        names = [name for target in one.targets for name in targets(target)]
        read = [name for name in names if behind.has(name) or outside.has(name, is_changed_inside=False)]
        return ", ".join(read) or None
    if isinstance(one, ast.Expr):
        call = one.value if isinstance(one.value, ast.Call) else None
        if call is None or calls.shows(call) or not any(calls.arguments(call)):
            return None
    return f"result of line {place.line}"


def _read_elsewhere(place: Place, inners: Inners) -> Iterator[str]:
    """What functions read of a module's own variables."""
    if place.function is None:
        for one in ast.walk(place.tree):
            if isinstance(one, Function):
                if one not in inners:
                    inners[one] = inside(one, inners)
                yield from inners[one].free
