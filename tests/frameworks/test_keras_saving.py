"""From the second save on a Keras model's file is Keras's own, byte for byte, without Keras's work."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import outlast
from outlast.frameworks import keras as ours
from outlast.frameworks import keras_saving, keras_template
from outlast.frameworks.keras_template import Filled

X = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
Y = X[:, :1]


def sequential() -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(4, "relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(1),
        ]
    )


def functional() -> Any:
    given = keras.Input((8,))
    shared = keras.layers.Dense(8, "tanh", name="shared")
    return keras.Model(given, keras.layers.Dense(1)(shared(shared(given))))


def adapted() -> Any:
    normalization = keras.layers.Normalization()
    normalization.adapt(X)
    return keras.Sequential([keras.Input((8,)), normalization, keras.layers.Dense(1)])


@keras.saving.register_keras_serializable("saving")
class Nested(keras.Model):  # type: ignore[misc]
    """Layers in a list, and a metric of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = [keras.layers.Dense(4) for _ in range(2)]
        self.last, self.mean = keras.layers.Dense(1), keras.metrics.Mean(name="own")

    def call(self, x: Any) -> Any:
        for layer in self.inner:
            x = layer(x)
        return self.last(x)


@keras.saving.register_keras_serializable("saving")
class SavesItself(keras.layers.Layer):  # type: ignore[misc]
    """What it stores is no variable of its own."""

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(shape[-1], 1))

    def call(self, x: Any) -> Any:
        return keras.ops.matmul(x, self.w)

    def save_own_variables(self, store: Any) -> None:
        store["0"] = self.w
        store["twice"] = 2 * keras.ops.convert_to_numpy(self.w)

    def load_own_variables(self, store: Any) -> None:
        self.w.assign(store["0"])


def saving_itself() -> Any:
    return keras.Sequential([keras.Input((8,)), SavesItself()])


def trained(make: Callable[[], Any], optimizer: Any = "adam") -> Any:
    model = make()
    model.compile(optimizer, "mse", metrics=["mae"])
    model.fit(X, Y, verbose=0)
    return model


def saved(model: Any, path: Path, *, weights_only: bool = False) -> Any:
    """What wrote the file, after another epoch with another learning rate."""
    training = ours.training(model, None)
    save = training.saving(weights_only).named(str(path))
    save.capture()
    model.fit(X, Y, verbose=0)
    model.optimizer.learning_rate = 0.0123
    write = save.capture()
    theirs = path.with_name(f"theirs{path.name}")
    (model.save_weights if weights_only else model.save)(theirs)
    model.fit(X, Y, verbose=0)  # what was captured does not change any more
    write(str(path))
    return write


