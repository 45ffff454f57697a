"""Small trainings in Keras's fit, on whichever backend; see trainings.py for what a case is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state
from keras.src.utils import rng_utils
from tests.exact.trainings import Case, Training

import outlast

EPOCHS = 4
BACKEND = keras.backend.backend()
X = np.linspace(-1, 1, 72).reshape(24, 3).astype("float32")
Y = np.sin(X).sum(axis=1, keepdims=True)

CASES: dict[str, Case] = {}


def exact(training: Training) -> Training:
    CASES[training.__name__] = Case(training)
    return training


def said(text: str) -> Any:
    def add(training: Training) -> Training:
        CASES[training.__name__] = Case(training, text)
        return training

    return add


def only(*backends: str) -> Any:
    """A case that the other backends do not have."""

    def add(training: Training) -> Training:
        if BACKEND not in backends:
            del CASES[training.__name__]
        return training

    return add


# What most of them are made of.


def network(outputs: int = 1, inputs: int = 3) -> Any:
    return keras.Sequential(
        [keras.Input((inputs,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(outputs)]
    )


def compiled(optimizer: Any = None) -> Any:
    model = network()
    model.compile(optimizer or keras.optimizers.Adam(0.01), "mse", jit_compile=False)
    return model


class Left(keras.callbacks.Callback):
    """Ends a training in an epoch's middle, as a kill does."""

    def __init__(self, until: int | None) -> None:
        super().__init__()
        self.until = until

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.left, self.steps = epoch == self.until, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if self.left and self.steps == 2:
            raise KeyboardInterrupt


def train(
    folder: Path,
    until: int | None,
    model: Any = None,
    *data: Any,
    run: Any = None,
    first: Any = (),
    beside: Any = (),
    epochs: int = EPOCHS,
    **fit: Any,
) -> Any:
    """The usual fit, in which a case changes one thing; what a user would look at in the end."""
    model = model or compiled()
    run = run or outlast.Run(folder)
    try:
        model.fit(
            *(data or (X, Y)),
            epochs=epochs,
            callbacks=[*first, run, *beside, Left(until)],
            verbose=0,
            **({"batch_size": 8} if not data else {}),
            **fit,
        )
    except KeyboardInterrupt:
        return None
    weights = [keras.ops.convert_to_numpy(one).tobytes() for one in model.variables]
    return weights, run.history["loss"], [name for name in run.history.rows[-1] if "rate" in name]


# Generators of seeds that the model does not hold.


def disturb(model: Any, seeds: Any) -> None:
    bias = model.layers[-1].bias
    bias.assign(bias + keras.random.normal(bias.shape, seed=seeds))


class Disturbs(outlast.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.seeds = keras.random.SeedGenerator(3)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        disturb(self.model, self.seeds)


@exact
def a_callback_that_draws_with_a_generator_of_seeds(folder: Path, until: int | None) -> Any:
    return train(folder, until, run=outlast.Run(folder, [Disturbs()]))


@exact
def a_generator_of_seeds_as_a_part(folder: Path, until: int | None) -> Any:
    model, seeds = compiled(), keras.random.SeedGenerator(3)
    drawing = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: disturb(model, seeds))
    return train(folder, until, model, run=outlast.Run(folder, [drawing], draws=seeds))


# Models that bring their own steps.


def a_step(model: Any, optimizer: Any, loss_of: Any, variables: Any) -> Any:
    """One step of one optimizer, on the backends where a step may be written like this."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = loss_of()
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss
    import torch

    for variable in variables:
        variable.value.grad = None
    loss = loss_of()
    loss.backward()
    with torch.no_grad():
        optimizer.apply([variable.value.grad for variable in variables], variables)
    return loss


class Distil(keras.Model):
    """Trains one of its two networks only."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.student = network(), network()

    def call(self, x: Any) -> Any:
        return self.student(x)

    def train_step(self, data: Any) -> Any:
        x = data[0]

        def loss() -> Any:
            return keras.ops.mean(keras.ops.square(self.student(x) - self.teacher(x)))

        return {"loss": a_step(self, self.optimizer, loss, self.student.trainable_variables)}


