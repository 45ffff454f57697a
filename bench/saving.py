"""Ways to save a state of some size: ours, and those that we compare it with.

A state consists of arrays of 1 MiB. Each way saves it, waits until it is on the disk, and loads it again, so
that what it has saved can be compared with the state.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cached_property, partial
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import outlast
from outlast.storage.disk.calls import Calls, calls

LENGTH, WIDTH = 1 << 18, 512  # of an array of 1 MiB, and of a square one
Arrays = Sequence[np.ndarray[Any, Any]]


# What is saved.


class TorchState:
    """The parameters of a PyTorch model."""

    def __init__(self, size: int) -> None:
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.model = torch.nn.ParameterList([torch.randn(LENGTH) for _ in range(size)])

    def zeros(self) -> Any:
        """A model like it, whose parameters are zero."""
        import torch

        return torch.nn.ParameterList([torch.zeros(LENGTH) for _ in self.model])

    @property
    def arrays(self) -> Arrays:
        return [one.detach().numpy() for one in self.model]

    def change(self) -> None:
        for array in self.arrays:
            np.negative(array, out=array)


class JaxState:
    """Arrays of JAX in a dict."""

    def __init__(self, size: int) -> None:
        import jax

        keys = jax.random.split(jax.random.key(0), size)
        self.tree = {f"{n:05}": jax.random.normal(key, (LENGTH,)) for n, key in enumerate(keys)}

    @property
    def arrays(self) -> Arrays:
        return [np.asarray(one) for one in self.tree.values()]

    def change(self) -> None:
        for name, one in self.tree.items():
            self.tree[name] = (-one).block_until_ready()


class KerasState:
    """A Keras model of dense layers."""

    def __init__(self, size: int) -> None:
        import keras

        keras.utils.set_random_seed(0)
        self._size = size
        self.model = self.another()

    def another(self) -> Any:
        """A model like it, with weights of its own."""
        import keras

        layers = [keras.layers.Dense(WIDTH, use_bias=False) for _ in range(self._size)]
        return keras.Sequential([keras.Input((WIDTH,)), *layers])

    @property
    def arrays(self) -> Arrays:
        return list(self.model.get_weights())

    def change(self) -> None:
        for one in self.model.variables:
            one.assign(-one.value)


class States:
    """The states of one size, each made when the first way asks for it.

    Args:
        size: megabytes.
        folder: what is saved goes there.
    """

    def __init__(self, size: int, folder: Path) -> None:
        self.size, self.folder = size, folder

    @cached_property
    def torch(self) -> TorchState:
        return TorchState(self.size)

    @cached_property
    def jax(self) -> JaxState:
        return JaxState(self.size)

    @cached_property
    def keras(self) -> KerasState:
        return KerasState(self.size)


@contextmanager
def states(size: int, parent: str | None) -> Iterator[States]:
    """States of a size, with a folder that is deleted in the end."""
    folder = tempfile.mkdtemp(prefix="outlast-bench-", dir=parent)
    try:
        yield States(size, Path(folder))
    finally:
        shutil.rmtree(folder)


# How it is saved.


class Saving:
    """One way to save a state.

    Args:
        state: what is saved.
        path: where to; a file or a folder.
    """

    def __init__(self, state: Any, path: Path) -> None:
        self.state, self.path = state, path

    def save(self) -> None:
        """All that training waits for."""
        raise NotImplementedError

    def finish(self) -> None:
        """Wait until it is on the disk; most are already."""

    def close(self) -> None:
        """Nothing more will be saved."""

    def load(self) -> Arrays:
        """What is there, in the order of the state."""
        raise NotImplementedError

    def clear(self) -> None:
        """Delete what was saved."""
        if self.path.is_dir():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)

    def seconds(self) -> tuple[float, float]:
        """How long a save blocks training, and how long it takes until it is durable."""
        self.state.change()
        began = time.perf_counter()
        self.save()
        blocked = time.perf_counter() - began
        self.finish()
        durable = time.perf_counter() - began
        self.clear()
        return blocked, durable

    def check(self) -> None:
        """What it saves is the state."""
        self.state.change()
        self.save()
        self.finish()
        self.close()
        for found, array in zip(self.load(), self.state.arrays, strict=True):
            assert np.array_equal(found, array), f"{type(self).__name__} has saved something else"
        self.clear()


class Copy(Saving):
    """One copy of the memory, which is no save."""

    def __init__(self, state: TorchState, path: Path) -> None:
        super().__init__(state, path)
        self._buffers = [np.zeros_like(array) for array in state.arrays]

    def save(self) -> None:
        for buffer, array in zip(self._buffers, self.state.arrays, strict=True):
            np.copyto(buffer, array)

    def load(self) -> Arrays:
        return self._buffers


class Write(Saving):
    """The plain bytes."""

    def save(self) -> None:
        with open(self.path, "wb", buffering=0) as file:
            for array in self.state.arrays:
                assert file.write(array.data.cast("B")) == array.nbytes
            os.fsync(file.fileno())

    def load(self) -> Arrays:
        return list(np.fromfile(self.path, np.float32).reshape(-1, LENGTH))


class OneFile(Saving):
    """A library's function that writes a file, and an fsync.

    Args:
        write: is given the path.
        read: gives the arrays in the file at a path.
    """

    def __init__(
        self, state: Any, path: Path, write: Callable[[str], object], read: Callable[[str], Arrays]
    ) -> None:
        super().__init__(state, path)
        self._write, self._read = write, read

    def save(self) -> None:
        self._write(str(self.path))
        file = os.open(self.path, os.O_RDWR)
        os.fsync(file)
        os.close(file)

    def load(self) -> Arrays:
        return self._read(str(self.path))


def torch_file(at: States) -> Saving:
    import torch

    model = at.torch.model
    return OneFile(
        at.torch,
        at.folder / "saved.pt",
        lambda path: torch.save(model.state_dict(), path),
        lambda path: by_number(torch.load(path)),
    )


def by_number(found: Any) -> Arrays:
    """The arrays of a state dict of tensors that are numbered."""
    return [found[str(number)].detach().numpy() for number in range(len(found))]


def safetensors_file(at: States) -> Saving:
    from safetensors.torch import load_file, save_file

    model = at.torch.model
    return OneFile(
        at.torch,
        at.folder / "saved.safetensors",
        lambda path: save_file(model.state_dict(), path),
        lambda path: by_number(load_file(path)),
    )


def lightning_file(at: States) -> Saving:
    import torch

    trainer = lightning_trainer(at.torch.model)

    def read(path: str) -> Arrays:
        found = torch.load(path)["state_dict"]
        return by_number({name.removeprefix("inner."): one for name, one in found.items()})

    return OneFile(
        at.torch, at.folder / "saved.ckpt", partial(trainer.save_checkpoint, weights_only=True), read
    )


def lightning_trainer(model: Any) -> Any:
    """A trainer in which nothing but the model is."""
    import logging

    import lightning

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(accelerator="cpu", devices=1, enable_model_summary=False, **quiet)
    trainer.strategy.connect(Module())
    return trainer


class Distributed(Saving):
    """torch.distributed.checkpoint, which syncs its files."""

    def save(self) -> None:
        import torch.distributed.checkpoint as dcp

        dcp.save(self.state.model.state_dict(), checkpoint_id=self.path)

    def load(self) -> Arrays:
        import torch.distributed.checkpoint as dcp

        found = self.state.zeros().state_dict()
        dcp.load(found, checkpoint_id=self.path)
        return by_number(found)


class DistributedAsync(Distributed):
    """The same in the background."""

    def save(self) -> None:
        import torch.distributed.checkpoint as dcp

        self._future = dcp.async_save(self.state.model.state_dict(), checkpoint_id=self.path)

    def finish(self) -> None:
        self._future.result()


class Orbax(Saving):
    """Orbax, which saves a tree of JAX's arrays."""

    def __init__(self, state: JaxState, path: Path) -> None:
        import orbax.checkpoint

        super().__init__(state, path)
        self._checkpointer = orbax.checkpoint.StandardCheckpointer()

    def save(self) -> None:
        self._checkpointer.save(self.path, self.state.tree)
        self._checkpointer.wait_until_finished()

    def load(self) -> Arrays:
        found = self._checkpointer.restore(self.path, self.state.tree)
        return [np.asarray(found[name]) for name in self.state.tree]