def content(path: Path) -> list[tuple[str, bytes]]:
    """The entries of an archive; of the first, the date, only the name."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        found = [(one.filename, archive.read(one)) for one in archive.infolist()]
    assert found[0][0] == "metadata.json"
    return [("metadata.json", b""), *found[1:]]


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "accumulating": lambda: keras.optimizers.AdamW(0.01, gradient_accumulation_steps=2),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01)),
}


@pytest.mark.parametrize("make", [sequential, functional, adapted, Nested])
def test_a_filled_file_is_keras_s_own(make: Callable[[], Any], tmp_path: Path) -> None:
    model = trained(make)
    write = saved(model, tmp_path / "m.keras")
    assert isinstance(write, Filled)
    assert content(tmp_path / "m.keras") == content(tmp_path / "theirsm.keras")
    assert keras.saving.load_model(tmp_path / "m.keras").optimizer.learning_rate == np.float32(0.0123)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_so_it_is_with_every_optimizer(optimizer: str, tmp_path: Path) -> None:
    write = saved(trained(sequential, OPTIMIZERS[optimizer]()), tmp_path / "m.keras")
    assert isinstance(write, Filled)
    assert content(tmp_path / "m.keras") == content(tmp_path / "theirsm.keras")


@pytest.mark.parametrize("policy", ["bfloat16", "float16"])
def test_so_it_is_with_every_type_of_numbers(policy: str, tmp_path: Path) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        saved(trained(sequential), tmp_path / "m.keras")
    finally:
        keras.config.set_dtype_policy(before)
    assert content(tmp_path / "m.keras") == content(tmp_path / "theirsm.keras")


def test_a_file_of_weights_is_keras_s_own(tmp_path: Path) -> None:
    write = saved(trained(sequential), tmp_path / "m.weights.h5", weights_only=True)
    assert isinstance(write, Filled)
    assert (tmp_path / "m.weights.h5").read_bytes() == (tmp_path / "theirsm.weights.h5").read_bytes()


def test_a_layer_that_saves_itself_is_saved_by_keras_each_time(tmp_path: Path) -> None:
    write = saved(trained(saving_itself), tmp_path / "m.keras")
    assert not isinstance(write, Filled)
    assert content(tmp_path / "m.keras") == content(tmp_path / "theirsm.keras")


def test_a_model_with_a_save_of_its_own_is_asked_each_time(tmp_path: Path) -> None:
    class Counting(keras.Sequential):  # type: ignore[misc]
        """Notes its saves."""

        saves = 0

        def save(self, *args: Any, **options: Any) -> None:
            type(self).saves += 1
            super().save(*args, **options)

    trained_one = trained(lambda: Counting([keras.Input((8,)), keras.layers.Dense(1)]))
    assert not isinstance(saved(trained_one, tmp_path / "m.keras"), Filled)
    assert Counting.saves == 3  # ours, ours, and the one that is compared with


def test_a_file_with_a_vocabulary_is_keras_s_each_time(tmp_path: Path) -> None:
    lookup = (
        keras.layers.IntegerLookup(vocabulary=[1, 2, 3]) if keras.backend.backend() == "tensorflow" else None
    )
    if lookup is None:
        pytest.skip("only TensorFlow's backend has layers with a vocabulary in a model")
    model = keras.Sequential([keras.Input((8,), dtype="int64"), lookup, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    training = ours.training(model, None)
    model.fit(np.ones((4, 8), "int64"), Y[:4], verbose=0)
    training.saving(False).capture()
    write = training.saving(False).capture()
    write(str(tmp_path / "m.keras"))
    assert keras.saving.load_model(tmp_path / "m.keras").layers[0].vocabulary_size() == 4


def test_a_model_with_other_variables_gets_another_template(tmp_path: Path) -> None:
    model = trained(sequential)
    training = ours.training(model, None)
    training.saving(False).capture()
    model.compile("sgd", "mae")
    model.fit(X, Y, verbose=0)
    first, second = training.saving(False).capture(), training.saving(False).capture()
    assert not isinstance(first, Filled)
    assert isinstance(second, Filled)
    for name, write in {"first": first, "second": second}.items():
        write(str(tmp_path / f"{name}.keras"))
    assert content(tmp_path / "first.keras") == content(tmp_path / "second.keras")


def test_a_layer_that_comes_later_has_its_place_in_the_file(tmp_path: Path) -> None:
    model = trained(sequential)
    training = ours.training(model, None)
    training.saving(False).capture()
    model.add(keras.layers.Activation("tanh"))
    training.saving(False).capture()(str(tmp_path / "ours.keras"))
    model.save(tmp_path / "theirs.keras")
    assert content(tmp_path / "ours.keras") == content(tmp_path / "theirs.keras")


@keras.saving.register_keras_serializable("outlast tests")
class Blocks(keras.Model):  # type: ignore[misc]
    """Calls its layers in the order of a list."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [keras.layers.Dense(8, "tanh") for _ in range(2)]
        self.head = keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        """Apply them."""
        for one in self.blocks:
            x = one(x)
        return self.head(x)

    def get_config(self) -> dict[str, Any]:
        """None."""
        return {}


def test_layers_in_another_order_have_other_places_in_the_file(tmp_path: Path) -> None:
    model = trained(Blocks)
    training = ours.training(model, None)
    training.saving(False).capture()
    model.blocks = model.blocks[::-1]
    training.saving(False).capture()(str(tmp_path / "ours.keras"))
    loaded = keras.saving.load_model(tmp_path / "ours.keras")
    assert np.array_equal(*(keras.ops.convert_to_numpy(one(X)) for one in (loaded, model)))