@only("tensorflow", "torch")
@exact
def an_optimizer_of_some_variables(folder: Path, until: int | None) -> Any:
    model = Distil()
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    return train(folder, until, model)


class Copies:
    """Moving averages of a network, in an object that Keras knows nothing of."""

    def __init__(self, network: Any) -> None:
        self.of = network
        self.values = [keras.Variable(one, trainable=False) for one in network.trainable_variables]

    def update(self) -> None:
        for value, variable in zip(self.values, self.of.trainable_variables, strict=True):
            value.assign(0.9 * value + 0.1 * variable)


class Gan(keras.Model):
    """Two optimizers of its own, a tracker that nobody resets, and averages of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.discriminator = network(3, 2), network()
        self.seed = keras.random.SeedGenerator(3)
        self.averages = Copies(self.generator)
        self.trackers = {"all": [keras.metrics.Mean()]}

    @property
    def metrics(self) -> Any:
        return []

    def compile(self, d: Any, g: Any) -> None:
        super().compile(jit_compile=False)
        self.d_optimizer, self.g_optimizer = d, g

    def call(self, x: Any) -> Any:
        return self.generator(x[:, :2])

    def train_step(self, data: Any) -> Any:
        real = data[0]

        def fake() -> Any:
            return self.generator(keras.random.normal((8, 2), seed=self.seed))

        def of_discriminator() -> Any:
            return keras.ops.mean(self.discriminator(fake())) - keras.ops.mean(self.discriminator(real))

        def of_generator() -> Any:
            return -keras.ops.mean(self.discriminator(fake()))

        d = a_step(self, self.d_optimizer, of_discriminator, self.discriminator.trainable_variables)
        a_step(self, self.g_optimizer, of_generator, self.generator.trainable_variables)
        self.averages.update()
        tracker = self.trackers["all"][0]
        tracker.update_state(d)
        return {"loss": tracker.result()}


@only("tensorflow", "torch")
@exact
def optimizers_trackers_and_averages_in_attributes(folder: Path, until: int | None) -> Any:
    model = Gan()
    model.compile(keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.02))
    weights = train(folder, until, model)
    if weights is None:
        return None
    assert weights[2] == ["learning_rate_d_optimizer", "learning_rate_g_optimizer"]
    return weights, [keras.ops.convert_to_numpy(one).tobytes() for one in model.averages.values]


# Attributes that training changes.


class Counting(keras.layers.Layer):
    """Does something else in each call."""

    def __init__(self) -> None:
        super().__init__(name="counting")
        self.calls = 0

    def call(self, x: Any) -> Any:
        self.calls += 1
        return x * (1.0 + self.calls % 7)


class CountingInAWeight(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.calls = self.add_weight(trainable=False, dtype="int32")

    def call(self, x: Any) -> Any:
        self.calls.assign_add(1)
        return x * (1.0 + keras.ops.cast(self.calls % 7, x.dtype))


def with_a_layer(folder: Path, until: int | None, layer: Any, **options: Any) -> Any:
    model = keras.Sequential([keras.Input((3,)), layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False, **options)
    return train(folder, until, model)


@said("Training changes counting.calls, which a plain attribute holds and a Run does not save")
def a_counter_of_a_layer(folder: Path, until: int | None) -> Any:
    return with_a_layer(folder, until, Counting(), run_eagerly=True)


@exact
def a_counter_of_a_layer_in_a_weight(folder: Path, until: int | None) -> Any:
    return with_a_layer(folder, until, CountingInAWeight())


@said("Training changes heat, bank, which a plain attribute holds")
def attributes_of_a_model_that_a_callback_changes(folder: Path, until: int | None) -> Any:
    model = compiled()
    model.heat, model.bank = 1.0, keras.ops.zeros((4,))

    def cool(epoch: int, logs: Any) -> None:
        model.heat *= 0.9
        model.bank = model.bank + model.heat
        bias = model.layers[-1].bias
        bias.assign(bias + keras.ops.sum(model.bank))

    cooling = keras.callbacks.LambdaCallback(on_epoch_end=cool)
    return train(folder, until, model, run=outlast.Run(folder, [cooling]))


@exact
def a_model_without_an_input_of_a_known_shape(folder: Path, until: int | None) -> Any:
    model = keras.Sequential(
        [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False)
    return train(folder, until, model)


# Layers that are frozen or thawed in training.


def frozen_at(folder: Path, until: int | None, epoch: int, **options: Any) -> Any:
    """A callback freezes a layer in one epoch's beginning."""
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "tanh", name="base"), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False, **options)

    def freeze(begun: int, logs: Any) -> None:
        if begun == epoch:
            model.layers[0].trainable = False

    freezing = keras.callbacks.LambdaCallback(on_epoch_begin=freeze)
    return train(folder, until, model, run=outlast.Run(folder, [freezing]))


