"""What a loop carries from one turn to the next, as its code says."""

from __future__ import annotations

import ast
from textwrap import dedent, indent

import pytest

from outlast.core.carried import carried, counted, handed_over, loop_at


def in_a_loop(body: str, behind: str = "pass") -> list[str]:
    """What a loop of batches with such a body carries; ``behind`` it is the rest of the epoch."""
    code = "for epoch in run.epochs(3):\n    for i, x in batches:\n"
    code += indent(dedent(body).strip(), " " * 8) + "\n" + indent(dedent(behind).strip(), " " * 4)
    found = loop_at(ast.parse(code), 2)
    assert found is not None
    return carried(*found)


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
    assert [loop_at(tree, line) is not None for line in (1, 2, 3, 4, 5)] == [True, True, True, True, False]


def test_a_loop_alone_in_a_function_is_read_by_the_function() -> None:
    tree = ast.parse(
        "def train(loader):\n    total = 0\n    for x in run.batches(loader): total += x\n    return total\n"
    )
    found = loop_at(tree, 3)
    assert found is not None and carried(*found) == ["total"]


def test_a_counter_counts_if_it_is_read() -> None:
    def name(code: str) -> str | None:
        (loop,) = ast.parse(code).body
        assert isinstance(loop, ast.For)
        return counted(loop)

    assert name("for i, x in enumerate(run.batches(a)): step(x, i % 4)") == "i"
    assert name("for i, x in enumerate(run.batches(a)): print(i)") is None
    assert name("for i, x in enumerate(run.batches(a)): step(x)") is None
    assert name("for i, x in run.batches(enumerate(a)): step(x, i)") is None


def test_what_is_handed_over_is_known_with_its_place() -> None:
    code = "run.state = {'params': params}\nrate = other\nself.rate = rate\n"
    assert handed_over(ast.parse(code)) == {"params": {"run.state"}, "rate": {"self.rate"}}
