"""Any state that is accepted comes back from a file as it was: values, types, how arrays lie in memory."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from outlast.exceptions import CapabilityError
from outlast.frameworks.tensors import stored, to_arrays, to_tensors
from outlast.storage import resume_points
from outlast.storage.format.dtypes import NATIVE, Bits
from outlast.storage.resume_points import ResumePoint

# Keys that could be mixed up with each other, or with what stands in the file.
_ALIKE = [
    "",
    "a",
    "b",
    "a/b",
    "a/b/c",
    "a#2",
    "a#3",
    "a,",
    "a_",
    "0",
    "1",
    "/",
    "//",
    "#",
    "é",
    "\ud800",
    "\0",
]
_OURS = ["manifest", "state", "log/history.csv", "crc32.a", "dtype.a", "__metadata__", "header"]
_TAGS = ["$", "$tensor", "$memory", "$dict", "$tuple", "$immutable"]
KEYS = st.one_of(
    st.sampled_from([*_ALIKE, *_OURS, *_TAGS, "x" * 500]),
    st.sampled_from([0, 1, -1, 2**70, True, None, (0,), ("a", 1), b"a", frozenset({1}), np.int64(3), 0.5]),
    st.text(max_size=4),
)
DTYPES = st.sampled_from(sorted(NATIVE)).map(np.dtype)


def laid_out(drawn: tuple[Any, Any, bool]) -> Any:
    """An array whose axes, or whose bytes, lie in memory in another order."""
    array, order, is_swapped = drawn
    array = np.transpose(array, order.permutation(array.ndim))
    return array.astype(array.dtype.newbyteorder(">")) if is_swapped else array


ARRAYS = st.one_of(
    st.tuples(
        arrays_of.arrays(DTYPES, arrays_of.array_shapes(min_dims=0, min_side=0, max_side=3)),
        st.integers(0, 9).map(np.random.default_rng),
        st.booleans(),
    ).map(laid_out),
    DTYPES.flatmap(lambda dtype: arrays_of.arrays(dtype, ())).map(lambda array: array[()]),  # scalars
    st.sampled_from(["bfloat16", "float8_e4m3fn", "int4"]).map(
        lambda name: np.array([[0, 1, 2], [3, 4, 5]], getattr(ml_dtypes, name))
    ),
    st.sampled_from([ml_dtypes.bfloat16(1.5), ml_dtypes.int4(3)]),
)
TENSORS = st.one_of(
    st.sampled_from([torch.float32, torch.bfloat16, torch.bool, torch.complex64, torch.int64]).flatmap(
        lambda dtype: st.sampled_from(
            [
                torch.arange(24).reshape(2, 3, 4).to(dtype),
                torch.arange(24).reshape(2, 3, 4).to(dtype).permute(2, 0, 1),
                torch.arange(24).reshape(2, 3, 4).to(dtype)[:, 1:, ::2],
                torch.arange(24).reshape(4, 6).to(dtype).t()[::3],
                torch.zeros((0, 3), dtype=dtype),
                torch.tensor(1, dtype=dtype),
                torch.ones(2, 3, 4, 5).to(dtype).to(memory_format=torch.channels_last),
            ]
        )
    ),
    st.booleans().map(lambda wanted: torch.ones(2, requires_grad=wanted)),
    st.booleans().map(lambda wanted: torch.nn.Parameter(torch.ones(2, 3).t(), requires_grad=wanted)),
)


class Own(np.ndarray):  # type: ignore[type-arg]
    """An array with methods of its own."""


def trees(leaves: Any) -> Any:
    plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.binary())
    return st.recursive(
        st.one_of(leaves, leaves, plain),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.builds(deque, st.lists(inner, max_size=4), st.none() | st.integers(0, 5)),
            st.dictionaries(KEYS, inner, max_size=4),
            st.dictionaries(KEYS, inner, max_size=4).map(OrderedDict),
        ),
        max_leaves=12,
    )


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder in memory, where files are quickly synced."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    shutil.rmtree(folder)


def from_file(place: Path, state: Any) -> Any:
    for path in place.iterdir():
        path.unlink()
    resume_points.seal(str(place), ResumePoint(1, state, run="0123abcd" * 4))
    resume_points.peek(str(place), 1)
    resume_points.verify(str(place), 1)
    return resume_points.load(str(place), 1).state


def same(one: Any, other: Any) -> bool:
    """Equal, of equal type, to the bit, in the same order, in the same order of axes in memory."""
    if isinstance(other, Bits):
        is_of_ml_dtypes = isinstance(one, np.ndarray | np.generic) and one.dtype.name == other.dtype
        return is_of_ml_dtypes and same(np.asarray(one), other.numpy())
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        kinds = (one.dtype, one.shape, one.requires_grad)
        if kinds != (other.dtype, other.shape, other.requires_grad) or one.stride() != other.stride():
            return False
        return one.numel() == 0 or torch.equal(one, other)
    if isinstance(one, np.ndarray):
        if (one.dtype, one.dtype.str, one.shape) != (other.dtype, other.dtype.str, other.shape):
            return False
        flags = [(it.flags.c_contiguous, it.flags.f_contiguous) for it in (one, other)]
        return flags[0] == flags[1] and one.tobytes() == other.tobytes()
    if isinstance(one, np.generic):
        return bool(one.dtype == other.dtype) and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return same([*one.items()], [*other.items()])
    if isinstance(one, deque) and one.maxlen != other.maxlen:
        return False
    if isinstance(one, list | tuple | deque):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other) if isinstance(one, float | frozenset) else bool(one == other)


@given(state=trees(ARRAYS))
@settings(max_examples=2000, deadline=None)
def test_any_state_of_arrays_comes_back(place: Path, state: Any) -> None:
    assert same(state, from_file(place, state))


@given(state=trees(st.one_of(TENSORS, ARRAYS)))
@settings(max_examples=1000, deadline=None)
def test_any_state_of_tensors_comes_back(place: Path, state: Any) -> None:
    back = to_tensors(*from_file(place, stored(state, "state")))
    assert same(state, back)


@pytest.mark.parametrize(
    ("value", "way_out"),
    [
        (np.ma.array([1.0, 2.0], mask=[False, True]), "store its data and its mask, as two arrays"),
        (np.ones((1, 2)).view(Own), "convert it with np.asarray"),
    ],
)
def test_an_array_that_is_more_than_its_numbers_is_refused(value: object, way_out: str) -> None:
    with pytest.raises(CapabilityError, match=way_out):
        resume_points.draft({"a": value})


def test_a_key_of_ours_is_refused() -> None:
    with pytest.raises(
        CapabilityError, match="Cannot store state/a: its key 'sparse tensor' is outlast's own"
    ):
        to_arrays({"a": {"sparse tensor": 1}}, "state")


def test_sums_of_what_came_back_are_the_same(place: Path) -> None:
    rng = np.random.default_rng(0)
    state = [np.asfortranarray(rng.normal(size=(300, 200)).astype(np.float32)) for _ in range(5)]
    back = from_file(place, state)
    assert [one.sum() for one in back] == [one.sum() for one in state]
    assert [np.ascontiguousarray(one).sum() for one in state] != [one.sum() for one in state]  # it matters


def test_counters_come_back(place: Path) -> None:
    assert same(from_file(place, [Counter({"a/b": 2, 1: 3})]), [Counter({"a/b": 2, 1: 3})])


def test_sums_of_tensors_with_gaps_that_came_back_are_the_same(place: Path) -> None:
    torch.manual_seed(0)
    state = [torch.randn(301, 2 * 211)[:, ::2] for _ in range(5)]
    back = to_tensors(*from_file(place, stored(state, "state")))
    assert [one.stride() for one in back] == [(422, 2)] * 5
    assert [one.sum().item() for one in back] == [one.sum().item() for one in state]
    assert [one.contiguous().sum().item() for one in back] != [
        one.sum().item() for one in state
    ]  # it matters
