"""States of foreign objects go through JSON and come back exactly."""

from __future__ import annotations

import json
import random
from collections import Counter, OrderedDict, defaultdict, deque
from enum import IntEnum
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from outlast.exceptions import CapabilityError
from outlast.storage.format import json_text, limits
from outlast.storage.format.dtypes import Bits
from outlast.storage.format.encoding import Immutable, decode, encode


class Kind(IntEnum):
    ONE = 1


KEYS = st.one_of(
    *(st.text(), st.integers(), st.booleans(), st.none(), st.tuples(st.integers())),
    *(st.binary(), st.frozensets(st.integers())),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner),
        st.sets(KEYS),
        st.frozensets(KEYS),
        st.dictionaries(KEYS, st.integers(), max_size=4).map(Counter),
        st.dictionaries(KEYS, inner, max_size=4).map(OrderedDict),
        st.builds(deque, st.lists(inner), st.none() | st.integers(0, 5)),
        st.binary().map(bytearray),
        st.lists(inner).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(st.sampled_from(["$", "$tuple", "a"]), inner),
    ),
    max_leaves=20,
)


def there_and_back(value: object) -> Any:
    plain, arrays, _ = encode(value, "state")
    return decode(json.loads(json.dumps(plain, allow_nan=False)), arrays)


def same(one: Any, other: Any) -> bool:
    """Equal, of equal type, in equal order, to the sign of zero; NaN is NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, deque) and one.maxlen != other.maxlen:
        return False
    if isinstance(one, list | tuple | deque):
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
    plain, arrays, _ = encode(value, "state")
    assert list(arrays) == ["state/optimizer/0", "state/optimizer/m/0"]
    back = decode(plain, arrays)
    assert back["optimizer"][0] is arrays["state/optimizer/0"]


def test_two_paths_that_read_alike_have_two_names() -> None:
    value = {"a/b": np.array(1), "a": {"b": np.array(2)}, 1: {"x": np.array(3)}, "1": {"x": np.array(4)}}
    plain, arrays, _ = encode(value, "s")
    assert len(arrays) == 4
    back = decode(plain, arrays)
    assert [back["a/b"], back["a"]["b"], back[1]["x"], back["1"]["x"]] == [1, 2, 3, 4]


def test_numpy_scalars_stay_scalars_of_their_type() -> None:
    for scalar in (np.float32(0.1), np.int64(3), np.bool_(True), np.float64("nan")):
        back = there_and_back([scalar])[0]
        assert type(back) is type(scalar)
        assert back.tobytes() == scalar.tobytes()


def test_a_scalar_that_numpy_lacks_comes_back_as_bits_once_it_was_on_disk() -> None:
    plain, arrays, _ = encode(ml_dtypes.bfloat16(1.5), "s")
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
        ({"a": [{1, 2j}]}, "state/a/0/"),
        ({"model": {"f": len}}, "state/model/f: builtin_function_or_method is not supported; store numbers"),
        ({"c": 1j}, "state/c: complex is not supported; store numbers, text, bytes, arrays, or"),
        ({"t": torch.ones(1)}, "state/t: torch.Tensor is not supported; convert it with np.asarray"),
        ({"size": torch.Size([1])}, "state/size: torch.Size is not supported; convert it with tuple()"),
        (
            {"d": defaultdict(int)},
            "state/d: collections.defaultdict is not supported; convert it with dict",
        ),
        (
            {"e": Kind.ONE},
            "state/e: tests.storage.test_encoding.Kind is not supported; convert it with int",
        ),
        ({"s": np.str_("a")}, "state/s: numpy.str_ is not supported; convert it with str()"),
        ({"i": 1 << 20_000}, "state/i: an integer of 20,001 bits; at most 14,000"),
        ({"l": [1, -(1 << 20_000)]}, "state/l/1: an integer of 20,001 bits; at most 14,000"),
        ({"o": np.array([None])}, "state/o: an array of object"),
        ({1j: 1}, "the key 1j of state: complex is not supported"),
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
        {"$tuple": {"a": 1}},
        {"$float": None},
        {"$float": "1"},
        {"$bytes": 3},
        {"$immutable": "missing"},
        {"$set": [[]]},
        {"$deque": [-1, []]},
        {"$deque": [1]},
        {"$tuple": [], "b": 1},
        {"$counter": {"a": 1}},
    ],
)
def test_what_was_never_encoded_is_refused(plain: object) -> None:
    with pytest.raises(ValueError):
        decode(plain, {})


def test_bytes_are_arrays_and_not_text() -> None:
    plain, arrays, _ = encode({"booster": b"\x00\xff" * 1000}, "s")
    assert plain == {"booster": {"$bytes": "s/booster"}}
    assert arrays["s/booster"].nbytes == 2000


def test_equal_sets_are_written_alike_whatever_their_order() -> None:
    words = [f"word {n}" for n in range(100)]
    assert encode(set(words), "s").json_value == encode(set(reversed(words)), "s").json_value


@pytest.mark.parametrize("keys", [["a" * 300 + str(n) for n in range(50)], ["é", "è", "ê"], ["a,b", "a[b"]])
def test_names_are_short_plain_and_each_its_own(keys: list[str]) -> None:
    value = {key: np.array(n) for n, key in enumerate(keys)}
    plain, arrays, _ = encode(value, "s")
    assert len(arrays) == len(keys)
    assert all(len(name) < 210 and name.isascii() for name in arrays)
    assert decode(plain, arrays) == value


def test_a_name_that_was_given_for_a_twin_is_not_given_again() -> None:
    value = {"a/b": np.array(1), "a": {"b": np.array(2), "b#2": np.array(3)}, "a/b#2": np.array(4)}
    plain, arrays, _ = encode(value, "s")
    assert len(arrays) == 4
    assert decode(plain, arrays) == value


def test_an_immutable_value_is_named_once_however_often_it_is_there() -> None:
    best, other = Immutable({"w": np.ones(2)}), Immutable({"w": np.ones(2)})
    plain, arrays, parts = encode({"a": best, "b": [best], "c": other}, "s")
    assert plain == {"a": {"$immutable": "s/a"}, "b": [{"$immutable": "s/a"}], "c": {"$immutable": "s/c"}}
    assert parts == {"s/a": best, "s/c": other} and arrays == {}
    assert decode(plain, arrays, parts) == {"a": best, "b": [best], "c": other}


def test_what_is_nested_as_deep_as_can_be_comes_back_and_deeper_is_refused_by_both() -> None:
    deep: Any = 1
    for _ in range(limits.DEPTH):
        deep = {1: deep}
    assert there_and_back(deep) == deep
    with pytest.raises(CapabilityError, match="nested more than"):
        encode([deep, {"a": deep}], "state")
    json_value = encode(deep, "state").json_value
    with pytest.raises(ValueError, match="nested more than"):
        decode([[json_value]], {})


def test_the_longest_integer_can_be_read_again() -> None:
    longest = (1 << limits.INTEGER_BITS) - 1
    assert json_text.parsed(json.dumps(encode(longest, "s").json_value).encode()) == longest


@pytest.mark.parametrize("text", [b"1e999", b"-1e999", b"1" * 400 + b".0", b"1" * 5000])
def test_a_number_that_nobody_can_use_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        json_text.parsed(b'{"size": ' + text + b"}")
