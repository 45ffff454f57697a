"""What a loop carries from one turn to the next, as its code says."""

from __future__ import annotations

import ast
import sys
from textwrap import dedent, indent
from typing import Any

import pytest

from outlast.core.source.carried import Carried, counters, look
from outlast.core.source.handed import handed_over
from outlast.core.source.places import counted, place_at


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
        ("meter.update(f(x), len(x))", "run.log(loss=meter.avg)", ["meter"]),
        ("self.meter.add(f(x))", "run.log(loss=self.meter.value())", ["self.meter"]),
        ("accuracy(x, y)", "run.log(acc=accuracy.compute())", ["accuracy"]),
        ("if (n := n + 1) % 3 == 0: step(x)", "", ["n"]),
        ("w = queue.pop(0)\nstep(x * w)", "", ["queue"]),
        ("left.discard(x)", "run.log(n=len(left))", ["left"]),
        ("groups.setdefault(x.label, []).append(f(x))", "run.log(n=len(groups))", ["groups"]),
        ("total.add_(f(x))", "run.log(loss=total)", ["total"]),
        ("counts[x.label].add_(1)", "run.log(n=counts[0])", ["counts"]),
        ("np.add.at(histogram, x.label, 1)", "run.log(n=histogram[0])", ["histogram"]),
        ("random.shuffle(order)\nstep(x[order])", "", ["order"]),
        ("now = replace(now, step=now.step + 1)\nset_rate(now.step)", "", ["now"]),
        ("n += 1\nrate = lambda: 1 / n\nstep(x, rate())", "", ["n"]),
        ("n += 1\ndef rate(): return 1 / n\nstep(x, rate())", "", ["n"]),
        ("n += 1\noptimizer.param_groups[0]['lr'] = 1 / n", "", ["n"]),
        ("n += 1\ntorch.manual_seed(n)", "", ["n"]),
        ("if f(x) > 9: worst = x", "look_at(worst)", ["worst"]),
        ("total += f(x)", "mean = total / 9\nrun.log(loss=mean)", ["total"]),
        ("n += 1\nif n > 9: break", "", ["n"]),
        ("seen.append(x)", "for y in seen:\n    if y: z = y\nstep(z)", ["seen"]),
        ("seen.append(x)", "if seen: y = seen\nstep(y)", ["seen"]),
        ("total = total + x\nmean = total / 9\nrun.log(mean=mean)", "mean = 0", ["total"]),
        ("y = g\ny = f(x) + total\ntotal += y", "y = f\nrun.log(loss=total)", ["total"]),
        ("n += 1\nrate = lambda: now\nnow = 1 / n\nstep(x, rate())", "", ["n"]),
        ("stats[0].total += f(x)", "run.log(loss=stats[0].total)", ["stats"]),
        ("while False: pass\nelse: n += 1\nif n > 9: step(x)", "", ["n"]),
        ("while busy(): pass\nelse:\n    n += 1\n    if n > 9: step(x)", "", ["n"]),
        ("v.mul_(0.9)\nv.add_(x)\nw.add_(v)", "", ["v"]),  # w may be a weight of the model
        ("v = 0.9 * v + x.grad\nw.data -= v", "", ["v"]),
        ("setattr(self, 'n', self.n + 1)\nstep(self.n)", "", ["self.n"]),
        (
            "for a, w in zip(ema.parameters(), net.parameters()):\n    a.mul_(0.9).add_(w)\nema(x)",
            "",
            ["ema"],
        ),
        ("for a, w in zip(ema, net): a.data = a.data * 0.9 + w.data\nstep(ema)", "", ["ema"]),
        ("for i, (a, w) in enumerate(zip(ema, net)): a += (w - a) / i\nstep(ema)", "", ["ema"]),
        ("for k, a in ema.state_dict().items(): a.mul_(x)\nstep(ema(x))", "", ["ema"]),
        ("for g in groups:\n    for w in g['w']: w.sub_(x)\nstep(groups)", "", ["groups"]),
        ("for w in chain(one, list(two)): w.mul_(x)\nstep(one, two)", "", ["one", "two"]),
        ("for w in (one, two): w.mul_(x)\nstep(one, two)", "", ["one", "two"]),
        ("[v.mul_(0.9) for v in velocity]\nstep(velocity)", "", ["velocity"]),
        ("if i: v = velocity[i]\nelse: v = velocity[0]\nv.mul_(x)\nstep(v)", "", ["velocity"]),
        ("v = velocity[i]\nv.mul_(x)\nstep(v)", "", ["velocity"]),
        ("sums = ema.state_dict()\nfor k in sums:\n    sums[k].mul_(x)\nstep(ema(x))", "", ["ema"]),
        ("for m in metrics: m.update(x)", "for m in metrics: run.log(a=m.compute())", ["metrics"]),
        ("y = target(x)\nif i % 9 == 0: target.load_state_dict(net.state_dict())\nstep(y)", "", ["target"]),
        ("y = target(x)\nok = target.load_state_dict(net.state_dict())\nstep(y, ok)", "", ["target"]),
        (
            "if f(x) > best: best = f(x)\nif f(x) > best: kept = copy(w)",
            "w.load_state_dict(kept)",
            ["best", "kept"],
        ),
        ("np.multiply(m, 0.9, out=m)\nstep(m)", "", ["m"]),
        ("y = torch.lerp(m, x, 0.1, out=m)\nstep(y)", "", ["m"]),
        ("np.multiply(m[0], 0.9, out=m[0])\nstep(m)", "", ["m"]),
        ("torch._foreach_mul_(velocity, 0.9)\nstep(velocity)", "", ["velocity"]),
        ("average.update_parameters(net)", "evaluate(average)", ["average"]),
        ("p = ema * 2\nema = 0.9 * ema + f(x)", "rate = p(ema)\nprint(rate)", ["ema"]),
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
        ("accuracy(x, y)", "run.log(loss=f(x))"),
        ("bar.update(1)\nbar.set_postfix(loss=f(x))", "bar.close()"),
        ("total += f(x)\nbar.set_postfix(loss=total / (i + 1))", ""),
        ("total += f(x)", "mean = total / 9\ntext = f'{mean:.2f}'\nprint(text)"),
        ("total += f(x)", "logger.info('loss %f', total)"),
        ("total += f(x)", "sys.stdout.write(str(total))"),
        ("count += 1\nif count % 4 == 0: print(x)", ""),
        ("if first:\n    print('begun')\n    first = False", ""),
        ("while True:\n    y = f(x)\n    break\nstep(y)", ""),
        ("match i:\n    case 0: y = 1\n    case _: y = 2\nstep(y)", ""),
        ("try: y = f(x)\nexcept Error: y = 0\nstep(y)", ""),
        ("if x is None: continue\nelse: y = x\nstep(y)", ""),
        ("buffer[:] = x\nstep(buffer)", ""),
        ("buffer.copy_(x)\nstep(buffer)", ""),
        ("seen += len(x)\nnow = time()\nrun.log(speed=seen / (now - began))\nbegan, seen = now, 0", ""),
        ("timer.update(time() - began)\nbegan = time()", "run.log(time=timer.avg)"),
        ("if (loss := f(x)) > 9: step(loss)", "run.log(loss=loss)"),
        ("generator.manual_seed(i)\nstep(generator)", ""),
        ("y = f(x)\nseen.append(y)\nrun.log(loss=y)", "for i, y in enumerate(seen): print(i, y)"),
        ("y = f(x)\nseen.append(y)\nrun.log(loss=y)", "for i, y in zip(range(3), seen): print(i, y)"),
        ("target.load_state_dict(net.state_dict())\nstep(target(x))", ""),
        ("for a, w in zip(target, net): a.copy_(w)\nstep(target)", ""),
        ("for w in weights: w.grad.zero_()\nstep(weights)", ""),
        ("for w in weights: w.requires_grad_(False)\nstep(weights)", ""),
        ("for w in weights: w = w * 2\nstep(weights)", ""),
        ("for w in weights:\n    w = w.clone()\n    w.mul_(2)\n    step(w)", ""),
        ("for batch in others: batch['x'] = batch['x'].to(device)\nstep(others)", ""),
        ("y = x[0]\ny.mul_(2)\nstep(y)", ""),
        ("buffer = pinned[0]\nbuffer.copy_(x)\nstep(buffer)", ""),
        ("np.multiply(x, 2, out=m)\nstep(m)", ""),
        (
            "for m in metrics: m.reset()\nfor m in metrics: m.update(x)\nrun.log(a=metrics)",
            "",
        ),
        ("seen.append(x)", "y = [one for one in seen]\nprint(y)\none = f(x)\nstep(one)"),
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
    code = "params = run.state['params']\nrate = self.rate\n"
    code += "run.state = {'params': params}\nrate = other\nself.rate = rate\n"
    assert handed_over(ast.parse(code)) == {"params": {"run.state"}, "rate": {"self.rate"}}


