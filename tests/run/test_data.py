"""Sources of data come to the place where another process was, whatever they are made of."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from outlast.exceptions import ArgumentError, UsageError
from outlast.frameworks.sources import Source, stream
from outlast.run.batches import checksum
from outlast.run.data import Data


def source(made_of: Any, steps: int | None = None) -> Any:
    found = stream(made_of, checksum, steps, 2, True)
    found.for_fit = found
    return found


def endless() -> Iterator[int]:
    while True:
        yield random.randrange(1000)


def pairs() -> Iterator[int]:
    yield from (random.randrange(1000) for _ in range(5))


def epochs(data: Data, fetch: Callable[[], Any], count: int, steps: int = 3) -> list[Any]:
    fetched = []
    for _ in range(count):
        data.begin_epoch()
        fetched.append([fetch() for _ in range(steps)])
        data.end_epoch(steps)
    return fetched


@pytest.mark.parametrize("made_of", [endless, pairs, lambda epoch: iter(range(epoch, epoch + 3)), [1, 2, 3]])
def test_another_process_fetches_what_this_one_would_have(made_of: Any) -> None:
    def begun(saved: Any = None) -> tuple[Data, Any]:
        random.seed(0)
        data, first = Data(), source(made_of)
        data.add(first).fetch()  # as a loop looks at the data before
        if saved is not None:
            data.put_back(saved)
        return data, first

    data, first = begun()
    data.begin(3)
    whole = epochs(data, first.fetch, 2)
    saved, state = data.collect(), random.getstate()
    whole += epochs(data, first.fetch, 2)
    data, first = begun(saved)
    random.setstate(state)
    data.begin(3)
    assert random.getstate() == state
    assert data.collect() == saved
    assert epochs(data, first.fetch, 2) == whole[2:]


def test_what_is_fetched_ahead_counts_in_its_own_epoch() -> None:
    data, first = Data(), source(lambda: iter(range(100)))
    data.add(first)
    data.begin(3)
    fetched = [first.fetch() for _ in range(5)]
    batches = [data.end_epoch(3), (first.fetch(), data.end_epoch(3))[1]]
    assert batches == [[checksum(one) for one in fetched[:3]], [checksum(one) for one in (3, 4, 5)]]
    assert data.collect()[0]["taken"] == 6


def test_a_cell_that_runs_again_makes_its_sources_again() -> None:
    data = Data()
    data.add(source([1, 2, 3]))
    data.begin(3)
    data.add(source([1, 2, 3]))
    data.begin(3)
    assert len(data.collect()) == 1


def test_data_without_a_length_or_without_a_batch_are_refused() -> None:
    class Endless(Source):
        num_batches = None

    data, endless = Data(), Endless(checksum)
    endless.for_fit = endless
    data.add(endless)
    with pytest.raises(UsageError, match=r"pass fit\(steps_per_epoch=\.\.\.\), or run.data\(\.\.\., steps="):
        data.begin(None)
    with pytest.raises(UsageError, match="have no batches"):
        source([]).fetch()
    with pytest.raises(ArgumentError, match="cannot be begun again"):
        source(iter([1]))
