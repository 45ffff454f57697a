"""``load_best`` gives the best model, whatever classes and functions of the user's it is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

from outlast import ModelCheckpoint, Run, open_run
from outlast.exceptions import CapabilityError

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class Unregistered(keras.layers.Layer):
    """A layer that nobody registered with Keras."""

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(shape[-1], 1))

    def call(self, x: Any) -> Any:
        return x @ self.w


class Subclass(keras.Model):
    """A model of one's own class."""

    def __init__(self, units: int = 4, **options: Any) -> None:
        super().__init__(**options)
        self.units = units
        self.hidden, self.out = keras.layers.Dense(units), keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.out(self.hidden(x))

    def get_config(self) -> dict[str, Any]:
        return {"units": self.units}


class WithoutConfig(keras.Model):
    """A model that Keras cannot make again: its configuration lacks its argument."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def call(self, x: Any) -> Any:
        return self.layer(x)

    def get_config(self) -> dict[str, Any]:
        return {}


def own_loss(y: Any, prediction: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(y - prediction), axis=-1)


def own_activation(x: Any) -> Any:
    return keras.ops.tanh(x) * 2


MODELS = {
    "an unregistered layer": lambda: keras.Sequential([keras.Input((3,)), Unregistered()]),
    "a Lambda": lambda: keras.Sequential(
        [keras.Input((3,)), keras.layers.Lambda(lambda x: x * 2), keras.layers.Dense(1)]
    ),
    "a subclass": Subclass,
    "an activation of one's own": lambda: keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, activation=own_activation)]
    ),
}


def trained(model: Any, folder: Path) -> Run:
    model.compile("sgd", own_loss)
    run = Run(folder, [ModelCheckpoint(monitor="loss", save_best_only=True)])
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[run])
    return run


@pytest.mark.parametrize("name", MODELS)
def test_the_best_model_is_loaded_whatever_it_is_made_of(folder: Path, name: str) -> None:
    model = MODELS[name]()
    best = trained(model, folder).load_best()
    assert best is not model
    assert np.array_equal(best.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_model_that_cannot_be_made_again_is_named_with_the_way_to_load_its_weights(folder: Path) -> None:
    model = WithoutConfig(keras.layers.Dense(1))
    run = trained(model, folder)
    with pytest.raises(CapabilityError, match=r"WithoutConfig.*model\.load_weights\(.*best\.keras"):
        run.load_best()


def test_a_past_run_loads_the_best_model_though_the_run_has_gone_on(folder: Path) -> None:
    def go(epochs: int) -> None:
        net = torch.nn.Linear(1, 1)
        saver = ModelCheckpoint("best.pt", "loss", save_best_only=True)
        run = Run(folder, [saver], model=net, optimizer=[])
        for epoch in run.epochs(epochs):
            torch.nn.init.constant_(net.weight, epoch)
            run.log(loss=1 / (epoch + 1))

    go(2)
    past = open_run(folder)
    assert past.load_best()["weight"].item() == 1
    go(6)
    assert past.load_best()["weight"].item() == 5


def test_a_models_file_is_of_the_format_that_its_name_says(folder: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    names = {"best.keras": b"PK", "best.h5": b"\x89HDF", "best.weights.h5": b"\x89HDF"}
    run = Run(
        folder,
        [ModelCheckpoint(name, "loss", save_weights_only=name.startswith("best.w")) for name in names],
    )
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[run])
    assert {name: (folder / name).read_bytes()[: len(begin)] for name, begin in names.items()} == names
    loaded = keras.saving.load_model(folder / "best.h5", compile=False)
    assert all(map(np.array_equal, loaded.get_weights(), model.get_weights()))