def test_what_is_read_after_the_outermost_loop_counts() -> None:
    loops = "for epoch in run.epochs(2):\n    for x in run.batches(a): losses.append(x)\n"
    assert names_at(loops, 2) == []
    assert names_at(f"{loops}plot(losses)", 2) == ["losses"]
    assert names_at(f"{loops}losses = []\nplot(losses)", 2) == []
    assert names_at(f"{loops}print(losses)", 2) == []
    inside = "def main():\n    if True:\n" + indent(loops, " " * 8) + "    return losses\n"
    assert names_at(f"{inside}", 4) == ["losses"]


def test_what_the_functions_of_a_module_read_counts() -> None:
    loop = "for x in run.batches(a): n += 1\n"
    assert names_at(f"{loop}def rate(): return 1 / n\n", 1) == ["n"]
    assert names_at(f"{loop}def rate(n): return 1 / n\n", 1) == []
    assert names_at(f"{loop}def show(): print(n)\n", 1) == []


OUTSIDE = """
class Trainer:
    def __init__(self):
        self.steps = self.total = 0
    def epoch(self, stats, run):
        global seen
        count = 0
        for x in run.batches(a):
            self.steps += 1
            self.total += x
            stats['n'] += 1
            history.append(x)
            seen += 1
            count += 1
    def fit(self):
        self.total = 0
"""


