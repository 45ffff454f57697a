"""Left loaders: where runs that were found finished have left the loaders that they used.

The next run of the same script may go on with one of them. Nobody trains the finished run here, so nobody
has moved its loaders on. Which loader is one of them, its first state tells; but a loader that the script
makes anew, with the same seed, has that too. So a loader is moved only where something proves it: a checksum
of the state that the other run found it in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from outlast.frameworks import loaders

Saved = Mapping[str, Any]

_left: dict[str, tuple[str, list[Saved]]] = {}  # by the run's folder: how the user wrote it, and its loaders


def note(folder: str, shown: str, saved: Sequence[Saved]) -> None:
    """A run was found finished, with these loaders in its resume point."""
    _left[folder] = shown, [one for one in saved if one["states"]]


def whose(sources: Mapping[str, Any], born: int) -> list[str]:
    """The runs that may have used a loader.

    Args:
        sources: its generators and orders, by place.
        born: the checksum of their first state.
    """
    return [*dict.fromkeys(shown for shown, _ in _fitting(sources, born))]


def bring(sources: Mapping[str, Any], born: int, is_right: Callable[[], bool]) -> bool:
    """Move a loader on to where a finished run has left it, if that is right then; tells whether it is."""
    before = loaders.now(sources)
    for _, saved in _fitting(sources, born):
        loaders.restore(sources, saved["states"])
        if is_right():
            return True
        loaders.put(sources, before)
    return False


def _fitting(sources: Mapping[str, Any], born: int) -> list[tuple[str, Saved]]:
    return [
        (shown, one)
        for shown, all_saved in _left.values()
        for one in all_saved
        if one["born"] == born
        and one["states"].keys() == sources.keys()
        and loaders.are_as_before(sources, one["states"])
    ]