@only("torch", "tensorflow")
@exact
def a_layer_that_is_frozen_in_an_epoch(folder: Path, until: int | None) -> Any:
    """The check trains the epoch after it."""
    return frozen_at(folder, until, 1, run_eagerly=True)


@only("tensorflow")
@said("Training has changed what is trained: base.trainable is False")
def a_layer_that_is_frozen_in_an_epoch_of_a_traced_fit(folder: Path, until: int | None) -> Any:
    return frozen_at(folder, until, 2)


@only("torch", "tensorflow")  # JAX refuses it
@exact
def a_layer_that_a_callback_freezes_when_training_begins(folder: Path, until: int | None) -> Any:
    model = compiled()

    def freeze(logs: Any) -> None:
        model.layers[0].trainable = False

    freezing = keras.callbacks.LambdaCallback(on_train_begin=freeze)
    return train(folder, until, model, beside=[freezing])


# The learning rate.


@exact
def a_model_that_the_script_loads_if_it_is_there(folder: Path, until: int | None) -> Any:
    best = folder / "best.keras"
    model = keras.saving.load_model(best) if best.exists() else compiled()
    run = outlast.Run(
        folder,
        [
            outlast.ReduceLROnPlateau("loss", patience=1, min_delta=10.0),
            outlast.ModelCheckpoint("best.keras", "loss", save_best_only=True),
        ],
    )
    return train(folder, until, model, run=run)


# The data, given to fit through the run.


def pairs(indices: Any) -> Any:
    return [(X[indices[i : i + 8]], Y[indices[i : i + 8]]) for i in range(0, 24, 8)]


def through(folder: Path, until: int | None, source: Any, given: Any = None, **fit: Any) -> Any:
    run = outlast.Run(folder)
    return train(folder, until, None, run.data(source, **(given or {})), run=run, **fit)


@exact
def a_function_that_makes_a_generator(folder: Path, until: int | None) -> Any:
    def batches() -> Any:
        yield from pairs(np.random.permutation(24))

    return through(folder, until, batches, {"steps": 3})


@exact
def a_generator_without_an_end(folder: Path, until: int | None) -> Any:
    def batches() -> Any:
        rng = np.random.default_rng(3)
        while True:
            yield from pairs(rng.permutation(24))

    return through(folder, until, lambda: batches(), steps_per_epoch=4)


@exact
def a_function_of_the_epoch(folder: Path, until: int | None) -> Any:
    return through(
        folder, until, lambda epoch: iter(pairs(np.random.default_rng(epoch).permutation(24))), {"steps": 3}
    )


@exact
def a_function_that_counts_its_calls(folder: Path, until: int | None) -> Any:
    calls = 0

    def batches() -> Any:
        nonlocal calls
        calls += 1
        return iter(pairs(np.random.default_rng(calls).permutation(24)))

    return through(folder, until, batches, {"steps": 3})