def test_what_others_see_counts_and_outlasts_the_function() -> None:
    place = place_at(ast.parse(OUTSIDE), 8)
    assert place is not None
    outlasts = {one.name: one.outlasts for one in look(place).carried}
    assert outlasts == {
        "self.steps": True,
        "self.total": False,  # fit begins it again
        "stats": True,
        "history": True,
        "seen": True,
    }


@pytest.mark.parametrize(
    ("code", "line", "gathered"),
    [
        ("losses = [f(x) for x in run.batches(a)]\nrun.log(loss=sum(losses))", 1, "losses"),
        ("losses = [f(x) for x in run.batches(a)]", 1, None),
        ("[f(x) for x in run.batches(a)]", 1, None),
        ("run.log(\n    loss=sum(f(x) for x in run.batches(a)),\n)", 2, "result of line 2"),
        ("print(sum(f(x) for x in run.batches(a)))", 1, None),
        ("total = reduce(add, run.batches(a))\nrun.log(loss=total)", 1, "total"),
    ],
)
def test_a_comprehension_gathers_what_matters(code: str, line: int, gathered: str | None) -> None:
    place = place_at(ast.parse(code), line)
    assert place is not None
    assert look(place).gathered == gathered


def test_a_loop_may_ask_by_next() -> None:
    code = "it = iter(run.batches(a))\nwhile True:\n    x = next(it)\n    total += x\nrun.log(loss=total)\n"
    assert names_at(code, 3) == ["total"]
    assert place_at(ast.parse("it = iter(run.batches(a))\nfirst = next(it)\n"), 2) is None


def test_what_counts_the_batches_is_known() -> None:
    def found(code: str) -> bool:
        return "n" in counters(ast.parse(dedent(code)).body[0])

    assert found("for x in run.batches(a): n += 1")
    assert found("for e in run.epochs(2):\n    n = 0\n    for x in run.batches(a): n = n + 1")
    assert not found("for e in run.epochs(2):\n    n += 1\n    for x in run.batches(a): step(x)")
    assert not found("for x in run.batches(a):\n    if x: n += 1")
    assert not found("for x in run.batches(a): n += x")


def test_what_is_drawn_from_is_known_but_not_what_a_loader_is_given() -> None:
    code = (
        "for x in run.batches(DataLoader(a, generator=g)):\n    step(x + rng.normal())\n    y = f(x, key)\n"
    )
    place = place_at(ast.parse(f"for e in run.epochs(2):\n{indent(code, '    ')}"), 1, frozenset(("epochs",)))
    assert place is not None
    drawn = {one.name for one in look(place).drawn}
    assert {"rng", "key"} <= drawn and "g" not in drawn


