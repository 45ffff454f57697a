"""States of foreign objects go through JSON and come back exactly."""

from __future__ import annotations

import json
import random
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from outlast.exceptions import CapabilityError
from outlast.storage.format.dtypes import Bits
from outlast.storage.format.encoding import decode, encode

KEYS = st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.tuples(st.integers()))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(st.sampled_from(["$", "$tuple", "a"]), inner),
    ),
    max_leaves=20,
)


def there_and_back(value: object) -> Any:
    plain, arrays = encode(value, "state")
    return decode(json.loads(json.dumps(plain, allow_nan=False)), arrays)


def same(one: Any, other: Any) -> bool:
    """Equal, of equal type, in equal order, to the sign of zero; NaN is NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same([*one.items()], [*other.items()])
    return bool(one == other)


@given(VALUES)
@settings(deadline=None)
def test_any_nesting_comes_back_exactly(value: object) -> None:
    assert same(value, there_and_back(value))


def test_arrays_stand_aside_under_names_that_say_where_they_were() -> None:
    value = {"optimizer": {0: np.ones(2), "m": [np.zeros(3)]}}
    plain, arrays = encode(value, "state")
    assert list(arrays) == ["state/optimizer/0", "state/optimizer/m/0"]
    back = decode(plain, arrays)
    assert back["optimizer"][0] is arrays["state/optimizer/0"]


def test_two_paths_that_read_alike_have_two_names() -> None:
    value = {"a/b": np.array(1), "a": {"b": np.array(2)}, 1: {"x": np.array(3)}, "1": {"x": np.array(4)}}
    plain, arrays = encode(value, "s")
    assert len(arrays) == 4
    back = decode(plain, arrays)
    assert [back["a/b"], back["a"]["b"], back[1]["x"], back["1"]["x"]] == [1, 2, 3, 4]


def test_numpy_scalars_stay_scalars_of_their_type() -> None:
    for scalar in (np.float32(0.1), np.int64(3), np.bool_(True), np.float64("nan")):
        back = there_and_back([scalar])[0]
        assert type(back) is type(scalar)
        assert back.tobytes() == scalar.tobytes()


def test_a_scalar_that_numpy_lacks_comes_back_as_bits_once_it_was_on_disk() -> None:
    plain, arrays = encode(ml_dtypes.bfloat16(1.5), "s")
    assert plain == {"$scalar": "s"}
    bits = Bits("bfloat16", np.asarray(arrays["s"]).view(np.uint16))
    assert decode(plain, {"s": bits}) is bits


def test_the_state_of_pythons_and_torchs_own_objects_comes_back() -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
    groups = optimizer.state_dict()["param_groups"]
    assert same(groups, there_and_back(groups))
    state = random.Random(0).getstate()
    assert there_and_back(state) == state


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"a": [{1, 2}]}, "state/a/0: a set"),
        ({"model": {"f": len}}, "state/model/f: a builtin_function_or_method"),
        ({"c": 1j}, "state/c: a complex"),
        ({"t": torch.ones(1)}, "state/t: a Tensor"),
        ({"o": np.array([None])}, "state/o: an array of object"),
        ({frozenset(): 1}, "the key frozenset() of state: a frozenset"),
    ],
)
def test_what_has_no_place_is_refused_by_name(value: object, name: str) -> None:
    with pytest.raises(CapabilityError) as caught:
        encode(value, "state")
    assert str(caught.value).startswith(f"Cannot store {name}")


def test_a_cycle_is_refused() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(CapabilityError, match="nested more than"):
        encode(cycle, "state")


@pytest.mark.parametrize(
    "plain",
    [
        {"$unknown": 1},
        {"$tensor": "missing"},
        {"$tensor": ["list"]},
        {"$dict": [1]},
        {"$dict": [[[], 1]]},
        {"$tuple": 3},
        {"$float": None},
        {"$bytes": 3},
    ],
)
def test_what_was_never_encoded_is_refused(plain: object) -> None:
    with pytest.raises(ValueError):
        decode(plain, {})
