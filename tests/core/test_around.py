"""What a loop of the run is wrapped in, as the source says."""

from __future__ import annotations

import ast

import pytest

from outlast.core.source.around import Kind, Wrapping, hands_over, kind_by_name, kind_of, variables, wrappings
from outlast.core.source.names import last, path


def holds(one: ast.expr) -> bool:
    return last(getattr(one, "func", one)) in ("batches", "held")


def kinds(code: str, line: int = 1) -> list[Kind | None]:
    """Of the calls around the loop, the inner ones first, each of the package that has such a name."""
    modules = {"islice": "itertools", "batched": "itertools", "chain": "itertools", "cycle": "itertools"}
    modules |= {
        "deque": "collections",
        "chunked": "more_itertools.more",
        "prefetch": "flax",
        "bar": "tqdm.std",
    }
    found = wrappings(ast.parse(code), line, holds)
    names = [last(one.call.func) for one in found]
    return [
        kind_of(one, modules.get(name, "builtins"), name, holds)
        for one, name in zip(found, names, strict=True)
    ]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("for x in run.batches(loader): pass", []),
        ("for x in run.batches(islice(loader, 3)): pass", []),
        ("for x in islice(run.batches(loader), 3): pass", [Kind.COUNTS]),
        ("for x in islice(held, 3): pass", [Kind.COUNTS]),
        ("for x in islice(other, 3): pass", []),
        ("for i, x in enumerate(islice(held, 3)): pass", [Kind.COUNTS, None]),
        ("for x in islice((f(x) for x in held), 3): pass", [Kind.COUNTS]),
        ("for x in chain(*held): pass", [None]),
        ("for x in bar(held, total=3): pass", [None]),
        ("for x in list(held): pass", [Kind.GATHERS]),
        ("for x in deque(held, maxlen=2): pass", [Kind.GATHERS]),
        ("losses = list(step(x) for x in held)", [None]),
        ("for x in list(bar(held)): pass", [None, Kind.GATHERS]),
        ("for x in chunked(held, 3): pass", [Kind.GATHERS]),
        ("for x in prefetch(held): pass", [Kind.GATHERS]),
        ("for x in cycle(held): pass", [Kind.GATHERS]),
        ("for i, x in zip(range(3), held): pass", [Kind.COUNTS]),
        ("for i, x in zip(range(len(loader)), held): pass", [None]),
        ("for i, x in zip(count(), held): pass", [None]),
        ("for x, y in zip(held, other): pass", [Kind.BESIDE]),
        ("for x, y in zip(range(3), held, other): pass", [Kind.BESIDE]),
    ],
)
def test_each_wrapping_has_its_kind(code: str, expected: list[Kind | None]) -> None:
    assert kinds(code) == expected


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        ("for _ in range(3):", Kind.TURNS),
        ("while True:", None),
        ("if True:", None),
        ("for epoch in run.epochs(3):", None),
        ("for x in held:", None),
        ("for loader in all_loaders:\n    held = run.batches(loader)", None),
        ("for _ in range(3):\n  def batch():", None),
        ("for _ in range(3):\n  while True:", None),
    ],
)
def test_next_counts_in_a_for_over_something_else(around: str, expected: Kind | None) -> None:
    code = f"{around}\n    x = next(held)"
    assert kinds(code, line=code.count("\n") + 1) == [expected]


def test_only_the_line_at_hand_is_read() -> None:
    code = "for x in islice(\n    held,\n    3,\n):\n    other = list(held)"
    assert [kinds(code, line) for line in (1, 2, 5)] == [[Kind.COUNTS], [Kind.COUNTS], [Kind.GATHERS]]


def test_the_variables_of_a_line() -> None:
    assert [path(one) for one in variables(ast.parse("x = bar(self.held, n)\ny = z"), 1)] == [
        *("bar", "self.held", "n", "self"),
    ]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("for x in held: queue.put(x)", True),
        ("for x in held: queue.put_nowait(x, block=False)", True),
        ("for x in held: queue.put(loss)", False),
        ("for x in held: step(x)", False),
        ("for x, y in held: queue.put(x)", False),
        ("while True: queue.put(x)", False),
    ],
)
def test_a_loop_may_only_hand_over(code: str, expected: bool) -> None:
    assert hands_over(ast.parse(code).body[0]) is expected


def test_a_pool_takes_batches_ahead_and_another_package_does_not() -> None:
    assert kind_by_name("concurrent.futures.thread", "map") is Kind.GATHERS
    assert kind_by_name("builtins", "map") is None
    assert kind_by_name("itertools", "starmap") is None
    assert kind_by_name("toolz.itertoolz", "take") is Kind.COUNTS
    assert not Wrapping(ast.parse("f(x)", mode="eval").body).turns  # type: ignore[arg-type]