@pytest.mark.parametrize(
    "code",
    [
        "n = run.extra.get('n', 0)\nrun.extra['n'] = n",
        "n: int = int(run.extra.get('n', 0))\nrun.extra.update(n=float(n))",
        "n = 0\nif 'n' in run.extra: n = run.extra['n']\nrun.extra['all'] = {'n': [n, 1]}",
        "kept = run.extra.get('kept', {})\nn = kept.get('n')\nrun.extra['kept'] = dict(n=n.tolist())",
        "def load(): return run.extra.get('n', 0)\nn = load()\nrun.extra['n'] = n.item()",
        "n = []\nn.extend(run.extra.get('n', []))\nrun.extra['n'] = [float(one) for one in n]",
        "m, n = run.extra.get('all', (0, 0))\nrun.extra['all'] = m, n",
        "n = load(run)\nself.run.extra['n'] = n",
    ],
)
def test_what_is_put_into_extra_and_read_from_it_is_handed_over(code: str) -> None:
    assert "n" in handed_over(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "n = 0\nn += f(x)\nrun.extra['n'] = n\nprint(run.extra['n'])",
        "n = n + run.extra['rate']\nrun.extra['n'] = n",
        "n = torch.zeros_like(w)\nw.add_(n)",
        "n = torch.zeros_like(w)\nw.copy_(torch.where(n > n.median(), w * 0.5, w))",
        "n = torch.zeros_like(w)\nw.data = w - rate * n",
        "n.mul_(0.9).add_(w.grad)\nw.add_(n, alpha=-1e-2)",
    ],
)
def test_what_is_only_written_or_used_to_change_something_is_not(code: str) -> None:
    assert "n" not in handed_over(ast.parse(code))


@pytest.mark.parametrize(
    ("body", "is_handed"),
    [
        ("s = step(s, x)\nrun.state = s", True),
        ("s = step(s, x)\nwith timer: run.state = {**run.state, 'params': s}", True),
        ("s = step(s, x)\nif f(x): run.state = s\nelse: s = run.state", True),
        ("for y in x:\n    s = step(s, y)\nrun.state = s", True),
        ("s = step(s, x)\nw.data = s.data\nrun.state = s", True),
        ("if f(x): s = run.state\nelif g(x): run.state = s", True),  # they are always the same
        ("run.state = f(run.state)\nif f(x): s = run.state\nelif g(x): run.state = s", False),
        ("if f(x): s = copy(run.state)\nelse: run.state = s\nrun.state = f(run.state)", False),
        ("run.state = s\ns = step(s, x)", False),
        ("s = step(s, x)\nif f(x): run.state = s", False),
        ("if f(x): s = deepcopy(run.state)\nif g(x): run.state.load_state_dict(s)", False),
        ("if f(x): s = run.state.clone()\nif g(x): run.state.copy_(s)", False),
        ("run.state['new'] = f(x)\nif f(x): s = run.state\nrun.state['old'] = s", True),
    ],
)
def test_to_load_a_variable_now_and_then_does_not_keep_it(body: str, is_handed: bool) -> None:
    tree = ast.parse("s = run.state\nfor x in run.batches(a):\n" + indent(body, "    "))
    assert ("s" in handed_over(tree, loop=tree.body[1])) == is_handed


def test_what_the_caller_gives_may_be_read_by_it_but_an_attribute_is_not() -> None:
    code = "def train(self, n):\n    run.extra['n'] = n\n    run.extra['m'] = self.m\n"
    assert {*handed_over(ast.parse(code).body[0])} == {"n"}


def carried(body: str, behind: str = "") -> dict[str, Carried]:
    code = f"for x in run.batches(a):\n{indent(dedent(body).strip(), '    ')}\n{behind}"
    place = place_at(ast.parse(code), 1)
    assert place is not None
    return {one.name: one for one in look(place).carried}