class OrbaxAsync(Orbax):
    """The same in the background."""

    def save(self) -> None:
        self._checkpointer.save(self.path, self.state.tree)

    def finish(self) -> None:
        self._checkpointer.wait_until_finished()


def keras_weights(at: States) -> Saving:
    model = at.keras.model

    def read(path: str) -> Arrays:
        other = at.keras.another()
        other.load_weights(path)
        return list(other.get_weights())

    return OneFile(at.keras, at.folder / "saved.weights.h5", model.save_weights, read)


def keras_model(at: States) -> Saving:
    import keras

    return OneFile(
        at.keras,
        at.folder / "saved.keras",
        at.keras.model.save,
        lambda path: list(keras.saving.load_model(path).get_weights()),
    )


class InRun(Saving):
    """The end of an epoch in a Run.

    Args:
        callbacks: make those of the run.
        another: gives a model like the state's, which a resume fills.
        better: each epoch is better than the one before.
    """

    def __init__(
        self,
        state: Any,
        path: Path,
        another: Callable[[], Any],
        callbacks: Callable[[], list[Any]] = list,
        *,
        better: bool = False,
    ) -> None:
        super().__init__(state, path)
        self._another, self._callbacks, self._better = another, callbacks, better
        self._epoch = 0
        self.open()

    def open(self) -> None:
        """Start the run, or resume it."""
        self._run = self._opened(self.state.model)

    def _opened(self, model: Any) -> Any:
        others: dict[str, Any] = {} if hasattr(model, "get_weights") else {"optimizer": []}
        with redirect_stdout(io.StringIO()):
            run = outlast.Run(self.path, self._callbacks(), model=model, check_resume="never", **others)
            run.on_train_begin()
        return run

    def save(self) -> None:
        self._run.on_epoch_begin(self._epoch)
        loss = -self._epoch if self._better or not self._epoch else 1
        self._run.on_epoch_end(self._epoch, {"loss": float(loss)})
        self._epoch += 1

    def finish(self) -> None:
        self._run.flush()

    def clear(self) -> None:
        """The run deletes what it needs no more."""

    def close(self) -> None:
        self._run.__exit__(None, None, None)

    def load(self) -> Arrays:
        model = self._another()
        resumed = self._opened(model)
        resumed.__exit__(None, None, None)
        if hasattr(model, "get_weights"):
            return list(model.get_weights())
        return [one.detach().numpy() for one in model]


