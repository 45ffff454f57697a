"""What a loop carries from one turn to the next, as its code says."""

from __future__ import annotations

import ast
from textwrap import dedent, indent

import pytest

from outlast.core.carried import look
from outlast.core.handed import handed_over
from outlast.core.places import counted, place_at


def in_a_loop(body: str, behind: str = "pass") -> list[str]:
    """What a loop of batches with such a body carries; ``behind`` it is the rest of the epoch."""
    code = "for epoch in run.epochs(3):\n    for i, x in batches:\n"
    code += indent(dedent(body).strip(), " " * 8) + "\n" + indent(dedent(behind).strip(), " " * 4)
    return names_at(code, 2)


def names_at(code: str, line: int) -> list[str]:
    place = place_at(ast.parse(dedent(code).lstrip()), line)
    assert place is not None
    return [one.name for one in look(place).carried]


@pytest.mark.parametrize(
    ("body", "behind", "names"),
    [
        ("total += f(x)", "run.log(loss=total)", ["total"]),
        ("total = total + f(x)", "run.log(loss=total)", ["total"]),
        ("self.total += f(x)", "run.log(loss=self.total)", ["self.total"]),
        ("stats['loss'] += f(x)", "run.log(loss=stats['loss'])", ["stats"]),
        ("matrix[x.label] += 1", "run.log(a=matrix.trace())", ["matrix"]),
        ("losses.append(f(x))", "run.log(loss=sum(losses))", ["losses"]),
        ("metric.update(x)", "run.log(a=metric.compute())", ["metric"]),
        ("buffer[i] = x\ntrain(buffer)", "", ["buffer"]),
        ("key, sub = split(key)\nstep(sub)", "", ["key"]),
        ("hidden = model(x, hidden)\nloss = hidden.sum()", "", ["hidden"]),
        ("y = next(other)\nstep(x, y)", "", ["other"]),
        ("count += 1\nif count % 4 == 0: step()", "", ["count"]),
        ("if f(x) < best: best = f(x); keep(x)", "", ["best"]),
        ("if i % 10 == 0:\n    rate = f(x)\nstep(rate)", "", ["rate"]),
        ("while busy: busy = f(x)", "", ["busy"]),
        ("try:\n    total += f(x)\nexcept Error:\n    pass", "log(total)", ["total"]),
        ("with scope():\n    total += f(x)", "log(total)", ["total"]),
        ("match x:\n    case 1: count += 1", "log(count)", ["count"]),
    ],
)
def test_what_is_read_before_it_is_set_is_carried(body: str, behind: str, names: list[str]) -> None:
    assert in_a_loop(body, behind) == names


@pytest.mark.parametrize(
    ("body", "behind"),
    [
        ("loss = f(x)\nloss.backward()", "run.log(loss=loss)"),
        ("x = x.to(device)\nx += 1\nstep(x)", ""),
        ("total = 0\ntotal += f(x)\nstep(total)", ""),
        ("for one in x:\n    y = g(one)\n    step(y)", ""),
        ("if i: y = 1\nelse: y = 2\nstep(y)", ""),
        ("with scope() as y: step(y)", ""),
        ("total += f(x)", ""),  # nobody reads it
        ("count += 1\nprint(count)", ""),
        ("seen.append(x)", ""),
        ("elapsed = time() - began\nbegan = time()", ""),
        ("y = [one for one in x]\nstep(y)", ""),
        ("def closure(): return f(x)\noptimizer.step(closure)", ""),
        ("nn.utils.clip_grad_norm_(model.parameters(), 1.0)\noptimizer.step()", ""),
        ("import math\nstep(math.pi)", ""),
    ],
)
def test_what_is_set_first_or_read_by_nobody_is_not(body: str, behind: str) -> None:
    assert in_a_loop(body, behind or "pass") == []


def test_a_loop_is_found_by_any_line_of_what_it_goes_through() -> None:
    tree = ast.parse("for x in run.batches(\n    loader,\n):\n    for y in x: pass\n")
    assert [place_at(tree, line) is not None for line in (1, 2, 3, 4, 5)] == [True, True, True, True, False]


def test_a_loop_alone_in_a_function_is_read_by_the_function() -> None:
    code = (
        "def train(loader):\n    total = 0\n    for x in run.batches(loader): total += x\n    return total\n"
    )
    assert names_at(code, 3) == ["total"]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("for i, x in enumerate(run.batches(a)): step(x, i % 4)", "i"),
        ("for i, x in enumerate(run.batches(a)): print(i)", None),
        ("for i, x in enumerate(run.batches(a)): step(x)", None),
        ("for i, x in run.batches(enumerate(a)): step(x, i)", None),
        ("for i, x in tqdm(enumerate(run.batches(a)), total=4): step(x, i)", "i"),
        ("for i, x in enumerate(tqdm(run.batches(a)), 1): step(x, i)", "i"),
        ("for i, x in zip(count(), run.batches(a)): step(x, i)", "i"),
        ("for x, i in zip(run.batches(a), itertools.count(1)): step(x, i)", "i"),
        ("for i, x in zip(range(9), run.batches(a)): step(x, i)", "i"),
        ("for y, x in zip(other, run.batches(a)): step(x, y)", None),
        ("for i, x in enumerate(run.batches(a)):\n    if i % 2 == 0: print(x)", None),
    ],
)
def test_a_counter_counts_if_it_is_read(code: str, name: str | None) -> None:
    place = place_at(ast.parse(code), 1)
    assert place is not None
    assert look(place).counter == name
    assert name in (None, counted(place.loop))


def test_what_is_handed_over_is_known_with_its_place() -> None:
    code = "run.state = {'params': params}\nrate = other\nself.rate = rate\n"
    assert handed_over(ast.parse(code)) == {"params": {"run.state"}, "rate": {"self.rate"}}
