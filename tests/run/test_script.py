"""What the script itself carries on is named where it starts over after a resume."""

from __future__ import annotations

import ast
import queue
import random
import threading
import warnings
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import outlast
from outlast.testing import FakeAdapter

Out = pytest.CaptureFixture[str]
BEGINS = ": after a resume"


def made(folder: Path, every: Any = 2, **options: Any) -> outlast.Run:
    return outlast.Run(folder, adapter=FakeAdapter({"w": [0.3]}), save_every=every, **options)


def doubts(capsys: Out) -> list[str]:
    return [
        line.partition(": ")[2].partition(": ")[2]
        for line in capsys.readouterr().out.splitlines()
        if BEGINS in line
    ]


def test_sums_of_the_script_are_named_once(folder: Path, capsys: Out) -> None:
    run = made(folder)
    for _ in run.epochs(3):
        total = count = 0.0
        for batch in run.batches(range(5)):
            total += batch
            count += 1
        run.log(loss=total / count)
    assert doubts(capsys) == [
        "after a resume inside an epoch the script's own total, count start over: log each batch, "
        "run.log(loss=loss), or keep it in run.extra"
    ]


def test_without_saves_inside_an_epoch_what_begins_with_it_is_no_matter(folder: Path, capsys: Out) -> None:
    run = made(folder, "epoch")
    for _ in run.epochs(2):
        total = 0.0
        for i, batch in enumerate(run.batches(range(5))):
            total += batch * i
        run.log(loss=total)
    assert doubts(capsys) == []


def test_what_goes_on_from_epoch_to_epoch_is_named(folder: Path, capsys: Out) -> None:
    best, step = 9.0, 0
    run = made(folder, "epoch")
    for epoch in run.epochs(2):
        for batch in run.batches(range(5)):
            step += 1
            run.log(loss=batch / step)
        if epoch < best:
            best = epoch
        run.log(best=best)
    assert doubts(capsys) == [
        "after a resume the script's own step starts over: run.step counts on; so does best: "
        "keep it in run.extra"
    ]


def test_a_counter_around_the_batches_is_named(folder: Path, capsys: Out) -> None:
    run = made(folder)
    for _ in run.epochs(2):
        for i, batch in enumerate(run.batches(range(5))):
            run.log(loss=batch * i)
    (told,) = doubts(capsys)
    assert told == "after a resume inside an epoch the script's own i starts over: run.batch counts on"


def test_what_the_run_saves_is_not_named(folder: Path, capsys: Out) -> None:
    class Part:
        """With a sum of its own."""

        def __init__(self) -> None:
            self.total = 0.0

        def state_dict(self) -> dict[str, float]:
            return {"total": self.total}

        def load_state_dict(self, state: dict[str, float]) -> None:
            self.total = state["total"]

    part = Part()
    run = made(folder, part=part)
    extra = run.extra
    extra["count"] = 0
    for _ in run.epochs(2):
        for i, batch in run.batches(enumerate(range(5))):
            part.total += batch * i
            extra["count"] += 1
            run.log(loss=batch / extra["count"])
        run.log(total=part.total)
    assert doubts(capsys) == []


def test_steps_carry_on_too(folder: Path, capsys: Out) -> None:
    seen: list[int] = []
    run = made(folder, "epoch")
    for batch in run.steps(range(5), 6, log_every=3):
        seen.append(batch)
        run.log(loss=sum(seen))
    assert doubts(capsys) == [
        "after a resume the script's own seen starts over: log it, run.log(loss=loss), for run.history, "
        "or keep it in run.extra"
    ]


def around(loop: Any) -> Any:
    """As a progress bar around a run's loop does."""
    left = 100
    for one in loop:
        yield one
        left = left - 1
        if not left:
            break


def test_the_loop_around_a_progress_bar_is_looked_at(folder: Path, capsys: Out) -> None:
    run = made(folder)
    for _ in around(run.epochs(2)):
        total = 0.0
        for batch in around(run.batches(range(5))):
            total += batch
        run.log(loss=total)
    assert doubts(capsys)[0].startswith("after a resume inside an epoch the script's own total starts over")