@exact
def arrays_through_the_run(folder: Path, until: int | None) -> Any:
    return through(folder, until, (X, Y), {"batch_size": 8})


@exact
def batches_of_arrays(folder: Path, until: int | None) -> Any:
    return train(folder, until, None, outlast.Batches(X, Y, batch_size=8, seed=1))


@exact
def batches_of_arrays_in_keras_order(folder: Path, until: int | None) -> Any:
    data = outlast.Batches(X, Y, batch_size=8, seed=1)
    return train(folder, until, None, data, shuffle=False, validation_data=outlast.Batches(X, Y, seed=2))


@exact
def batches_of_arrays_through_the_run(folder: Path, until: int | None) -> Any:
    return through(folder, until, outlast.Batches(X, Y, batch_size=8, seed=1))


def torch_loader() -> Any:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    return DataLoader(data, 8, shuffle=True, generator=torch.Generator().manual_seed(3))


@exact
def a_torch_loader_with_a_generator(folder: Path, until: int | None) -> Any:
    return through(folder, until, torch_loader())


class Shuffled(keras.utils.PyDataset):
    """Shuffles an array of its own when an epoch ends."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.order = np.arange(24)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return pairs(self.order)[index]

    def on_epoch_end(self) -> None:
        np.random.shuffle(self.order)


@exact
def a_dataset_that_shuffles_itself(folder: Path, until: int | None) -> Any:
    return through(folder, until, Shuffled())


class Drawing(Shuffled):
    """Draws noise from the generator that it shuffles with, and makes its order when it is first used."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.later: Any = None
        self.rng = np.random.default_rng(5)

    def __getitem__(self, index: int) -> Any:
        if self.later is None:
            self.later = np.random.permutation(24)
        x, y = pairs(self.order[self.later])[index]
        return x + np.random.normal(0, 0.1, x.shape) + self.rng.normal(0, 0.1, x.shape), y


@exact
def a_dataset_that_shuffles_itself_and_draws(folder: Path, until: int | None) -> Any:
    return through(folder, until, Drawing())


class Saved(Shuffled):
    """Has a state."""

    def on_epoch_end(self) -> None:
        self.order = np.roll(self.order, 1 + int(np.random.randint(5)))

    def state_dict(self) -> Any:
        return {"order": self.order.copy()}

    def load_state_dict(self, state: Any) -> None:
        self.order = state["order"].copy()


@exact
def a_dataset_with_a_state(folder: Path, until: int | None) -> Any:
    return through(folder, until, Saved())


class Endless(keras.utils.PyDataset):
    """Has no end, and makes a batch of its number."""

    @property
    def num_batches(self) -> None:
        return None

    def __getitem__(self, index: int) -> Any:
        return pairs(np.random.default_rng(index).permutation(24))[0]


@exact
def a_dataset_without_an_end(folder: Path, until: int | None) -> Any:
    return through(folder, until, Endless(), steps_per_epoch=3)


def tf_dataset() -> Any:
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(24, seed=3)


@exact
def a_tf_dataset_that_shuffles(folder: Path, until: int | None) -> Any:
    return through(folder, until, tf_dataset().batch(8).prefetch(2))


@exact
def a_tf_dataset_that_repeats_and_then_shuffles(folder: Path, until: int | None) -> Any:
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensor_slices((X, Y)).repeat(2).shuffle(48, seed=3)
    return through(folder, until, data.batch(8))


@said("this tf.data.Dataset shuffles again within an epoch")
def a_tf_dataset_that_shuffles_twice_in_an_epoch(folder: Path, until: int | None) -> Any:
    return through(folder, until, tf_dataset().repeat(2).batch(8))


@said("this tf.data.Dataset shuffles again within an epoch")
def a_tf_dataset_that_is_drawn_from_two_that_shuffle(folder: Path, until: int | None) -> Any:
    two = [tf_dataset().repeat(), tf_dataset().repeat()]
    drawn = type(two[0]).sample_from_datasets(two, [0.7, 0.3], seed=5)
    return through(folder, until, drawn.batch(8).take(3).prefetch(2))


