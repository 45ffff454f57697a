"""Script: the script's own variables that its loops carry on, as its source says. No resume can set them."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from outlast.core.asking import asked, has, is_computed
from outlast.core.source import places
from outlast.core.source.calls import passes
from outlast.core.source.carried import Carried, Looked, look
from outlast.core.source.dataflow import BINDING
from outlast.core.source.handed import handed_over, loaded, states_set
from outlast.core.source.names import root
from outlast.core.source.places import Place, place_at
from outlast.core.source.pointing import Way, pointed
from outlast.core.text import few
from outlast.run import kinds, source
from outlast.run.around import Around
from outlast.run.changed_data import is_unsaved
from outlast.run.held import is_held

_OURS = __name__.partition(".")[0]
_REFERENCES = 3  # to the copy of a frame's variables, if nobody else has it: the frame's, ours, the question
_ADDING = frozenset(("+=", "*=", "+1"))
_INSIDE, _AROUND = frozenset(("batches",)), frozenset(("epochs", "steps"))


@dataclass(frozen=True)
class Named:
    """A variable that starts over when a run goes on.

    Args:
        name: of it.
        advice: what to do about it.
        inside: it does so only where the run goes on inside an epoch.
    """

    name: str
    advice: str
    inside: bool


def starts_over(found: Iterable[Named]) -> str:
    """A sentence that names variables, with what to do about them; "" if there are none.

    Example:
        >>> print(starts_over([Named("n", "run.step counts on", False), Named("rng", "pass it", False)]))
        after a resume the script's own n starts over: run.step counts on; so does rng: pass it
    """
    groups: dict[str, list[str]] = {}
    where = ""
    for one in found:
        where = " inside an epoch" if one.inside else ""
        groups.setdefault(one.advice, []).append(one.name)
    phrases: list[str] = []
    for advice, names in groups.items():
        is_one = len(names) == 1
        if phrases:
            phrases.append(f"so {'does' if is_one else 'do'} {few(names)}: {advice}")
        else:
            start = f"the script's own {few(names)} {'starts' if is_one else 'start'} over"
            phrases.append(f"after a resume{where} {start}: {advice}")
    return "; ".join(phrases)


class Script:
    """Looks at the loops of the script, at each once.

    Args:
        is_saved: whether a value is the run, or something that it saves; with ``by_loader=False`` in
            another way than with the loader at hand.
    """

    def __init__(self, is_saved: Callable[..., bool]) -> None:
        self._is_saved = is_saved
        # By identity: to compare code is to go through all of it. Kept, so that no other gets its identity.
        self._seen: dict[tuple[bool, tuple[tuple[int, int], ...]], list[CodeType]] = {}
        self._named: set[str] = set()
        self._around = Around(_variables, self._carried_by)

    def look_around(self) -> list[str]:
        """What is wrapped around the loop of batches that is beginning, and no resume can bring back."""
        with suppress(Exception):  # as in look
            return self._around.look()
        return []

    def _carried_by(self, frame: FrameType, tree: ast.Module, line: int) -> list[str]:
        """The variables that a generator around a loop carries on, also those that it has not set yet."""
        place = place_at(tree, line)
        if place is None:
            return []
        looked = look(place)
        found = [one.name for one in self._found(frame, place, looked, inside=True, is_jax=False)]
        known = _variables(frame, {one.name for one in looked.carried})
        mine = frame.f_code.co_varnames
        return found + [one.name for one in looked.carried if one.name in mine and one.name not in known]

    def look(self, *, inside: bool, is_jax: bool = False) -> list[Named]:
        """What starts over of the loop that is beginning, and was not named.

        Nothing where there is no source, or one that is too long, and at a place that was looked at before.

        Args:
            inside: it is one of batches inside an epoch.
            is_jax: what is trained is a value, which the loop sets.
        """
        try:
            frames = [*_asking()]
            place = inside, tuple((id(frame.f_code), frame.f_lineno) for frame in frames)
            if place in self._seen:
                return []
            self._seen[place] = [frame.f_code for frame in frames]
            return self._looked(frames, inside=inside, is_jax=is_jax)
        except Exception:  # of a source or a value as nobody foresaw it: a hint may not end a training
            return []

    def _looked(self, frames: Iterable[FrameType], *, inside: bool, is_jax: bool) -> list[Named]:
        for frame in frames:
            place = place_at(_parsed(frame), frame.f_lineno, _INSIDE if inside else _AROUND)
            if source.is_anothers(frame) and not (place is not None and _is_marked(place)):
                continue  # something around ours, such as a progress bar or a pool
            if place is None:
                return []
            found = list(self._found(frame, place, look(place), inside=inside, is_jax=is_jax))
            self._named |= {one.name for one in found}
            return found
        return []

    def _found(
        self, frame: FrameType, place: Place, looked: Looked, *, inside: bool, is_jax: bool
    ) -> Iterator[Named]:
        scope = place.function or place.tree
        ours = [
            one for one in (*looked.carried, *looked.others, *looked.drawn) if one.name not in self._named
        ]
        among = frozenset(one.name for one in ours)
        handed = handed_over(scope, place.tree, loop=place.loop, among=among)
        given, weights, states = places.loaders(scope), loaded(scope), states_set(scope)
        others = pointed(place.loop)
        roots = {
            root(name)
            for one in ours
            for name in (
                *(one.name, *handed.get(one.name, ()), *(one.made_of or ())),
                *(name for name, _ in others.get(one.name, ())),
            )
        }
        variables = _variables(frame, roots | {root(name) for name in (*given, *states)})
        is_forgotten = is_jax and not self._is_handed(variables, states)
        loaders = [value for name in given for value in self._values(variables, name)[name.count(".") :]]
        seen: set[str] = set()
        for one in ours:
            with suppress(Exception):  # of a value that cannot be looked at, as of a proxy of what is gone
                if one in looked.carried and self._points_elsewhere(variables, one, others):
                    seen.add(one.name)
                    yield Named(one.name, kinds.CHOOSE, inside and not one.outlasts)
                    continue
                value = self._own_value(variables, one, loaders, only_data=one in looked.others)
                is_drawn = one in looked.drawn
                counts = value and (kinds.is_rng(value[0]) if is_drawn else kinds.counts(value[0], one))
                if not counts or one.name in seen or self._is_handed(variables, handed.get(one.name, ())):
                    continue
                if kinds.is_all_of(value[0], one.anew) or self._is_made_again(variables, one.made_of):
                    continue
                is_inside = inside and not one.outlasts
                about = {"is_jax": is_jax, "is_forgotten": is_forgotten, "is_loaded": one.name in weights}
                advice = kinds.advice(value[0], one, inside=is_inside, **about)
                seen.add(one.name)
                yield Named(one.name, advice, is_inside)
        if looked.gathered is not None:
            yield Named(looked.gathered, kinds.LOG, inside)
        if looked.counter is not None and (inside or "epochs" not in _marks(place)):
            yield Named(looked.counter, f"{'run.batch' if inside else 'run.step'} counts on", inside)

    def _own_value(
        self, variables: Mapping[str, Any], one: Carried, loaders: list[Any], *, only_data: bool
    ) -> list[Any]:
        """The value of a variable; nothing if it has none, or if others look after it.

        Args:
            variables: those of the script, by name.
            one: which.
            loaders: what the run's loops are given.
            only_data: it matters as a part of a dataset alone.
        """
        values = self._values(variables, one.name)
        if one.ways & _ADDING and self._lacks_a_property(values, one.name):
            values.append(0)  # a number, as what is added to it; the property is the user's own code
        is_whole = len(values) == one.name.count(".") + 1
        is_replaced = bool(one.ways) and one.ways <= {"=", "begun"}  # by something else that is not saved
        owners = values[:-1] if is_replaced else values
        by_loader = not is_unsaved(one, values, loaders)
        if only_data and by_loader:
            return []
        is_ours = is_whole and not any(
            self._is_saved(value, by_loader=by_loader) or (by_loader and is_held(value, loaders))
            for value in owners
        )
        return values[-1:] if is_ours and not self._has_only_saved(values[-1], one, loaders) else []

    def _has_only_saved(self, value: Any, one: Carried, loaders: Iterable[Any]) -> bool:
        """Whether a variable is only another way to what is saved, such as a list of the model's weights."""
        inner = kinds.pieces(value) if one.ways and not one.ways & BINDING else []
        return bool(inner) and all(self._is_saved(piece) or is_held(piece, loaders) for piece in inner)

    def _lacks_a_property(self, values: list[Any], name: str) -> bool:
        """Whether the last part of a name is a property, which was not asked."""
        is_next = len(values) == name.count(".") and not self._is_saved(values[-1])
        return is_next and is_computed(values[-1], name.rpartition(".")[2])

    def _is_handed(self, variables: Mapping[str, Any], names: Iterable[str]) -> bool:
        """Whether the run, or something that it saves, is given what is assigned to one of these names."""
        return any(self._is_saved(value) for name in names for value in self._values(variables, name))

    def _points_elsewhere(
        self, variables: Mapping[str, Any], one: Carried, others: Mapping[str, Collection[Way]]
    ) -> bool:
        """Whether the loop has a variable stand for something else that is kept, such as a second optimizer.

        What it stands for may be saved; which one it is, is not.
        """
        values = self._values(variables, one.name)
        if "=" not in one.ways or len(values) != one.name.count(".") + 1:
            return False
        now = values[-1]
        if not (kinds.is_kept(now) or self._is_saved(now)):
            return False
        for name, keys in others.get(one.name, ()):
            found = self._values(variables, name)
            if len(found) == name.count(".") + 1:
                other = found[-1]
                for key in keys if isinstance(other, list | tuple | dict) else ():
                    other = other[key]
                if other is not now and (kinds.is_kept(other) or self._is_saved(other)):
                    return True
        return False

    def _is_made_again(self, variables: Mapping[str, Any], made_of: frozenset[str] | None) -> bool:
        """Whether a variable is made where it is missing, and of nothing that training changes."""
        return made_of is not None and not self._is_handed(variables, made_of)

    def _values(self, variables: Mapping[str, Any], name: str) -> list[Any]:
        """The value of each part of a dotted name, up to one that is saved: the run notes who reads it."""
        first, *others = name.split(".")
        values = [variables[first]] if first in variables else []
        for other in others if values else ():
            if (
                self._is_saved(values[-1], by_loader=False)
                or is_computed(values[-1], other)
                or not has(values[-1], other)
            ):
                break
            values.append(asked(values[-1], other))
        return values