def test_code_without_a_source_is_not_looked_at(folder: Path, capsys: Out) -> None:
    code = "total = 0\nfor _ in run.epochs(1):\n    total += 1\n    run.log(loss=total)\n"
    exec(code, {"run": made(folder)})
    assert doubts(capsys) == []


def test_of_a_finished_run_nothing_is_said(folder: Path, capsys: Out) -> None:
    for _ in range(2):
        total = 0.0
        run = made(folder)
        for epoch in run.epochs(1):
            total += epoch
            run.log(loss=total)
    assert len(doubts(capsys)) == 1


@pytest.mark.parametrize("every", [2, "epoch"], ids=str)
def test_run_counts_what_scripts_count(folder: Path, every: Any) -> None:
    def counted(place: Path, left_at: int | None = None) -> list[Any]:
        run = made(place, every)
        assert run.batch is None
        seen = []
        for epoch in run.epochs(3):
            for _ in run.batches(range(5)):
                seen.append((epoch, run.batch, run.step))
                if run.step == left_at:
                    run.flush()
                    return seen
            assert run.batch is None and run.step == 5 * (epoch + 1)
        assert run.step == 15
        return seen

    whole = counted(folder / "whole")
    assert whole == [(step // 5, step % 5, step) for step in range(15)]
    for left_at in (3, 8, 12):
        seen = counted(folder / "left", left_at)
        assert seen == whole[left_at + 1 - len(seen) : left_at + 1]
    seen = counted(folder / "left")
    assert seen == whole[-len(seen) :]


def test_a_variable_that_was_looked_at_is_not_kept(folder: Path, capsys: Out) -> None:
    state = np.zeros(3)
    first = weakref.ref(state)
    run = made(folder)
    for _ in run.epochs(2):
        for batch in run.batches(range(3)):
            state = state + batch
            assert first() is None
            run.log(loss=float(state.sum()))
    assert doubts(capsys)[0].startswith("after a resume the script's own state starts over")


IN_AN_EPOCH = "after a resume inside an epoch the script's own"
MEAN = "log each batch, run.log(loss=loss), which averages"


class AverageMeter:
    """As many scripts have it."""

    def __init__(self) -> None:
        self.sum = self.count = 0.0

    def reset(self) -> None:
        self.__init__()  # type: ignore[misc]

    def update(self, value: float, n: int = 1) -> None:
        self.sum += value * n
        self.count += n

    def __call__(self, value: float) -> None:
        self.update(value)

    @property
    def avg(self) -> float:
        return self.sum / max(self.count, 1)


class AsPart:
    """Something that a run saves."""

    def __init__(self) -> None:
        self.n = 0

    def state_dict(self) -> dict[str, int]:
        return {"n": self.n}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.n = state["n"]


class Bar:
    """A progress bar."""

    def __init__(self) -> None:
        self.n = 0

    def update(self, n: int) -> None:
        self.n += n

    def set_postfix(self, **shown: float) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_meter_of_the_script_is_named(folder: Path, capsys: Out) -> None:
    run = made(folder)
    for _ in run.epochs(2):
        losses, called = AverageMeter(), AverageMeter()
        for batch in run.batches(range(5)):
            losses.update(batch)
            called(batch)
        run.log(loss=losses.avg, called=called.avg)
    assert doubts(capsys) == [f"{IN_AN_EPOCH} losses, called start over: {MEAN}"]


def test_a_meter_that_each_epoch_resets_matters_inside_an_epoch(folder: Path, capsys: Out) -> None:
    losses, run = AverageMeter(), made(folder)
    for _ in run.epochs(2):
        losses.reset()
        for batch in run.batches(range(5)):
            losses.update(batch)
        run.log(loss=losses.avg)
    assert doubts(capsys) == [f"{IN_AN_EPOCH} losses starts over: {MEAN}"]


def test_what_only_shows_is_not_named(folder: Path, capsys: Out) -> None:
    run, bar, first, out = made(folder), Bar(), True, np.zeros(1)
    for _ in run.epochs(2):
        total = 0.0
        for i, batch in enumerate(run.batches(range(5))):
            total += batch
            bar.update(1)
            bar.set_postfix(loss=total / (i + 1))
            if i % 2 == 0:
                print(batch)
            if first:
                print("begun")
                first = False
            out[:] = batch
            run.log(loss=float(out[0]))
        mean = total / 5
        print(mean)
        bar.close()
    assert doubts(capsys) == []


def test_what_is_read_after_the_loops_is_named(folder: Path, capsys: Out) -> None:
    losses: list[int] = []
    run = made(folder, "epoch")
    for _ in run.epochs(2):
        for batch in run.batches(range(5)):
            losses.append(batch)
    assert len(losses) == 10
    assert doubts(capsys)[0].startswith("after a resume the script's own losses starts over: log it")


class Trainer:
    """With sums of its own, in attributes."""

    def __init__(self, run: outlast.Run) -> None:
        self.run, self.steps, self.sum = run, 0, 0.0

    def epoch(self) -> None:
        for batch in self.run.batches(range(5)):
            self.steps += 1
            self.sum += batch

    def fit(self) -> None:
        for _ in self.run.epochs(2):
            self.sum = 0.0
            self.epoch()
            self.run.log(loss=self.sum)


@pytest.mark.parametrize("every", [2, "epoch"], ids=str)
def test_attributes_outlast_their_epoch(folder: Path, capsys: Out, every: Any) -> None:
    Trainer(made(folder, every)).fit()
    steps = "after a resume the script's own self.steps starts over: run.step counts on"
    total = f"{IN_AN_EPOCH} self.sum starts over: log each batch, run.log(loss=loss), or keep it in run.extra"
    assert doubts(capsys) == ([steps, total] if every == 2 else [steps])


everything = 0.0


def an_epoch(run: outlast.Run) -> None:
    global everything
    for batch in run.batches(range(5)):
        everything += batch


@pytest.mark.parametrize("every", [2, "epoch"], ids=str)
def test_a_global_variable_outlasts_its_epoch(folder: Path, capsys: Out, every: Any) -> None:
    run = made(folder, every)
    for _ in run.epochs(2):
        an_epoch(run)
        run.log(loss=everything)
    assert [one.partition(":")[0] for one in doubts(capsys)] == [
        "after a resume the script's own everything starts over"
    ]


def test_comprehensions_and_what_is_asked_by_next_are_loops(folder: Path, capsys: Out) -> None:
    run = made(folder)
    for _ in run.epochs(2):
        losses = [batch * 2 for batch in run.batches(range(5))]
        run.log(loss=sum(losses))
    other = made(folder / "other")
    for _ in other.epochs(2):
        total, batches = 0.0, iter(other.batches(range(5)))
        while (batch := next(batches, None)) is not None:
            total += batch
        other.log(loss=total)
    summed = made(folder / "summed")
    for _ in summed.epochs(2):
        summed.log(loss=sum(batch for batch in summed.batches(range(5))))
    lists, sums, last = doubts(capsys)
    assert lists == f"{IN_AN_EPOCH} losses starts over: log each batch, run.log(loss=loss)"
    assert sums.startswith(f"{IN_AN_EPOCH} total starts over: log each batch")
    assert last.startswith(f"{IN_AN_EPOCH} result of line ")


def trained(run: outlast.Run) -> Any:
    total = 0
    for batch in run.batches(range(5)):
        total += batch
        yield total


def test_a_generator_of_the_script_may_be_the_loop(folder: Path, capsys: Out) -> None:
    run = made(folder)
    for _ in run.epochs(2):
        for total in trained(run):
            run.log(loss=total)
    (told,) = doubts(capsys)
    assert told.startswith(f"{IN_AN_EPOCH} total starts over")


def test_a_random_generator_of_the_script_is_named_unless_it_is_saved(folder: Path, capsys: Out) -> None:
    saved, rng, own = (np.random.default_rng(seed) for seed in range(3))
    draws = random.Random(0)
    run = made(folder, saved=saved)
    for epoch in run.epochs(2):
        fresh = np.random.default_rng((7, epoch))
        for batch in run.batches(range(5)):
            run.log(loss=batch + saved.normal() + rng.normal() + draws.random() + np.random.normal())
        run.log(own=own.normal(), fresh=fresh.normal())
    assert doubts(capsys) == [
        "after a resume the script's own rng starts over: pass it to the Run, Run(..., rng=rng); "
        "so does draws: pass it to the Run, Run(..., draws=draws); "
        "so does own: pass it to the Run, Run(..., own=own)"
    ]


def test_what_is_kept_in_extra_is_not_named(folder: Path, capsys: Out) -> None:
    run = made(folder)
    losses, best = run.extra.setdefault("losses", []), run.extra.get("best", 9.0)
    for _ in run.epochs(2):
        total = run.extra.get("total", 0.0)
        for batch in run.batches(range(5)):
            total += batch
            run.extra["total"] = total
            losses.append(batch)
        best = min(best, total)
        run.extra.update(best=best, total=0.0)
        run.log(loss=sum(losses), best=best)
    assert doubts(capsys) == []


def test_what_is_only_written_into_extra_is_named(folder: Path, capsys: Out) -> None:
    total, run = 0.0, made(folder, "epoch")
    for _ in run.epochs(2):
        for batch in run.batches(range(5)):
            total += batch
            run.extra["total"] = total
    assert doubts(capsys)[0].startswith("after a resume the script's own total starts over")


def test_what_changes_a_tensor_of_the_model_is_named(folder: Path, capsys: Out) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(1, 1)
    w, velocity, grads = model.weight, torch.zeros(1, 1), torch.zeros(1, 1)
    run = outlast.Run(folder, model=model, optimizer=[], save_every=2)
    for _ in run.epochs(1):
        for _ in run.batches(range(3)):
            model(torch.ones(1, 1)).mean().backward()
            grads += w.grad
            with torch.no_grad():
                velocity.mul_(0.9).add_(w.grad)
                w.add_(velocity, alpha=-1e-2)
                w.copy_(torch.where(grads > 9, w * 0.5, w))
    assert doubts(capsys)[0].startswith("after a resume the script's own grads, velocity start over: keep it")


def test_what_is_changed_in_the_model_the_optimizer_or_the_loader_is_not_named(
    folder: Path, capsys: Out
) -> None:
    torch = pytest.importorskip("torch")
    data = torch.utils.data
    model = torch.nn.Linear(1, 1)
    model.register_buffer("seen", torch.tensor(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    group, weight = optimizer.param_groups[0], model.weight.data
    dataset = data.TensorDataset(torch.zeros(6, 1))
    dataset.n = 0
    loader = data.DataLoader(dataset, batch_size=2)
    run = outlast.Run(folder, model=model, optimizer=optimizer, save_every=2)
    for _ in run.epochs(1):
        for (batch,) in run.batches(loader):
            loss = model(batch).mean()
            loss.backward()
            optimizer.step()
            model.seen += 1
            weight *= 0.9
            group["lr"] = group["lr"] * 0.9
            optimizer.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"] * 0.9
            loader.dataset.n += 1
            run.log(loss=loss, seen=model.seen, rate=group["lr"], n=loader.dataset.n, norm=weight.norm())
    assert doubts(capsys) == []


class Changing:
    """A dataset that training changes."""

    def __init__(self) -> None:
        self.x, self.labels = np.zeros((6, 5000)), np.zeros(50_000)
        self.weights, self.seen, self.last = np.ones(3), 0, 0
        self.items: list[Any] = []

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        return self.x[index, :2]

    def update(self, loss: float) -> None:
        self.seen += 1
        self._weigh(loss)

    def _weigh(self, loss: float) -> None:
        self.weights[self.last] += loss

    def append(self, item: Any) -> None:
        self.items.append(item)


def test_what_is_changed_in_a_dataset_is_not_named_where_it_is_saved(folder: Path, capsys: Out) -> None:
    loaders = pytest.importorskip("torch").utils.data
    data = Changing()
    loader = loaders.DataLoader(data, batch_size=2)
    run = made(folder)
    for _ in run.epochs(1):
        for batch in run.batches(loader):
            run.log(loss=float(batch.sum()))
            data.update(1.0)
            data.weights[0] = data.weights[0] + 1
    assert doubts(capsys) == []


def test_what_is_changed_in_a_dataset_and_is_not_saved_is_named(folder: Path, capsys: Out) -> None:
    loaders = pytest.importorskip("torch").utils.data
    data = Changing()
    loader = loaders.DataLoader(data, batch_size=2)
    run = made(folder)
    for _ in run.epochs(1):
        for batch in run.batches(loader):
            run.log(loss=float(batch.sum()))
            data.append(batch)
            data.labels[0] = data.labels[0] + 1
    assert doubts(capsys) == [
        "after a resume the script's own data starts over: give it a state_dict() and a load_state_dict(), "
        "and pass it to the Run; so does data.labels: keep it in run.extra, as a list"
    ]


def test_a_dataset_that_is_a_part_is_not_named(folder: Path, capsys: Out) -> None:
    loaders = pytest.importorskip("torch").utils.data

    class Saved(Changing):
        def state_dict(self) -> Any:
            return {"items": self.items, "labels": self.labels}

        def load_state_dict(self, state: Any) -> None:
            self.items, self.labels = state["items"], state["labels"]

    data = Saved()
    loader = loaders.DataLoader(data, batch_size=2)
    run = made(folder, data=data)
    for _ in run.epochs(1):
        for batch in run.batches(loader):
            run.log(loss=float(batch.sum()))
            data.append(float(batch.sum()))
            data.labels[0] = data.labels[0] + 1
    assert doubts(capsys) == []


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("count", "run.step counts on"),
        ("odd", 'keep it in run.extra, run.extra["odd"] = run.extra.get("odd", 0) + 1'),
        ("pairs", "make it in each epoch, or go through both with run.batches(zip(a, b))"),
        ("table", "keep it in run.extra, as a list"),
        ("window", "keep it in run.extra, or in a part"),
        ("average", "pass it to the Run, Run(..., average=average)"),
        ("position", "give it a state_dict() and a load_state_dict(), and pass it to the Run"),
    ],
)
def test_the_advice_is_for_the_kind_of_the_value(folder: Path, capsys: Out, name: str, advice: str) -> None:
    class Average(AverageMeter):
        def state_dict(self) -> dict[str, float]:
            return {"sum": self.sum}

        def load_state_dict(self, state: dict[str, float]) -> None:
            self.sum = state["sum"]

    @dataclass(frozen=True)
    class Position:
        at: int = 0

    count, odd, pairs, table = 0, 0, iter(range(100)), np.zeros(2)
    window, average, position = deque([0], maxlen=3), Average(), Position()
    run = made(folder, "epoch")
    for _ in run.epochs(2):
        for batch in run.batches(range(5)):
            count += 1
            if batch % 2:
                odd += 1
            table[batch % 2] += 1
            window.append(batch)
            average.update(batch)
            position = replace(position, at=position.at + 1)
            run.log(a=count, b=odd, c=next(pairs), d=table[0], e=sum(window), f=average.avg, g=position.at)
    told = doubts(capsys)[0].partition("own ")[2]
    groups = dict(one.replace(" starts over", "").split(": ", 1) for one in told.split("; so does "))
    assert groups[name] == advice


def test_what_is_made_again_or_set_anew_is_not_named(folder: Path, capsys: Out) -> None:
    pool = sink = None
    model = FakeAdapter({"w": [0.3]})
    cost, table, run = (
        np.zeros(2),
        np.zeros(3),
        outlast.Run(folder, adapter=model, save_every=2, part=AsPart()),
    )
    for _ in run.epochs(2):
        if pool is None:
            pool = ThreadPoolExecutor(1)
        for batch in run.batches(range(5)):
            if sink is None:
                sink = StringIO("")
            sink.write(str(pool.submit(abs, batch).result()))
            cost[0], cost[1] = batch, 2 * batch
            table[0], table[1] = batch, 2 * batch
            run.log(loss=sum(cost[i] for i in range(2)), other=table.sum())
    pool.shutdown()
    assert [told.partition(" start")[0] for told in doubts(capsys)] == [
        "after a resume the script's own table"
    ]


def test_what_is_made_of_something_saved_is_named(folder: Path, capsys: Out) -> None:
    class Copy:
        def __init__(self, part: AsPart) -> None:
            self.n = part.n

    part, copied = AsPart(), None
    run = made(folder, part=part)
    for _ in run.epochs(1):
        for batch in run.batches(range(3)):
            if copied is None:
                copied = Copy(part)
            run.log(loss=batch + copied.n)
    assert "own copied starts over" in doubts(capsys)[0]


@pytest.mark.parametrize("every", [2, "epoch"], ids=str)
def test_a_flag_is_not_told_to_count(folder: Path, capsys: Out, every: Any) -> None:
    warm, level, run = False, 0, made(folder, every)
    for _ in run.epochs(2):
        for batch in run.batches(range(5)):
            if not warm:
                run.log(first=batch)
                warm = True
            if batch > 9:
                level = 5
            if level > 3:
                run.log(level=level)
            run.log(loss=batch)
    assert doubts(capsys) == [
        "after a resume the script's own warm, level start over: keep it in run.extra",
    ]


def test_a_state_of_jax_that_the_loop_forgets_is_told_of_run_state(folder: Path, capsys: Out) -> None:
    jnp = pytest.importorskip("jax.numpy")
    state, mean = {"params": {"w": jnp.ones(2)}}, jnp.zeros(2)
    run = outlast.Run(folder, state=state, save_every=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", outlast.OutlastWarning)
        for _ in run.epochs(1):
            for batch in run.batches(range(3)):
                state = {"params": {"w": state["params"]["w"] + batch}}
                mean = mean + batch
                run.log(loss=float(state["params"]["w"].sum() + mean.sum()))
    assert doubts(capsys)[0] == (
        "after a resume the script's own state starts over: set run.state, as in run.state, loss = "
        "step(run.state, x); so does mean: put it into the state"
    )


def test_what_the_loop_keeps_beside_the_state_of_jax_is_told_to_go_into_it(folder: Path, capsys: Out) -> None:
    jnp = pytest.importorskip("jax.numpy")
    run = outlast.Run(folder, state={"w": jnp.ones(2)}, save_every=2)
    target = run.state
    for _ in run.epochs(1):
        for batch in run.batches(range(3)):
            run.state = {"w": run.state["w"] + target["w"] * batch}
            if batch % 2:
                target = {"w": run.state["w"] * 0.5}
    assert doubts(capsys) == ["after a resume the script's own target starts over: put it into the state"]


def test_what_python_and_packages_do_is_their_own_affair(folder: Path, capsys: Out) -> None:
    run = made(folder)
    for _ in run.epochs(2):
        total = 0.0
        with ThreadPoolExecutor(1) as pool:
            for batch in pool.map(float, run.batches(range(5))):
                total += batch
        run.log(loss=total)
    assert doubts(capsys) == [
        f"{IN_AN_EPOCH} total starts over: log each batch, run.log(loss=loss), or keep it in run.extra"
    ]


def test_a_queue_between_threads_is_not_named(folder: Path, capsys: Out) -> None:
    run = made(folder)
    waiting: queue.Queue[int | None] = queue.Queue()

    def fill() -> None:
        for batch in run.batches(range(5)):
            waiting.put(batch)
        waiting.put(None)

    for _ in run.epochs(1):
        thread = threading.Thread(target=fill)
        thread.start()
        while (batch := waiting.get()) is not None:
            run.log(loss=batch)
        thread.join()
    assert doubts(capsys) == []


@pytest.mark.parametrize("every", [2, "epoch"], ids=str)
def test_a_schedule_of_the_script_is_not_told_to_be_logged(folder: Path, capsys: Out, every: Any) -> None:
    loss, rise, run = SimpleNamespace(beta=1.0), 0.0, made(folder, every)
    for _ in run.epochs(2):
        for batch in run.batches(range(5)):
            run.log(loss=batch * loss.beta + rise)
            loss.beta *= 0.9
            rise += 0.25
    assert doubts(capsys) == [
        "after a resume the script's own loss.beta, rise start over: keep it in run.extra"
    ]


def test_no_property_of_the_script_is_asked(folder: Path, capsys: Out) -> None:
    class Counted:
        asked = 0

        @property
        def n(self) -> int:
            self.asked += 1
            return self.asked

        @n.setter
        def n(self, value: int) -> None:
            pass

        shape = dtype = update = compute = avg = n

    def train(counted: Counted) -> None:
        run = made(folder)
        for _ in run.epochs(1):
            for _ in run.batches(range(3)):
                counted.n += 1
                if counted.n > 100:
                    run.log(loss=counted.n)

    counted = Counted()
    train(counted)
    assert counted.asked == 6  # by the loop, twice in each turn
    assert doubts(capsys) == ["after a resume the script's own counted.n starts over: run.step counts on"]


def test_a_very_long_sum_ends_no_training(folder: Path, capsys: Out) -> None:
    file = folder.parent / "long.py"
    lines = ["for batch in run.steps(range(3), 3):", f"    total = {' + '.join(['batch'] * 5000)}"]
    file.write_text("\n".join(lines))
    run = made(folder)
    exec(compile("for batch in run.steps(range(3), 3): pass", str(file), "exec"), {"run": run})
    assert run.finished and doubts(capsys) == []


def run_source(folder: Path, run: outlast.Run, source: str, **variables: Any) -> None:
    """Run a source that is in a file of its own."""
    file = folder.parent / f"{len(source)}.py"  # each has a name of its own: the lines of a file are cached
    file.write_text(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = compile(source, str(file), "exec")
    exec(code, {"run": run, "__name__": "__main__", **variables})


CHOOSE = "choose it anew each time, by the epoch or by run.step, or by what run.extra says"


def test_what_a_variable_stands_for_from_some_step_on_is_named(folder: Path, capsys: Out) -> None:
    def early(batch: int) -> int:
        return batch

    def late(batch: int) -> int:
        return 2 * batch

    class Part:
        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: Any) -> None: ...

    first, second = Part(), Part()
    losses = [early, late]
    loss_fn, other, optimizer, same = early, early, first, early
    run = made(folder, first=first, second=second)
    for _ in run.epochs(1):
        for batch in run.batches(range(5)):
            if run.step == 2:
                loss_fn = late
                other = losses[1]
                optimizer, same = second, early
            run.log(loss=loss_fn(batch) + other(batch) + same(batch), n=len(optimizer.state_dict()))
    [doubt] = doubts(capsys)
    assert doubt == f"after a resume the script's own loss_fn, other, optimizer start over: {CHOOSE}"


def test_what_is_chosen_anew_in_each_batch_is_not_named(folder: Path, capsys: Out) -> None:
    run = made(folder)
    for _ in run.epochs(1):
        for batch in run.batches(range(5)):
            act = abs if (run.step or 0) < 3 else float
            run.log(loss=act(batch))
    assert doubts(capsys) == []


@pytest.mark.usefixtures("each_loop_is_read_anew")
def test_each_place_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parse, parsed = ast.parse, []

    def counted(*arguments: Any, **options: Any) -> Any:
        parsed.append(arguments[1:])
        return parse(*arguments, **options)

    run = made(folder)
    monkeypatch.setattr("ast.parse", counted)
    for _ in run.epochs(6):
        for _ in run.batches(range(3)):
            pass
        for _ in run.batches(range(3)):
            pass
    assert parsed == [(__file__,)] * 3


def test_a_very_long_source_is_not_read(folder: Path, capsys: Out) -> None:
    loop = "n = 0\nfor x in run.steps(range(3), 3):\n    n += 1\n    if n > 9: break\n"
    run_source(folder, made(folder), loop)
    assert len(doubts(capsys)) == 1
    run_source(folder, made(folder / "long"), loop + "a = 1\n" * 30_000)
    assert doubts(capsys) == []


def test_the_reading_ends_no_training(folder: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("outlast.run.script.look", fail)
    run = made(folder)
    for _ in run.epochs(1):
        pass
    assert run.finished and doubts(capsys) == []


def test_a_value_that_cannot_be_looked_at_hides_no_other(folder: Path, capsys: Out) -> None:
    class Gone:
        pass

    previous, count = weakref.proxy(Gone()), 0
    run = made(folder)
    for _ in run.epochs(1):
        for batch in run.batches(range(3)):
            if batch > 5:
                print(previous.name)
            previous = [previous, batch]
            count += 1
            if count > 5:
                run.log(loss=len(previous))
    assert any("count" in told for told in doubts(capsys))


def test_what_exec_made_in_a_function_stays(folder: Path) -> None:
    run, seen, kept = made(folder), 0, {}
    exec("made_there = 2")
    for _ in run.epochs(1):
        for batch in run.batches(range(3)):
            seen += batch * eval("made_there")
            run.log(loss=seen)
            kept[batch] = seen
    assert kept[2] == 6


def test_the_strings_of_a_source_warn_of_nothing(folder: Path) -> None:
    source = 'label = "\\d"\nfor _ in run.steps(range(2), 2):\n    pass\n'
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run_source(folder, made(folder), source)
    assert not told