@pytest.mark.parametrize(
    ("body", "anew"),
    [
        ("cost[0] = f(x)\ncost[1] = g(x)\nfor i in range(2): step(cost[i])", {0, 1}),
        ("cost['a'] = f(x)\nstep(cost)", {"a"}),
        ("cost[0] = f(x)\nstep(cost)\ncost[1] = g(x)", {0}),
        ("if x: cost[0] = f(x)\nstep(cost)", set()),
        ("cost[i] = f(x)\nstep(cost)", set()),
        ("cost[0] = f(x)\ncost[1] += f(x)\nstep(cost)", set()),
    ],
)
def test_items_that_each_turn_sets_first_are_known(body: str, anew: set[Any]) -> None:
    assert carried(body)["cost"].anew == anew


def test_an_item_that_was_set_in_the_turn_may_be_read_before_the_others_are_set() -> None:
    assert carried("c[0] = f(x)\nstep(c[0])\nc[1] = 2\nstep(c)")["c"].anew == {0, 1}


@pytest.mark.parametrize(
    ("body", "made_of"),
    [
        ("if pool is None: pool = futures.ThreadPoolExecutor(n)\npool.map(f, x)", {"n"}),
        ("if not pool:\n    pool = Pool()\nx = pool.submit(f).result()\nstep(x)", set()),
        ("pool = pool or Pool(2)\npool.map(f, x)", set()),
        ("if buf is None: buf = torch.empty_like(x)\nbuf.copy_(x)\nstep(buf)", set()),
        ("if traced is None: traced = torch.jit.trace(model, x)\nstep(traced(x))", set()),
        ("if first is None: first = f(x)\nstep(first)", None),
        ("if first is None: first = Loss(x)\nstep(first)", None),
        ("if noise is None: noise = torch.randn(3)\nstep(noise)", None),
        ("if copy is None: copy = deepcopy(model)\nstep(copy)", None),
        ("if mean is None: mean = Mean(0.9)\nmean.see(x)\nstep(mean)", None),
        ("if mean is None: mean = Mean(0.9)\nelse: mean = g(mean)\nstep(mean)", None),
        ("if best is None or f(x) < best: best = Best(1)\nstep(best)", None),
        ("if seen is None: seen = zeros(3)\nseen.add_(x)\nstep(seen)", None),
    ],
)
def test_what_is_made_where_it_is_missing_is_known(body: str, made_of: set[str] | None) -> None:
    (one,) = carried(body).values()
    assert one.made_of == made_of


LOOP = "for x in run.batches(a):\n    total += f(x)\n"
GROWING = {
    "a chain of values": lambda n: LOOP + "v0 = total\n" + lines(n, "v{next} = v{i} + 1"),
    "a chain of times": lambda n: LOOP + lines(n, "t{i} = t{next} + 1") + f"t{n} = time()\n",
    "many lists": lambda n: LOOP + lines(n, "a{i} = [v * {i} for v in total]\nprint(sum(a{i}))"),
    "many variables": lambda n: LOOP + lines(n, "    n{i} += 1\n    if n{i} > 3: step(m{i}(x), n{i})"),
    "many functions": lambda n: LOOP + lines(n, "def f{i}(n):\n    self.n = 1\n    return g{i}(total)"),
    "many pieces": lambda n: (
        LOOP + lines(n, "    for w in a{i}: w.mul_(2)\n    v{i} = a{i}[0]\n    v{i}.add_(x)")
    ),
    "many conditions": lambda n: LOOP + lines(n, "if c{i}: d{i} = total\nelse: e{i} = d{i}"),
}


def lines(n: int, text: str) -> str:
    return "".join(text.format(i=i, next=i + 1) + "\n" for i in range(n))


def steps_to_look(code: str) -> int:
    """How many lines of Python run to look at the first loop."""
    place, steps = place_at(ast.parse(code), 1), 0
    assert place is not None

    def count(*_: Any) -> Any:
        nonlocal steps
        steps += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        look(place)
    finally:
        sys.settrace(before)
    return steps


@pytest.mark.parametrize("kind", GROWING)
def test_twice_as_much_source_takes_twice_the_steps(kind: str) -> None:
    one, two = (steps_to_look(GROWING[kind](n)) for n in (40, 80))
    assert two < 2.2 * one


def test_functions_in_functions_are_read_once_each() -> None:
    def nested(depth: int) -> str:
        heads = [" " * i + f"def f{i}(a):" for i in range(depth)]
        return LOOP + "\n".join(heads) + "\n" + " " * depth + "return total\n"

    one, two = steps_to_look(nested(20)), steps_to_look(nested(40))
    assert two < 2.5 * one
