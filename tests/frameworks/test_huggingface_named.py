"""What a resume of Hugging Face's Trainer does not bring back is named; what others change is put right."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.frameworks.test_huggingface import (
    BATCH,
    BY_STEPS,
    SAMPLES,
    Digits,
    Leave,
    Left,
    Net,
    Stream,
    in_a_run,
    train,
    trainer,
    weights,
)
from transformers import Trainer, TrainerCallback

import outlast
from outlast.exceptions import RunChanged


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ends(after: int, *, make: Any = lambda: [], save_every: Any = "epoch", **settings: Any) -> list[Any]:
    """What a run ends with that was never left, and one that was left after so many steps."""
    found = []
    for folder, left in (("whole", None), ("left", after), ("left", None)):
        run = outlast.Run(folder, outlast.History(), save_every=save_every)
        made = trainer(run, beside=[*make(), Leave(left)], **settings)
        try:
            made.train()
        except Left:
            continue
        logged = [
            {k: v for k, v in one.items() if "runtime" not in k and "second" not in k}
            for one in made.state.log_history
        ]
        found.append((weights(made), run.history.rows, logged))
    return found


class Draws(TrainerCallback):
    """Draws when an epoch begins."""

    def on_epoch_begin(self, *args: Any, train_dataloader: Any = None, **options: Any) -> None:
        train_dataloader.dataset.noise = float(torch.rand(()))


@pytest.mark.parametrize(("after", "save_every"), [(8, "epoch"), (9, 2)])
def test_what_a_callback_draws_where_an_epoch_begins_is_drawn_again(after: int, save_every: Any) -> None:
    whole, left = ends(after, make=lambda: [Draws()], save_every=save_every, train_dataset=Digits(0, SAMPLES))
    assert left == whole


class EndsEpochs(TrainerCallback):
    """Ends each epoch after four of its six steps."""

    def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        control.should_epoch_stop = state.global_step % 4 == 0


@pytest.mark.parametrize("save_every", ["epoch", 4])
def test_an_epoch_that_a_callback_has_ended_is_over(
    save_every: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    by_steps = {**BY_STEPS, "eval_steps": 7} if save_every == 4 else {}
    after = 14 if save_every == "epoch" else 5
    whole, left = ends(
        after, make=lambda: [EndsEpochs()], save_every=save_every, num_train_epochs=4, **by_steps
    )
    assert left == whole
    assert "epochs changed" not in capsys.readouterr().out


class Sets(TrainerCallback):
    """Sets weights when the training begins."""

    def on_train_begin(self, *args: Any, model: Any = None, **options: Any) -> None:
        torch.nn.init.ones_(model.layers[3].weight)


def test_weights_that_a_callback_sets_behind_the_run_do_not_count() -> None:
    with pytest.warns(outlast.exceptions.OutlastWarning, match=r"Sets set weights .*layers\.3\.weight"):
        whole, left = ends(8, make=lambda: [Sets()])
    assert left == whole


def test_a_stream_that_ends_with_a_row_logs_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    whole, left = ends(14, train_dataset=Stream(), max_steps=24, eval_strategy="steps", eval_steps=6)
    assert left == whole
    assert "again as a check: identical" in capsys.readouterr().out


class Ema(TrainerCallback):
    """Keeps averages."""

    shadow: Any = None

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def on_train_begin(self, *args: Any, model: Any = None, **options: Any) -> None:
        self.net = model  # which is saved
        if self.kind == "module":
            self.shadow = copy.deepcopy(model)
        else:
            self.shadow = {name: one.detach().clone() for name, one in model.named_parameters()}

    def on_step_end(self, *args: Any, model: Any = None, **options: Any) -> None:
        shadow = dict(self.shadow.named_parameters()) if self.kind == "module" else self.shadow
        with torch.no_grad():
            for name, one in model.named_parameters():
                shadow[name].mul_(0.9).add_(one, alpha=0.1)


@pytest.mark.parametrize("kind", ["tensors", "module"])
def test_averages_in_a_callback_are_named(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    train(outlast.Run("run", outlast.History()), beside=[Ema(kind)], num_train_epochs=2)
    assert "the state of Ema (shadow) is not saved" in capsys.readouterr().out


class Masks(TrainerCallback):
    """Draws from a generator of its own."""

    def __init__(self) -> None:
        self.rng = np.random.RandomState(0)

    def on_step_begin(self, *args: Any, **options: Any) -> None:
        self.rng.random()


def test_a_generator_in_a_callback_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    train(outlast.Run("run", outlast.History()), beside=[Masks()], num_train_epochs=2)
    assert "the state of Masks (rng) is not saved" in capsys.readouterr().out


class Keeps(Trainer):
    """Keeps things in attributes."""

    scale = 1.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.head = torch.nn.Linear(1, 1)
        self.teacher = torch.nn.Linear(1, 1)
        self.head_optimizer = torch.optim.SGD(self.head.parameters(), lr=0.1)
        self.rng = np.random.default_rng(0)

    def training_step(self, *args: Any, **options: Any) -> Any:
        self.scale *= 0.9
        self.head(torch.ones(1)).backward()
        self.head_optimizer.step()
        return super().training_step(*args, **options)


def test_what_a_subclass_keeps_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    class First(TrainerCallback):
        def on_step_begin(self, *args: Any, **options: Any) -> None:
            raise Left

    with pytest.raises(Left):
        train(outlast.Run("first"), kind=Keeps, beside=[First()])
    said = capsys.readouterr().out
    assert "head_optimizer is an optimizer of the Trainer's own" in said
    assert "Keeps.rng is a random generator, which is not saved" in said
    with pytest.warns(outlast.exceptions.OutlastWarning) as warned:
        train(outlast.Run("run"), kind=Keeps, num_train_epochs=1)
    [text] = [str(one.message) for one in warned if "Training changes" in str(one.message)]
    assert text.startswith("Training changes Keeps.scale, Keeps.head, which")


class Lazy(Digits):
    """Makes its generator at the first item."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not hasattr(self, "rng"):
            self.rng = np.random.default_rng(0)
        return super().__getitem__(index)


