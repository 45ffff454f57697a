"""Ahead: whether an object of the script's own fetches a batch before the one before it is trained.

NVIDIA's ``data_prefetcher`` does: a method takes what was fetched, has the next fetched, returns the former.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from outlast.core.source.names import last, path, targets
from outlast.core.source.places import Function

Holds = Callable[[ast.expr], bool]
_KEEPING = ("append", "appendleft", "put")


def takes_ahead(tree: ast.AST, function: ast.AST, holds: Holds) -> ast.ClassDef | None:
    """The class of a method that asks for a batch, if its objects take one ahead.

    Args:
        tree: of the source.
        function: the method.
        holds: whether an expression in it is the loop.

    Example:
        >>> tree = ast.parse('''
        ... class Ahead:
        ...     def fetch(self): self.later = next(self.batches)
        ...     def next(self):
        ...         now = self.later
        ...         self.fetch()
        ...         return now
        ... ''')
        >>> takes_ahead(tree, tree.body[0].body[0], lambda one: ast.unparse(one) == "self.batches").name
        'Ahead'
    """
    for one in ast.walk(tree):
        if isinstance(one, ast.ClassDef) and function in one.body:
            methods = [method for method in one.body if isinstance(method, Function)]
            kept = {method.name: {*_kept(method, holds)} for method in methods}
            return one if any(_returns_former(method, kept) for method in methods) else None
    return None


def _kept(method: ast.AST, holds: Holds) -> Iterator[str]:
    """The attributes in which a method keeps the next batch."""
    for one in ast.walk(method):
        match one:
            case ast.Assign(targets=set_here, value=value) if _asks(value, holds):
                yield from (name for target in set_here for name in targets(target) if "." in name)
            case ast.Call(func=ast.Attribute(value=owner, attr=attr), args=[value]) if attr in _KEEPING:
                name = path(owner)
                if name is not None and "." in name and _asks(value, holds):
                    yield name


def _asks(value: ast.AST, holds: Holds) -> bool:
    return isinstance(value, ast.Call) and last(value.func) == "next" and any(map(holds, value.args[:1]))


def _returns_former(method: ast.AST, kept: dict[str, set[str]]) -> bool:
    """Whether a method takes what was kept, has the next one fetched, and uses the former after that."""
    known, own = {name for names in kept.values() for name in names}, kept[getattr(method, "name", "")]
    former: dict[str, int] = {}  # variables, and the line in which each takes what was kept
    fetched: list[int] = []
    used: dict[str, int] = {}
    for one in ast.walk(method):
        if isinstance(one, ast.Assign):
            names = [name for target in one.targets for name in targets(target)]
            if any(path(part) in known for part in ast.walk(one.value)):
                former.update({name: one.lineno for name in names if "." not in name})
            if own.intersection(names):
                fetched.append(one.lineno)
        elif isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
            if kept.get(one.func.attr) or (path(one.func.value) in own and one.func.attr in _KEEPING):
                fetched.append(one.lineno)
        elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load):
            used[one.id] = max(one.lineno, used.get(one.id, 0))
    return any(taken <= at <= used.get(name, -1) for name, taken in former.items() for at in fetched)
