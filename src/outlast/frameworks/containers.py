"""Containers: lists, dicts and tuples of any type, and how another one of the same type is made.

Nothing of a type is in a file but its name, and no code is run by that: what is not of a type that is known
here is made as the live one that it takes the place of, or not at all.
"""

from __future__ import annotations

import copy
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Mapping
from typing import Any

from outlast.core.asking import asked

_USUAL = (dict, list, tuple, Counter, OrderedDict, deque)  # the format keeps these
_FACTORIES = {one.__name__: one for one in (int, float, bool, str, list, tuple, dict, set)}


def is_usual(container: Any) -> bool:
    """Whether it comes back as what it is by itself."""
    return type(container) in _USUAL


def usual(container: Any, content: Any) -> Any:
    """Another content in the usual type that is nearest to a container's: a scheduler needs its Counter.

    Args:
        container: a mapping, list, tuple or deque.
        content: a dict, or a list.

    Example:
        >>> usual(defaultdict(int), {"a": 1}), usual((), [1])
        ({'a': 1}, (1,))
    """
    if isinstance(container, Mapping):
        if isinstance(container, Counter):
            return Counter(content)
        return OrderedDict(content) if isinstance(container, OrderedDict) else content
    if isinstance(container, deque):
        return deque(content, container.maxlen)
    return content if isinstance(container, list) else tuple(content)


def described(container: Any) -> str:
    """Its type; of a defaultdict, also what makes its values, if that is a type of Python's own.

    Example:
        >>> described(defaultdict(int)), described([])
        ('collections.defaultdict(int)', 'list')
    """
    kind = type(container)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    if kind is defaultdict:
        factory = container.default_factory
        known = factory.__name__ if factory in _FACTORIES.values() else None
        return f"{name}({known or factory})" if known or factory is None else name
    return name


def remade(plain: Any, kind: str, live: Any) -> Any:
    """A container of a type that is not usual; the plain one if it cannot be made.

    Args:
        plain: the same of a usual type.
        kind: what :func:`described` said.
        live: what it takes the place of, None for nothing.

    Example:
        >>> remade({"a": [1]}, "collections.defaultdict(list)", None)
        defaultdict(<class 'list'>, {'a': [1]})
    """
    made = _known(plain, kind)
    if made is None and isinstance(live, (Mapping, list, tuple, deque)) and described(live) == kind:
        made = like(live, plain)
    return plain if made is None else made


def like(live: Any, content: Any) -> Any:
    """A container of a live one's type, with another content; None if none can be made in a usual way."""
    kind: Any = type(live)
    try:
        if isinstance(live, defaultdict):
            made = copy.copy(live)  # with what makes its values
            made.clear()
            made.update(content)
        elif _is_namedtuple(kind):
            made = tuple.__new__(kind, content)
        else:
            made = kind(content, live.maxlen) if isinstance(live, deque) else kind(content)
        if type(made) is not kind or len(made) != len(content):
            return None
        if isinstance(live, Mapping) and [*made] != [*content]:
            return None
        for name, value in asked(live, "__dict__", {}).items():
            if vars(live) is not live:  # as in a dict that is read by attributes
                vars(made).setdefault(name, value)
    except Exception:  # of a class of the user's: it is made in a way of its own
        return None
    return made


def of_type(container: Any, content: Any) -> Any:
    """Another content in a container of the same type, or in the nearest usual one."""
    plain = usual(container, content)
    if is_usual(container):
        return plain
    made = like(container, plain)
    return plain if made is None else made


def filled(old: Any, new: Any) -> Any:
    """The old list, dict or set with what the new one holds; the new one where the old is none like it.

    Others may hold the old one. A dict stays of its class, whatever class the new one is of.

    Example:
        >>> counts, lists = Counter(a=1), defaultdict(list)
        >>> filled(counts, {"b": 2}) is counts, filled(lists, {"a": [1]}), filled(3, [4])
        (True, defaultdict(<class 'list'>, {'a': [1]}), [4])
    """
    members: Any
    if isinstance(old, dict) and isinstance(new, dict):
        members = {key: filled(_member(old, key), one) for key, one in new.items()}
        old.clear()
        old.update(members)
    elif type(new) in (list, deque, set) and type(old) is type(new):
        members = list(new) if type(new) is set or len(old) != len(new) else [*map(filled, old, new)]
        old.clear()
        (old.update if type(new) is set else old.extend)(members)
    else:
        return new
    return old


def _member(old: Any, key: Any) -> Any:
    """What a dict has for a key; what a defaultdict would make for it."""
    factory = asked(old, "default_factory")
    return old[key] if key in old else factory and factory()


def _known(plain: Any, kind: str) -> Any:
    """A container of a type that a name is enough for; None of another."""
    if kind == "torch.Size" and isinstance(plain, tuple):
        import torch

        return torch.Size(plain)
    name, _, factory = kind.removesuffix(")").partition("(")
    if name == "collections.defaultdict" and isinstance(plain, dict):
        if factory in _FACTORIES or factory == "None":
            return defaultdict(_FACTORIES.get(factory), plain)
        return None
    cls: Any = _class(kind) if type(plain) is tuple else None
    is_fitting = _is_namedtuple(cls) and len(cls._fields) == len(plain)
    return tuple.__new__(cls, plain) if is_fitting else None


def _is_namedtuple(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, tuple) and isinstance(asked(kind, "_fields"), tuple)


def _class(name: str) -> Any:
    """What has a name in a module that the script has imported; a look that runs no code of the module's."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:end]))
        for part in parts[end:]:
            found = None if found is None else object.__getattribute__(found, "__dict__").get(part)
        if found is not None:
            return found
    return None