GLOBAL = np.random.default_rng(0)


def with_a_global(rows: Any) -> Any:
    GLOBAL.random()
    return torch.utils.data.default_collate(rows)


def with_a_closure() -> Any:
    inner = torch.Generator()

    def collate(rows: Any) -> Any:
        torch.rand(1, generator=inner)
        return torch.utils.data.default_collate(rows)

    return collate


class LateAndGlobal(Trainer):
    """Makes a generator in the first step, and draws from a global one."""

    def training_step(self, *args: Any, **options: Any) -> Any:
        self.late = np.random.default_rng(0)
        GLOBAL.random()
        return super().training_step(*args, **options)


def test_generators_of_a_subclass_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    train(outlast.Run("run"), kind=LateAndGlobal, num_train_epochs=1)
    said = capsys.readouterr().out.splitlines()
    assert "GLOBAL of LateAndGlobal.training_step is a random generator" in said[0]
    assert "LateAndGlobal.late is a random generator" in said[1]
    assert len(said) == 2


GENERATORS: dict[str, tuple[dict[str, Any], str]] = {
    "lazy": ({"train_dataset": Lazy(0, SAMPLES)}, "dataset.rng is"),
    "global": ({"data_collator": with_a_global}, "GLOBAL of collate_fn is"),
    "closure": ({"data_collator": with_a_closure()}, "inner of collate_fn is"),
}


@pytest.mark.parametrize("what", GENERATORS)
def test_generators_are_named_wherever_they_are(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings, text = GENERATORS[what]
    collate = settings.pop("data_collator", None) if "data_collator" in settings else None

    class Collates(Trainer):
        def get_train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(
                self.train_dataset, BATCH, collate_fn=collate or self.data_collator
            )

    train(outlast.Run("run"), kind=Collates, num_train_epochs=1, **settings)
    said = capsys.readouterr().out
    assert f"{text} a random generator, which is not saved" in said
    assert said.count("random generator") == 1


class Draw(torch.utils.data.Sampler[Any]):
    """Draws between two batches."""

    def __len__(self) -> int:
        return 6

    def __iter__(self) -> Iterator[Any]:
        for _ in range(len(self)):
            yield np.random.choice(SAMPLES, BATCH).tolist()


def test_a_batch_sampler_that_may_draw_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    class Batches(Trainer):
        def get_train_dataloader(self) -> Any:
            loader = torch.utils.data.DataLoader(
                self.train_dataset, batch_sampler=Draw(), collate_fn=self.data_collator
            )
            return self.accelerator.prepare(loader)

    train(outlast.Run("run"), kind=Batches, num_train_epochs=1, **BY_STEPS)
    assert "may not be exact: Draw may draw between two batches" in capsys.readouterr().out


# Asked for otherwise.


def test_more_epochs_are_not_checked_since_the_schedule_is_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    in_a_run("run", 14)
    in_a_run("run", num_train_epochs=5)
    said = capsys.readouterr().out
    assert "max_steps changed from 18 to 30" in said
    assert "identical" not in said


def test_epochs_of_another_size_are_refused() -> None:
    in_a_run("run", 14)
    made = trainer(outlast.Run("run", accept_changes=["steps"]), per_device_train_batch_size=8)
    with pytest.raises(RunChanged, match="an epoch of Trainer's had 6 steps, and has 12"):
        made.train()


def test_a_refusal_names_what_was_set() -> None:
    in_a_run("run", 14)
    with pytest.raises(RunChanged, match="per_device_train_batch_size changed from 16 to 8"):
        in_a_run("run", per_device_train_batch_size=8)


def test_a_run_that_has_ended_inside_an_epoch_goes_on_inside_it() -> None:
    in_a_run("run", num_train_epochs=1.5)
    found, run = in_a_run("run", num_train_epochs=3)
    assert (found["global_step"], len(run.history.rows)) == (18, 4)


def test_several_sets_of_data_are_watched() -> None:
    sets = {"a": Digits(96, 120), "b": Digits(120, 150)}
    stopping = outlast.EarlyStopping("val_a_loss", patience=9)
    best = outlast.EarlyStopping("eval_b_accuracy", patience=9)
    train(stopping, best, eval_dataset=sets)
    assert stopping.best is not None and best.best is not None


def test_nothing_of_a_run_stays_in_a_loader_of_ones_own() -> None:
    loader = torch.utils.data.DataLoader(Digits(0, SAMPLES), BATCH)

    class Kept(Trainer):
        def get_train_dataloader(self) -> Any:
            return loader

    before = loader.batch_sampler
    train(outlast.Run("run"), kind=Kept, num_train_epochs=1)
    assert loader.batch_sampler is before


def test_parameters_that_nothing_saves_are_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    model, beside = Net(), torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD([*model.parameters(), *beside.parameters()], lr=0.1)
    train(outlast.Run("run"), model=model, optimizers=(optimizer, None), num_train_epochs=1)
    assert capsys.readouterr().out.count("trains parameters that neither the model nor a part has") == 1
