"""Views: arrays of an estimator that share memory, such as a row of another one, and have to do so again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from outlast.exceptions import CapabilityError, DamagedFile
from outlast.frameworks.sklearn_walk import Place, places

Views = Mapping[str, Any]


def views(found: Collection[Place]) -> dict[str, list[Any]]:
    """For each array that shares memory, or has gaps in it: which memory, where in it, and its steps.

    Raises:
        CapabilityError: it cannot be had again.
    """
    arrays = {id(place.value): place.value for place in found if _is_array(place)}
    groups: list[list[Any]] = []  # of what overlaps: where it begins and ends, and the arrays
    for begin, end, key in sorted((*_bounds(one), key) for key, one in arrays.items()):
        if groups and begin < groups[-1][1]:
            groups[-1][1] = max(groups[-1][1], end)
            groups[-1][2].append(key)
        else:
            groups.append([begin, end, [key]])
    stuck = {id(place.value) for place in found if not place.can_be_put}
    shared = [one for one in groups if len(one[2]) > 1 or _has_gaps(arrays[one[2][0]], stuck)]
    told = {key: (number, *group[:2]) for number, group in enumerate(shared) for key in group[2]}
    return {
        place.path: _view(place, *told[id(place.value)])
        for place in found
        if _is_array(place) and id(place.value) in told
    }


def _view(place: Place, number: int, begin: int, end: int) -> list[Any]:
    import numpy as np

    array = place.value
    if type(array) is not np.ndarray or array.dtype.hasobject or not place.can_be_put:
        raise CapabilityError(
            f"{place.path} shares memory with another attribute, which cannot be saved of a "
            f"{type(array).__name__} of {array.dtype} in a {type(place.owner).__name__}: keep a copy."
        )
    return [number, end - begin, _address(array) - begin, list(array.strides)]


def _has_gaps(array: Any, stuck: Collection[int]) -> bool:
    """Whether it is neither of rows nor of columns that follow each other, and can be had so again."""
    import numpy as np

    is_plain = type(array) is np.ndarray and not array.dtype.hasobject and id(array) not in stuck
    return is_plain and not array.flags.c_contiguous and not array.flags.f_contiguous


def _address(array: Any) -> int:
    found: int = array.__array_interface__["data"][0]
    return found


def _bounds(array: Any) -> tuple[int, int]:
    """Where its memory begins and ends."""
    steps = [step * (size - 1) for step, size in zip(array.strides, array.shape, strict=True)]
    begin = _address(array) + sum(min(step, 0) for step in steps)
    return begin, _address(array) + sum(max(step, 0) for step in steps) + array.itemsize


def share(thing: Any, views: Views) -> None:
    """Have the arrays of an object share memory again.

    Raises:
        DamagedFile: they are not the object's.
    """
    import numpy as np

    memory: dict[int, Any] = {}
    made: dict[int, Any] = {}
    for place in [place for place in places(thing, {}) if place.path in views] if views else []:
        number, size, offset, strides = views[place.path]
        array = place.value
        if id(array) not in made:
            try:
                memory.setdefault(number, np.zeros(size, "uint8"))
                view = np.ndarray(array.shape, array.dtype, memory[number], offset, strides)
            except (TypeError, ValueError) as error:
                raise DamagedFile(f"{place.path} cannot share memory: {error}") from error
            view[...] = array
            made[id(array)] = view
        place.put(made[id(array)])


def _is_array(place: Place) -> bool:
    """Not of an object that gives it anew each time."""
    import numpy as np

    return isinstance(place.value, np.ndarray) and place.value.size > 0 and place.owner is not None
