"""Handed over: which variables the code of a script gives to objects, and takes from them again.

What is put into ``run.extra`` is saved. The variable itself still starts over, unless the script sets it from
there. To change something saved with a variable, as in ``weight.add_(velocity)``, saves nothing of it, and
nor does it to load the variable into a model, as a script does that goes back to its best weights.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

from outlast.core.source import calls
from outlast.core.source.dataflow import parameters
from outlast.core.source.following import follows
from outlast.core.source.names import assigned, last, mentioned, path, prefixes, root
from outlast.core.source.places import Function

# Methods that keep what they are given.
_KEEPING = frozenset(
    {
        *("add", "append", "appendleft", "copy_", "extend", "insert", "put", "setdefault", "update"),
    }
)
# What training changes by itself: to set it to a variable keeps the variable only if each change is followed.
_TRAINED = frozenset(("data", "state"))
# Methods that give what they are called on in another form.
_FORMS = frozenset(
    {
        *("clone", "copy", "cpu", "detach", "item", "items", "numpy", "state_dict", "tobytes", "tolist"),
        *("replace", "_replace", "asarray", "array", "asdict", "deepcopy", "device_get", "to"),
    }
)
_CONTAINERS = (ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Starred, ast.Subscript, ast.IfExp)


def handed_over(
    scope: ast.AST,
    tree: ast.AST | None = None,
    *,
    loop: ast.AST | None = None,
    among: Collection[str] | None = None,
) -> dict[str, set[str]]:
    """To which attributes the variables are given, also together with others, and taken from again.

    A variable that a function is given counts as taken, for its caller may have done so, but no attribute of
    its own object.

    Args:
        scope: the code that gives them.
        tree: the code that takes them; None: the same.
        loop: the code that changes them; None: all that gives them.
        among: the variables that are asked for; None: all.

    Example:
        >>> handed_over(ast.parse("n = run.extra.get('n', 0); run.extra['n'] = n; run.extra['k'] = k"))
        {'n': {'run.extra'}}
    """
    found: dict[str, set[str]] = {}
    taken, parameter = _Taken(tree or scope, scope), {*parameters(scope)} - {"self"}
    for owners, given, is_load in map(_given, ast.walk(scope)):
        for name in given if among is None else [one for one in given if one in among]:
            known = {one for one in owners if root(name) in parameter or taken.has(name, one)}
            if is_load:
                known = {one for one in known if _is_followed(scope, loop or scope, name, one)}
            if known:
                found.setdefault(name, set()).update(known)
    return found


def loaded(scope: ast.AST) -> set[str]:
    """The variables that code loads into something: a model, or the state of a run.

    Example:
        >>> sorted(loaded(ast.parse("model.load_state_dict(best); run.state = {'params': old}")))
        ['best', 'old']
    """
    found: set[str] = set()
    for one in ast.walk(scope):
        _, given, is_load = _given(one)
        if is_load:
            found.update(given)
        elif isinstance(one, ast.Call) and calls.loads(one):
            found.update(name for value in calls.arguments(one) for name in _whole(value))
    return found


def states_set(scope: ast.AST) -> set[str]:
    """The objects whose ``state`` code sets.

    Example:
        >>> states_set(ast.parse("run.state, loss = step(run.state, x)"))
        {'run'}
    """
    sets = (one.targets for one in ast.walk(scope) if isinstance(one, ast.Assign))
    owners = (name for several in sets for target in several for name in _owners(target))
    return {name.removesuffix(".state") for name in owners if name.endswith(".state")}


def _given(one: ast.AST) -> tuple[set[str], list[str], bool]:
    """What changes in code, with the variables that it is given, and whether training changes it, too."""
    if isinstance(one, ast.Assign):
        owners = {name for target in one.targets for name in _owners(target)}
        is_load = any(name.rpartition(".")[2] in _TRAINED for name in owners)
        return owners, [*_whole(one.value)] if owners else [], is_load
    if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr in _KEEPING:
        owners = {*_owners(one.func.value, whole=True)}
        return owners, [name for value in calls.arguments(one) for name in _whole(value)], calls.resets(one)
    return set(), [], False


def _is_followed(scope: ast.AST, loop: ast.AST, name: str, owner: str) -> bool:
    """Whether a variable is put into an object after each of its changes."""

    def puts(one: ast.AST) -> bool:
        owners, given, _ = _given(one.value if isinstance(one, ast.Expr) else one)
        return owner in owners and name in given

    def sets(one: ast.AST) -> bool:
        return owner in _given(one)[0] and not puts(one)

    is_alone = owner.endswith("state") and not any(map(sets, ast.walk(loop)))  # nothing else sets the object

    def takes(one: ast.AST) -> bool:
        is_set = isinstance(one, ast.Assign) and name in map(path, one.targets)
        return is_alone and is_set and owner in mentioned(one)

    return follows(scope, loop, name, puts, takes)


def _owners(target: ast.AST, *, whole: bool = False) -> list[str]:
    """What an assignment changes: an attribute, or what an item of it is in."""
    is_item = whole
    while isinstance(target, ast.Subscript):
        target, is_item = target.value, True
    if isinstance(target, ast.Tuple | ast.List):
        return [name for one in target.elts for name in _owners(one)]
    name = path(target)
    return [name] if name is not None and (is_item or "." in name) else []


def _whole(value: ast.AST) -> Iterator[str]:
    """The variables whose values are in a value, and not only numbers computed from them."""
    name = path(value)
    if name is not None:
        yield name
    elif isinstance(value, _CONTAINERS):
        for child in ast.iter_child_nodes(value):
            yield from _whole(child)
    elif isinstance(value, ast.ListComp | ast.DictComp | ast.SetComp | ast.GeneratorExp):
        yield from _whole(value.generators[0].iter)
    elif isinstance(value, ast.Call) and (not isinstance(value.func, ast.Attribute) or _is_form(value)):
        if isinstance(value.func, ast.Attribute):
            yield from _whole(value.func.value)
        for one in calls.arguments(value):
            yield from _whole(one)


def _is_form(call: ast.Call) -> bool:
    return calls.makes(call) or last(call.func) in _FORMS


class _Taken:
    """Knows which variables code sets from which objects, directly or by way of others."""

    def __init__(self, tree: ast.AST, scope: ast.AST) -> None:
        self._sources: dict[str, set[str]] = {}
        for names, value in _seen_in(tree, scope):
            read = {*mentioned(value)}
            for name in names:
                if name not in read:  # or it is changed, and not set anew
                    self._sources.setdefault(name, set()).update(read)
        self._all: dict[str, set[str]] = {}

    def has(self, name: str, owner: str) -> bool:
        """Whether a variable is set from what an object, or one that it is in, holds."""
        parts = owner.split(".")
        read = (one.split(".") for one in self._of(name))
        return any(parts[-1] in one or one[-1] in parts for one in read)  # self.run.extra may be run.extra

    def _of(self, name: str) -> set[str]:
        if name not in self._all:
            found, left = set[str](), [name]
            while left:
                sources = (self._sources.get(one, ()) for one in prefixes(left.pop()))
                fresh = [one for source in sources for one in source if one not in found]
                found.update(fresh)
                left += fresh
            self._all[name] = found
        return self._all[name]


def _seen_in(tree: ast.AST, scope: ast.AST) -> Iterator[tuple[list[str], ast.AST]]:
    """What a function sees of what is set: its own variables, those of the module, all attributes."""
    yield from _sets(scope)
    if tree is not scope:
        for one in ast.iter_child_nodes(tree):
            if not isinstance(one, Function | ast.ClassDef):
                yield from _sets(one)
        for names, value in _sets(tree):
            yield [name for name in names if "." in name or isinstance(value, Function)], value


def _sets(tree: ast.AST) -> Iterator[tuple[list[str], ast.AST]]:
    """Names with what they are set from: functions with what they do, objects with what they take in."""
    yield from assigned(tree)
    for one in ast.walk(tree):
        if isinstance(one, Function):
            yield [one.name], one
        elif isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and _takes_in(one):
            name = path(one.func.value)
            if name is not None:
                yield from (([name], given) for given in calls.arguments(one))


def _takes_in(call: ast.Call) -> bool:
    return last(call.func) in _KEEPING or calls.loads(call)