def test_a_save_in_another_thread_is_not_taken_for_this_one(tmp_path: Path) -> None:
    one, other = trained(sequential), trained(sequential)
    with keras_template.recorded() as found:
        thread = threading.Thread(target=other.save, args=(tmp_path / "other.keras",))
        thread.start()
        thread.join()
        assert not found.variables
        assert not found.parts
        one.save(tmp_path / "one.keras")
    variables = found.variables
    known = {id(variable) for variable in (*one.variables, *one.optimizer.variables, *one.metrics_variables)}
    assert variables
    assert {id(variable) for variable in variables.values()} <= known


def test_keras_is_as_before_after_an_error_and_after_two_threads() -> None:
    from keras.src.saving import saving_lib

    def now() -> tuple[Any, ...]:
        return saving_lib.H5IOStore.__setitem__, saving_lib._save_state

    before = now()
    with pytest.raises(KeyError), keras_template.recorded():
        raise KeyError
    assert now() == before
    has_begun, may_end = threading.Event(), threading.Event()

    def record() -> None:
        with keras_template.recorded():
            has_begun.set()
            may_end.wait(60)

    first, second = threading.Thread(target=record), threading.Thread(target=record)
    first.start()
    has_begun.wait(60)
    second.start()
    may_end.set()
    first.join()
    second.join()
    assert now() == before


@keras.saving.register_keras_serializable("outlast tests")
class Collecting(keras.layers.Layer):  # type: ignore[misc]
    """Saves what it has collected beside its weights, once there is something."""

    def build(self, shape: Any) -> None:
        """Make the weight."""
        self.scale = self.add_weight(shape=(1,), initializer="ones")
        self.collected: list[float] = []

    def call(self, x: Any) -> Any:
        """Scale the inputs."""
        return x * self.scale

    def save_own_variables(self, store: Any) -> None:
        """Save the weight, and what is there."""
        super().save_own_variables(store)
        if self.collected:
            store["collected"] = np.array(self.collected)

    def load_own_variables(self, store: Any) -> None:
        """Load both."""
        self.scale.assign(store["0"])
        self.collected = [*np.array(store["collected"])] if "collected" in store else []


def test_what_a_layer_begins_to_save_later_is_saved(tmp_path: Path) -> None:
    model = trained(lambda: keras.Sequential([keras.Input((8,)), Collecting(), keras.layers.Dense(1)]))
    save = ours.training(model, None).saving(False)
    for number in range(3):
        save.capture()(str(tmp_path / f"{number}.keras"))
        model.layers[0].collected.append(float(number))
    loaded = [keras.saving.load_model(tmp_path / f"{number}.keras").layers[0] for number in range(3)]
    assert [[*one.collected] for one in loaded] == [[], [0.0], [0.0, 1.0]]


def test_a_keras_that_says_less_is_saved_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(model: Any) -> Any:
        raise AttributeError("no such function")

    monkeypatch.setattr(keras_template, "_texts", unknown)
    assert not isinstance(saved(trained(sequential), tmp_path / "m.keras"), Filled)


def test_a_large_file_gets_the_long_form_of_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_template, "_LARGEST", 100)
    model = trained(sequential)
    saved(model, tmp_path / "m.keras")
    assert content(tmp_path / "m.keras") == content(tmp_path / "theirsm.keras")
    keras.saving.load_model(tmp_path / "m.keras")


def test_keras_writes_once_in_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, by_keras = trained(sequential), []
    real = keras_saving.KerasSave._by_keras
    monkeypatch.setattr(
        keras_saving.KerasSave, "_by_keras", lambda *args: by_keras.append(args) or real(*args)
    )
    with outlast.Run(tmp_path / "run", [outlast.ModelCheckpoint()]) as run:
        model.fit(run.data((X, Y)), epochs=3, verbose=0, callbacks=[run])
    assert same(model, tmp_path / "run" / "best.keras")
    model.fit(X, Y, verbose=0, callbacks=[outlast.ModelCheckpoint(tmp_path / "x.keras")])
    assert same(model, tmp_path / "x.keras")
    assert len(by_keras) == 1


def same(model: Any, path: Path) -> bool:
    """Whether a file has the model as it is; Keras leaves the seeds out."""
    loaded = keras.saving.load_model(path)
    pairs = [
        *zip(model.weights, loaded.weights, strict=True),
        *zip(model.optimizer.variables, loaded.optimizer.variables, strict=True),
    ]
    return all(np.array_equal(*map(keras.ops.convert_to_numpy, pair)) for pair in pairs)
