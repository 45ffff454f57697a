"""Objects of other people are looked at without an error, whatever their own code does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from outlast.frameworks import random_state
from outlast.run.batches import checksum
from outlast.run.parts import is_stateful
from outlast.run.plain import may_change, stored


class Refusing:
    """Raises what ``hasattr`` does not catch."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Keyed(dict[str, Any]):
    __getattr__ = dict.__getitem__


class Willing(dict[str, Any]):
    """Has whatever it is asked for, as some dicts that are read by attributes."""

    def __getattr__(self, name: str) -> Any:
        return Willing()


@pytest.mark.parametrize("kind", [Refusing, Keyed])
def test_what_raises_when_it_is_asked_is_no_generator_no_array_and_no_part(kind: Any) -> None:
    thing = kind()
    assert not random_state.is_generator(thing) and not is_stateful(thing)
    assert checksum([thing, np.ones(3)]) == checksum(np.ones(3))


def test_a_dict_that_is_read_by_attributes_is_saved_and_another_object_may_change() -> None:
    assert stored(Keyed(loss=1.0))["value"] == {"loss": 1.0}
    assert stored(Refusing()) is None and may_change(Refusing())


def test_a_dict_that_has_every_attribute_is_no_generator() -> None:
    assert not random_state.is_generator(Willing())
    assert checksum(Willing(x=1)) == checksum(Willing(x=1))


class Sized:
    """An array in memory that is not at hand."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape


@pytest.mark.parametrize("shape", [object(), None])
def test_a_shape_that_is_no_tuple_is_not_in_the_checksum(shape: Any) -> None:
    assert checksum(Sized(shape)) == checksum(Sized(object()))


def test_of_a_shape_only_numbers_are_in_the_checksum() -> None:
    assert checksum(Sized((2, object()))) == checksum(Sized((2, object())))
    assert checksum(Sized((2, object()))) != checksum(Sized((3, object())))
