"""Containers of any type in a part's state: they come back as what they are, or are refused by name."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tests.faults import forged

from outlast import CapabilityError, Run
from outlast.frameworks import containers
from outlast.frameworks.tensors import stored, to_tensors
from outlast.run.contents import differences

Out = pytest.CaptureFixture[str]


class Step(NamedTuple):
    """What a replay buffer holds."""

    state: Any
    reward: float


class ByAttribute(dict[str, Any]):
    """A dict that is read by attributes."""

    def __init__(self, *args: Any, **items: Any) -> None:
        super().__init__(*args, **items)
        self.__dict__ = self


class Named(dict[str, Any]):
    """A dict that is made in a way of its own."""

    def __init__(self, *, name: str) -> None:
        self.name = name


class Values(list[Any]):
    """A list with an attribute."""

    unit = "s"


class Tenfold(defaultdict[str, Any]):
    """A defaultdict of its own class."""


def made() -> dict[str, Any]:
    """Of each type one, as a script has them at its start."""
    values = Values([1, 2])
    values.unit = "ms"
    return {
        "ints": defaultdict(int, a=1),
        "lists": defaultdict(list, a=[torch.ones(2)]),
        "own": defaultdict(lambda: 5, a=1),
        "empty": defaultdict(None),
        "tenfold": Tenfold(lambda: 10, a=1),
        "size": torch.ones(2, 3).shape,
        "step": Step(torch.ones(2), 1.0),
        "steps": deque([Step(torch.ones(1), 0.5)], 3),
        "read": ByAttribute(rate=ByAttribute(value=0.1)),
        "values": values,
        "user": UserDict(a=1),
        "nested": {("a/b", 1): [defaultdict(int)]},
        "usual": (OrderedDict(a=1), Counter("ab")),
    }


class Part:
    """Hands out what it holds, and takes what it gets."""

    def __init__(self, **held: Any) -> None:
        self.held = held

    def state_dict(self) -> Any:
        return {**self.held}

    def load_state_dict(self, state: Any) -> None:
        self.held = state


def start(folder: Path, part: Any) -> Run:
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    return Run(folder, model=model, optimizer=torch.optim.SGD(model.parameters(), 0.1), part=part)


def train(run: Run, act: Any = lambda epoch: None, epochs: int = 2) -> None:
    for epoch in run.epochs(epochs):
        act(epoch)
        run.log(loss=1.0)


def types(tree: Any) -> Any:
    inner = tree.items() if isinstance(tree, dict | UserDict) else enumerate(tree)
    found = {key: types(one) for key, one in inner if isinstance(one, dict | UserDict | list | tuple | deque)}
    return type(tree), found


def test_a_start_leaves_the_types_of_live_containers_as_they_are(folder: Path, capsys: Out) -> None:
    part, expected = Part(**made()), types(made())
    for epoch in range(1, 4):

        def act(_: int) -> None:
            part.held["ints"]["b"] += 1
            part.held["lists"]["a"].extend(part.held["lists"]["c"])
            assert part.held["own"]["new"] == 5
            assert part.held["tenfold"]["new"] == 10
            assert part.held["read"].rate.value == 0.1

        train(start(folder, part), act, epoch)
        del part.held["own"]["new"], part.held["tenfold"]["new"], part.held["lists"]["c"]
    assert types(part.held) == expected
    assert part.held["values"].unit == "ms"
    assert part.held["ints"] == {"a": 1, "b": 3}
    assert "after loading" not in capsys.readouterr().out


def test_another_process_gets_them_too(folder: Path, capsys: Out) -> None:
    first = Part(**made())
    train(start(folder, first), lambda _: first.held["ints"].update(z=9))
    second = Part(**made())
    train(start(folder, second), epochs=3)
    assert types(second.held) == types(made())
    assert second.held["ints"] == {"a": 1, "z": 9}
    assert second.held["own"]["new"] == 5
    assert "after loading" not in capsys.readouterr().out


def test_what_was_not_there_at_the_start_comes_back_if_its_name_is_enough(folder: Path, capsys: Out) -> None:
    first = Part()

    def fill(_: int) -> None:
        first.held.update(steps=deque([Step(1, 2.0)]), by=defaultdict(list), size=torch.Size([1]))

    train(start(folder, first), fill)
    second = Part()
    train(start(folder, second), epochs=3)
    assert types(second.held) == types(first.held)
    assert second.held["steps"][0].reward == 2.0
    assert second.held["by"]["new"] == []
    assert "after loading" not in capsys.readouterr().out


def test_one_that_cannot_be_made_is_refused_by_name_before_the_first_batch(folder: Path) -> None:
    text = (
        r"Cannot store state/parts/part/state/table: tests\.run\.test_containers\.Named is not kept, and is "
        r"a dict after loading; return dict\(\.\.\.\) of it in state_dict\(\)"
    )
    with pytest.raises(CapabilityError, match=text):
        train(start(folder, Part(table=Named(name="a"))))


def test_one_that_cannot_be_made_and_a_part_that_makes_it_is_no_problem(folder: Path, capsys: Out) -> None:
    class Own(Part):
        def load_state_dict(self, state: Any) -> None:
            self.held["table"].update(state["table"])

    part = Own(table=Named(name="a"))
    train(start(folder, part), lambda epoch: part.held["table"].update(epoch=epoch))
    again = Own(table=Named(name="a"))
    train(start(folder, again), epochs=3)
    assert again.held == {"table": {"epoch": 1}}
    assert "after loading" not in capsys.readouterr().out


def test_what_is_told_of_a_type_that_was_lost_is_the_name_of_its_container(folder: Path, capsys: Out) -> None:
    first = Part(inner=[{}])
    train(start(folder, first), lambda _: first.held["inner"].append(Named(name="a")), epochs=1)
    train(start(folder, Part(inner=[{}])), epochs=2)
    told = capsys.readouterr().out
    assert "these are not as they were saved: the type of state/parts/part/state/inner/1\n" in told
    assert differences({"parts": {"a": {"details": {"arrays": [1]}}}}, {}) == ["a type in state/parts/a"]


def test_a_model_and_an_optimizer_keep_theirs(folder: Path) -> None:
    class Layer(torch.nn.Linear):
        seen: Any = None

        def get_extra_state(self) -> Any:
            return self.seen

        def set_extra_state(self, state: Any) -> None:
            self.seen = state

    def begin() -> tuple[Any, Any, Run]:
        model = Layer(1, 1)
        model.seen = defaultdict(lambda: 5)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        optimizer.state[model.weight]["step"] = Step(torch.ones(1), 1.0)
        return model, optimizer, Run(folder, model=model, optimizer=optimizer)

    model, optimizer, run = begin()
    train(run)
    assert (model.seen["new"], type(optimizer.state[model.weight]["step"])) == (5, Step)
    model, optimizer, run = begin()
    train(run, epochs=3)
    assert (model.seen["other"], model.seen["new"]) == (5, 5)
    assert type(optimizer.state[model.weight]["step"]) is Step


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "torch.nn.Linear",
        "collections.defaultdict(exec)",
        "tests.run.test_containers.Named",
        "tests.run.test_containers.nothing.at.all",
        "no_such_module.Step",
        "",
    ],
)
def test_a_name_in_a_file_makes_nothing_else(name: str) -> None:
    for plain in ({"a": 1}, (1, 2), [1]):
        assert containers.remade(plain, name, None) is plain


def test_a_tuple_of_another_length_is_no_such_tuple() -> None:
    assert type(containers.remade((1,), containers.described(Step(1, 2.0)), None)) is tuple


def test_places_that_read_alike_are_not_mixed_up() -> None:
    tree = {"a/b": defaultdict(int), "a": {"b": {}}, 0: defaultdict(int), "0": {}}
    back = to_tensors(*stored(tree, ""))
    assert types(back) == types(tree)


def test_a_run_saved_before_types_had_names_is_resumed(folder: Path) -> None:
    first = Part(ints=defaultdict(int, a=1), tensor=torch.ones(2))
    train(start(folder, first))

    def older(manifest: Any) -> None:
        for one in (manifest["state"]["parts"]["part"], manifest["state"]["training"]):
            del one["details"]["kinds"], one["details"]["strides"]
            one["details"]["types"] = {"$dict": [[{"$tuple": ["state", "ints"]}, "collections.defaultdict"]]}

    forged.forge_manifest(folder, older)
    second = Part(ints=defaultdict(int), tensor=torch.zeros(2))
    train(start(folder, second), epochs=3)
    assert json.dumps(second.held["ints"]) == '{"a": 1}'
    assert second.held["tensor"].tolist() == [1, 1]