@exact
def a_tf_dataset_that_goes_on_over_epochs(folder: Path, until: int | None) -> Any:
    return through(folder, until, tf_dataset().repeat().batch(8), steps_per_epoch=4)


@exact
def a_tf_dataset_that_goes_on_over_epochs_and_fetches_ahead(folder: Path, until: int | None) -> Any:
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensor_slices((X, Y)).repeat().shuffle(24, seed=3)
    return through(folder, until, data.batch(8).prefetch(2), steps_per_epoch=4)


@said("this tf.data.Dataset shuffles again within an epoch")
def a_tf_dataset_that_shuffles_each_round_and_fetches_ahead(folder: Path, until: int | None) -> Any:
    return through(folder, until, tf_dataset().repeat().batch(8).prefetch(2), steps_per_epoch=4)


@only("tensorflow", "jax")  # PyTorch has one batch a step
@exact
def a_tf_dataset_that_goes_on_in_steps_of_several_batches(folder: Path, until: int | None) -> Any:
    model = network()
    model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False, steps_per_execution=3)
    run = outlast.Run(folder)
    data = run.data(tf_dataset().repeat().batch(2))
    return train(folder, until, model, data, run=run, steps_per_epoch=8)


@exact
def a_tf_dataset_whose_passes_are_kept_apart_from_validation(folder: Path, until: int | None) -> Any:
    run = outlast.Run(folder)
    data, validation = run.data(tf_dataset().batch(8)), run.data(tf_dataset().batch(4))
    return train(folder, until, None, data, run=run, validation_data=validation)


@said("the weights: state/training/model/0, sequential")  # the path of the variable
def a_dataset_that_shuffles_itself_and_is_given_to_fit(folder: Path, until: int | None) -> Any:
    return train(folder, until, None, Shuffled())


@said("the order of the Shuffled, which fit shows nobody: give it model.fit(run.data(...), ...)")
def a_dataset_that_shuffles_itself_is_named_before_the_first_batch(folder: Path, until: int | None) -> Any:
    return train(folder, until, None, Shuffled())


@said("the order of the generator, which fit shows nobody")
def a_generator_that_is_given_to_fit(folder: Path, until: int | None) -> Any:
    def batches() -> Any:
        while True:
            yield from pairs(np.arange(24))

    return train(folder, until, None, batches(), steps_per_epoch=3)


@said("the workers of Shuffled fetch batches before the run knows where to go on")
def a_dataset_with_workers(folder: Path, until: int | None) -> Any:
    return through(folder, until, Shuffled(workers=2))