class Buffered(InRun):
    """Through the memory of the operating system."""

    def save(self) -> None:
        self._direct = getattr(os, "O_DIRECT", 0)
        vars(calls)["open"] = lambda path, flags, mode=0o666: Calls.open(
            calls, path, flags & ~self._direct, mode
        )
        super().save()

    def finish(self) -> None:
        super().finish()
        vars(calls).pop("open")


def in_run(at: States, name: str, *callbacks: Callable[[], Any], better: bool = False) -> InRun:
    def made() -> list[Any]:
        return [one() for one in callbacks]

    return InRun(at.torch, at.folder / name, at.torch.zeros, made, better=better)


def in_resumed_run(at: States) -> Saving:
    saving = in_run(at, "resumed")
    saving.save()
    saving.close()
    saving.open()
    return saving


def keras_in_run(at: States) -> Saving:
    """The best model as a whole file, beside the resume point."""

    def callbacks() -> list[Any]:
        return [outlast.ModelCheckpoint("best.keras", "loss", save_best_only=True)]

    return InRun(at.keras, at.folder / "keras-run", at.keras.another, callbacks, better=True)


keeper = partial(outlast.EarlyStopping, "loss", patience=10**9, restore_best_weights=True)

COPY, WRITE = "one copy of the memory", "write + fsync"
WAYS: dict[str, Callable[[States], Saving]] = {
    COPY: lambda at: Copy(at.torch, at.folder / "none"),
    WRITE: lambda at: Write(at.torch, at.folder / "plain"),
    "a resume point": lambda at: in_run(at, "run"),
    "the same, buffered (without O_DIRECT)": lambda at: Buffered(
        at.torch, at.folder / "buffered", at.torch.zeros
    ),
    "in a resumed run": in_resumed_run,
    "best weights kept, no better epoch": lambda at: in_run(at, "kept", keeper),
    "best weights kept, a better epoch": lambda at: in_run(at, "better", keeper, better=True),
    "by two callbacks, a better epoch": lambda at: in_run(at, "two", keeper, keeper, better=True),
    "a Keras model, and its best `.keras`": keras_in_run,
    "torch.save + fsync": torch_file,
    "safetensors + fsync": safetensors_file,
    "Lightning's save_checkpoint + fsync": lightning_file,
    "torch.distributed.checkpoint": lambda at: Distributed(at.torch, at.folder / "dcp"),
    "its async_save": lambda at: DistributedAsync(at.torch, at.folder / "dcp-async"),
    "Orbax": lambda at: Orbax(at.jax, at.folder / "orbax"),
    "Orbax, asynchronous": lambda at: OrbaxAsync(at.jax, at.folder / "orbax-async"),
    "Keras's weights file + fsync": keras_weights,
    "Keras's `.keras` + fsync": keras_model,
}

warnings.simplefilter("ignore")  # of the libraries
