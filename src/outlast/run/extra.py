"""Extra: the user's own values in a run, which know what the script has taken out of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Extra(dict[str, Any]):
    """A dict that notes which values were read.

    A script that has read a number goes on from it, wherever the run goes back to. A list or a dict is set in
    place, so one that was read is right in any case.

    Example:
        >>> extra = Extra({"n": 3, "losses": [0.5], "name": "a"})
        >>> extra["n"], extra["losses"], extra.setdefault("new", 1)
        (3, [0.5], 1)
        >>> sorted(extra.read)
        ['n']
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.read: set[str] = set()

    def _note(self, name: str) -> None:
        if name in self and not isinstance(dict.__getitem__(self, name), (dict, list)):
            self.read.add(name)


def _of_one(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)

    def read(self: Extra, key: str, *args: Any) -> Any:
        self._note(key)
        return method(self, key, *args)

    return read


def _of_all(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)

    def read(self: Extra, *args: Any) -> Any:
        for key in dict.keys(self):
            self._note(key)
        return method(self, *args)

    return read


for _name in ("__getitem__", "get", "pop", "setdefault"):
    setattr(Extra, _name, _of_one(_name))
for _name in ("__iter__", "__or__", "__ror__", "copy", "items", "popitem", "values"):
    setattr(Extra, _name, _of_all(_name))
