"""What may remember something from call to call, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from outlast.frameworks.memories import may_remember

WEIGHTS = np.ones(3)


def plain(given: Any) -> Any:
    return given


def with_a_default(given: Any, share: float = 0.5, text: str = "", weights: Any = WEIGHTS) -> Any:
    return given


def with_a_list(given: Any, seen: list[Any] = []) -> Any:  # noqa: B006
    seen.append(given)


def counting_globally(given: Any) -> Any:
    global calls
    calls = 1


def counting_itself(given: Any) -> Any:
    counting_itself.calls = 1  # type: ignore[attr-defined]


def around(held: Any) -> Callable[[Any], Any]:
    return lambda given: (given, held)


def counting() -> Callable[[Any], Any]:
    calls = 0

    def count(given: Any) -> Any:
        nonlocal calls
        calls += 1

    return count


def counting_inside() -> Callable[[Any], Any]:
    calls = 0

    def outer(given: Any) -> Any:
        def count() -> None:
            nonlocal calls
            calls += 1

        count()

    return outer


def with_a_function_inside(given: Any) -> Any:
    total = 0

    def add() -> None:
        nonlocal total
        total += given

    add()
    return total


def writing(weights: Any) -> Callable[[Any], Any]:
    def write(given: Any) -> Any:
        weights[0] += 1

    return write


class Fixed:
    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, given: Any) -> Any:
        return given * self.share

    def method(self, given: Any) -> Any:
        return self(given)


class Counting:
    calls = 0

    def __call__(self, given: Any) -> Any:
        self.calls += 1

    def method(self, given: Any) -> Any:
        self(given)

    @classmethod
    def of_the_class(cls, given: Any) -> Any:
        cls.calls += 1


class Derived(Counting):
    """Has its parent's memory."""


class Holding(Fixed):
    seen: list[Any] = []  # noqa: RUF012


@pytest.mark.parametrize(
    "thing",
    [
        *(
            None,
            plain,
            with_a_default,
            with_a_function_inside,
            print,
            Fixed(0.5),
            Fixed(0.5).method,
            partial(plain, 3),
        ),
        *(around(0.5), around("text"), around(plain), around(WEIGHTS), around((1, "a")), around(Fixed(0.5))),
    ],
    ids=lambda one: getattr(one, "__name__", type(one).__name__),
)
def test_numbers_texts_arrays_and_functions_remember_nothing(thing: Any) -> None:
    assert not may_remember(thing)


@pytest.mark.parametrize(
    "thing",
    [
        *(with_a_list, counting_globally, counting_itself, counting(), counting_inside(), writing(WEIGHTS)),
        *(around([]), around({}), around(([],)), around(counting()), around(Counting()), around(iter([]))),
        *(around(np.random.default_rng(0)), partial(plain, []), partial(counting())),
        *(Counting(), Counting().method, Counting.of_the_class, Derived(), Holding(0.5), Fixed([])),  # type: ignore[arg-type]
    ],
    ids=lambda one: getattr(one, "__name__", type(one).__name__),
)
def test_what_is_set_or_may_grow_is_a_memory(thing: Any) -> None:
    assert may_remember(thing)