def _asking() -> Iterator[FrameType]:
    """The frames that ask for the next turn of a loop, up to the script's first that is no generator."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] != _OURS:
            yield frame
            if not source.is_anothers(frame):
                return
        frame = frame.f_back


def _marks(place: Place) -> set[str]:
    return passes(place.loop.iter if isinstance(place.loop, ast.For | ast.AsyncFor) else place.loop)


def _is_marked(place: Place) -> bool:
    """Whether the source of a loop names the run's: not so where it is handed another's."""
    return bool(_marks(place) & (_INSIDE | _AROUND))


def _parsed(frame: FrameType) -> ast.Module:
    """The file or the notebook's cell that the frame's code is from; empty where it cannot be had."""
    if source.is_anothers(frame) and not any(f".{kind}(" in source.text(frame) for kind in _INSIDE | _AROUND):
        return ast.Module([], [])  # that of a package: it need not be read
    return source.parsed(frame)


def _variables(frame: FrameType, names: set[str]) -> dict[str, Any]:
    """The variables that the frame's code knows by these names."""
    here, code = frame.f_locals, frame.f_code
    found = {name: frame.f_globals[name] for name in names if name in frame.f_globals}
    found |= {name: here[name] for name in names if name in here}
    is_copy = sys.version_info < (3, 13) and bool(code.co_flags & inspect.CO_OPTIMIZED)
    if is_copy and sys.getrefcount(here) <= _REFERENCES:  # it stays with the frame, and holds all it has
        for name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
            here.pop(name, None)  # Python puts these in anew; what exec() made is nowhere else
    return found