class InOrder(keras.utils.PyDataset):
    """Draws nothing."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return X[8 * index : 8 * index + 8], Y[8 * index : 8 * index + 8]


@exact
def a_callback_that_draws_in_each_batch(folder: Path, until: int | None) -> Any:
    def draw(batch: int, logs: Any) -> None:
        rate.assign(0.01 + 0.01 * np.random.random())

    model = compiled()
    rate = model.optimizer._learning_rate
    drawing = keras.callbacks.LambdaCallback(on_train_batch_end=draw)
    return train(folder, until, model, InOrder(), first=[drawing], shuffle=False)


@said("the order with steps_per_epoch, with which fit goes on with the iterator of the epoch before")
def arrays_of_which_an_epoch_takes_a_part(folder: Path, until: int | None) -> Any:
    return train(folder, until, None, X, Y, batch_size=6, steps_per_epoch=2)


@only("jax", "tensorflow")  # PyTorch's iterator draws when it is made, which fit does too early then
@exact
def arrays_and_the_number_of_their_batches(folder: Path, until: int | None) -> Any:
    return train(folder, until, None, X, Y, batch_size=8, steps_per_epoch=3)


@exact
def a_dataset_without_an_order_of_its_own(folder: Path, until: int | None) -> Any:
    class Slices(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Any:
            return pairs(np.arange(24))[index]

    return train(folder, until, None, Slices())


@said("put layers that draw random numbers in the model, not in the map of a tf.data.Dataset")
def a_layer_that_draws_in_the_map_of_a_tf_dataset(folder: Path, until: int | None) -> Any:
    tf = pytest.importorskip("tensorflow")
    flip = keras.layers.RandomFlip("vertical", seed=5)

    def augmented(x: Any, y: Any) -> Any:
        return tf.squeeze(flip(x[:, :, None, None], training=True), (2, 3)), y

    return through(folder, until, tf_dataset().batch(8).map(augmented))


# TensorFlow.


@contextmanager
def without_a_seed() -> Iterator[None]:
    """As in a script that calls no ``set_random_seed``."""
    name = rng_utils.GLOBAL_RANDOM_SEED
    seed = global_state.get_global_attribute(name)
    assert seed is not None
    global_state.set_global_attribute(name, None)
    try:
        yield
    finally:
        global_state.set_global_attribute(name, seed)


@only("tensorflow")
@said("the order of shuffled arrays: call keras.utils.set_random_seed")
def arrays_that_are_shuffled_without_a_seed(folder: Path, until: int | None) -> Any:
    with without_a_seed():
        return train(folder, until)


@only("tensorflow")
@said("the last step of epochs of unknown length")
def an_epoch_of_unknown_length(folder: Path, until: int | None) -> Any:
    data = tf_dataset().batch(8).filter(lambda x, y: True)  # of which nobody knows how many it leaves
    return train(folder, until, None, data)


class Noisy(keras.layers.Layer):
    """Adds noise that it gets from a function of TensorFlow's."""

    def __init__(self, draw: Any) -> None:
        super().__init__()
        self.draw = draw

    def call(self, x: Any) -> Any:
        return x + 0.1 * self.draw((8, 3))


def with_noise(folder: Path, until: int | None, draw: Any) -> Any:
    model = keras.Sequential([keras.Input((3,), batch_size=8), Noisy(draw), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse", run_eagerly=True)
    return train(folder, until, model)


@only("tensorflow")
@said("What differs first is the weights")
def noise_of_a_function_of_tensorflows(folder: Path, until: int | None) -> Any:
    import tensorflow as tf

    return with_noise(folder, until, tf.random.normal)


@only("tensorflow")
@exact
def noise_of_tensorflows_global_generator(folder: Path, until: int | None) -> Any:
    import tensorflow as tf

    tf.random.set_global_generator(tf.random.Generator.from_seed(3))
    return with_noise(folder, until, lambda shape: tf.random.get_global_generator().normal(shape))


# Callbacks of Keras's own.


@said("the state of ReduceLROnPlateau is not saved: use outlast.ReduceLROnPlateau")
def a_callback_of_kerass_in_the_run(folder: Path, until: int | None) -> Any:
    run = outlast.Run(folder, [keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=10.0)])
    return train(folder, until, run=run)


@exact
def a_variable_in_the_model_that_a_callback_before_the_run_changes(folder: Path, until: int | None) -> Any:
    model, beta = network(), keras.Variable(1.0, trainable=False)
    model.beta = beta
    model.compile(
        keras.optimizers.Adam(0.01),
        lambda y, p: beta * keras.ops.mean(keras.ops.square(y - p), -1),
        jit_compile=False,
    )
    warming = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: beta.assign(beta + 1.0))
    return train(folder, until, model, first=[warming])


# Not a case of the list: two trainings with one source of data.


def two_phases(folder: Path, until: int | None, source: Any) -> Any:
    model, found = compiled(), []
    for phase in range(2):
        run = outlast.Run(folder / str(phase))
        model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=False)
        left = None if until is None else until - 2 * phase
        found.append(train(folder, left, model, run.data(source), run=run, epochs=2))
        if found[-1] is None:
            return None
    return found
