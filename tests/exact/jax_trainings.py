"""Small JAX trainings as people write them, each a program that can be killed after a batch.

    python -m tests.exact.jax_trainings NAME FOLDER [BATCH]

It prints what the training ends with: checksums of the state and of the best weights, the history. With
``BATCH`` it is killed after so many batches of this start. A new case is one more function.
"""

from __future__ import annotations

import functools
import hashlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import outlast

EPOCHS, BATCHES = 5, 7
Step = Callable[[Any, Any, Any, Any], tuple[Any, Any]]
TRAININGS: dict[str, Callable[..., Any]] = {}

_numbers = np.random.default_rng(0)
X = _numbers.normal(size=(BATCHES, 10, 4)).astype("float32")
Y = (X.sum(-1, keepdims=True) ** 2).astype("float32")


def training(function: Callable[..., Any]) -> Callable[..., Any]:
    TRAININGS[function.__name__] = function
    return function


def fit(
    folder: str, kill: int, state: Any, step: Step, evaluate: Callable[[Any], Any], **arguments: Any
) -> None:
    """Train; ``step`` returns the state and the loss."""
    callbacks = [
        outlast.EarlyStopping(monitor="val_loss", patience=9, restore_best_weights=True),
        outlast.ModelCheckpoint(save_best_only=True),
        outlast.CSVLogger(),
    ]
    if arguments.pop("plateau", False):
        callbacks.append(outlast.ReduceLROnPlateau("loss", factor=0.5, patience=0, min_delta=1e6, mode="min"))
    run = outlast.Run(folder, callbacks, state=state, **arguments)
    del state
    trained = 0
    for epoch in run.epochs(EPOCHS):
        for x, y in run.batches(zip(X, Y, strict=True)):
            rate = run.learning_rate if "learning_rate" in arguments else None
            run.state, loss = step(run.state, x, y, rate)
            run.log(loss=loss)
            trained += 1
            if trained == kill:
                run.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        run.log(val_loss=evaluate(run.state) + (epoch == EPOCHS - 1))  # the last is not the best
    print(checksum(run.state), checksum(run.load_best()), run.history.rows, run.learning_rate, run.best.epoch)


def checksum(tree: Any) -> str:
    """Of the bits, types and names of all arrays."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if callable(leaf) or isinstance(leaf, str):
            continue
        kind = f"{type(leaf).__name__} {getattr(leaf, 'dtype', '')} {getattr(leaf, 'weak_type', '')}"
        digest.update(f"{jax.tree_util.keystr(path)} {kind}".encode())
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def weights() -> dict[str, Any]:
    key = jax.random.key(0)
    return {"w": jax.random.normal(key, (4, 8)), "b": jnp.zeros(8), "v": jnp.full((8, 1), 0.1)}


def squared(params: Any, x: Any, y: Any, key: Any = None) -> Any:
    """The loss of a layer with dropout."""
    hidden = jax.nn.relu(x @ params["w"] + params["b"])
    if key is not None:
        hidden = hidden * jax.random.bernoulli(key, 0.8, hidden.shape)
    return jnp.mean((hidden @ params["v"] - y) ** 2)


def error(params: Any) -> Any:
    return squared(params, X[0], Y[0])


def of_a_dict(transform: Any, key: Any, **options: Any) -> tuple[Any, Step]:
    """A plain dict with Optax: the state, and its step."""
    params = weights()
    state = {"params": params, "opt": transform.init(params), "key": key, "step": 0}

    @functools.partial(jax.jit, **options)
    def step(state: Any, x: Any, y: Any, rate: Any) -> tuple[Any, Any]:
        key, used = jax.random.split(state["key"])
        loss, gradients = jax.value_and_grad(squared)(state["params"], x, y, used)
        updates, opt = transform.update(gradients, state["opt"], state["params"])
        if rate is not None:
            updates = jax.tree.map(lambda one: one * rate, updates)
        params = optax.apply_updates(state["params"], updates)
        return {"params": params, "opt": opt, "key": key, "step": state["step"] + 1}, loss

    return state, step


@training
def a_dict_that_is_donated(folder: str, kill: int) -> None:
    state, step = of_a_dict(optax.adam(1.0), jax.random.key(1), donate_argnums=0)
    fit(folder, kill, state, step, lambda s: error(s["params"]), learning_rate=0.01, plateau=True)


@training
def a_dict_that_is_not_donated(folder: str, kill: int) -> None:
    state, step = of_a_dict(optax.adam(0.01), jax.random.PRNGKey(1))
    fit(folder, kill, state, step, lambda s: error(s["params"]))


@training
def inside_an_epoch(folder: str, kill: int) -> None:
    state, step = of_a_dict(optax.adam(1.0), jax.random.key(1, impl="rbg"), donate_argnums=0)
    fit(folder, kill, state, step, lambda s: error(s["params"]), learning_rate=0.01, save_every=3)


@training
def rates_in_the_state(folder: str, kill: int) -> None:
    transform = optax.multi_transform(
        {
            "body": optax.chain(
                optax.clip(1.0), optax.inject_hyperparams(optax.adam, hyperparam_dtype=jnp.float32)(0.01)
            ),
            "head": optax.inject_hyperparams(optax.sgd)(learning_rate=0.001),
        },
        {"w": "body", "b": "body", "v": "head"},
    )
    state, step = of_a_dict(transform, jax.random.key(1), donate_argnums=0)
    fit(folder, kill, state, step, lambda s: error(s["params"]), plateau=True)


@training
def half_precision_and_numbers(folder: str, kill: int) -> None:
    """Weak types decide what bfloat16 becomes; a number becomes an array; NumPy's arrays stay."""
    state = {
        "params": {"w": jnp.ones((4, 1), jnp.bfloat16)},
        "scale": jnp.full((4, 1), 0.5),
        "half": jnp.asarray(0.25),
        "count": 0,
        "seen": np.zeros(3),
    }

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, x: Any, y: Any) -> tuple[Any, Any]:
        def loss_of(w: Any) -> Any:
            return jnp.mean((x.astype(jnp.bfloat16) @ (w * state["scale"]) - y) ** 2)

        loss, gradient = jax.value_and_grad(loss_of)(state["params"]["w"])
        w = state["params"]["w"] - gradient * state["half"] * 0.01
        same = {"scale": state["scale"], "half": state["half"] * 1}
        return {"params": {"w": w}, **same, "count": state["count"] + 1}, loss

    def with_numpy(state: Any, x: Any, y: Any, rate: Any) -> tuple[Any, Any]:
        seen = state["seen"] + 1
        new, loss = step({name: one for name, one in state.items() if name != "seen"}, x, y)
        return {**new, "seen": seen}, loss

    fit(folder, kill, state, with_numpy, lambda s: jnp.sum(s["params"]["w"] ** 2).astype("float32"))


@training
def sharded_over_two_devices(folder: str, kill: int) -> None:
    from jax.sharding import NamedSharding, PartitionSpec

    mesh = jax.make_mesh((2,), ("d",))
    state, step = of_a_dict(optax.adam(0.01), jax.random.key(1), donate_argnums=0)
    spread = NamedSharding(mesh, PartitionSpec(None, "d"))
    whole = NamedSharding(mesh, PartitionSpec())

    def put(leaf: Any) -> Any:
        return jax.device_put(leaf, spread if getattr(leaf, "shape", ()) == (4, 8) else whole)

    state = jax.tree.map(put, state)
    first = state["params"]["w"].sharding

    def checked(state: Any, x: Any, y: Any, rate: Any) -> tuple[Any, Any]:
        assert state["params"]["w"].sharding.is_equivalent_to(first, 2)
        assert len(state["params"]["b"].sharding.device_set) == 2
        return step(state, x, y, rate)

    fit(folder, kill, state, checked, lambda s: error(s["params"]))


@training
def linen(folder: str, kill: int) -> None:
    from flax import linen as nn
    from flax.training import train_state

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any, train: bool = False) -> Any:
            x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x))
            x = nn.Dropout(0.2, deterministic=not train)(nn.relu(x))
            return nn.Dense(1)(x)

    class State(train_state.TrainState):
        batch_stats: Any
        key: Any

    net = Net()
    variables = net.init(jax.random.key(0), X[0])
    state = State.create(
        apply_fn=net.apply,
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        key=jax.random.key(1),
        tx=optax.inject_hyperparams(optax.adamw)(learning_rate=0.01),
    )

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, x: Any, y: Any, rate: Any) -> tuple[Any, Any]:
        key = jax.random.fold_in(state.key, state.step)

        def loss_of(params: Any) -> tuple[Any, Any]:
            held = {"params": params, "batch_stats": state.batch_stats}
            out, new = state.apply_fn(held, x, train=True, rngs={"dropout": key}, mutable=["batch_stats"])
            return jnp.mean((out - y) ** 2), new["batch_stats"]

        (loss, stats), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        return state.apply_gradients(grads=gradients, batch_stats=stats), loss

    def evaluate(state: Any) -> Any:
        out = net.apply({"params": state.params, "batch_stats": state.batch_stats}, X[0])
        return jnp.mean((out - Y[0]) ** 2)

    fit(folder, kill, state, step, evaluate, plateau=True)


def _nnx_model() -> Any:
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.inner = nnx.Linear(4, 8, rngs=rngs)
            self.norm = nnx.BatchNorm(8, rngs=rngs)
            self.dropout = nnx.Dropout(0.2, rngs=rngs)
            self.outer = nnx.Linear(8, 1, rngs=rngs)
            self.tied = self.inner.bias  # one variable at two places

        def __call__(self, x: Any) -> Any:
            return self.outer(self.dropout(nnx.relu(self.norm(self.inner(x)))))

    return Net(nnx.Rngs(0))


@training
def nnx_in_place(folder: str, kill: int) -> None:
    """The step changes the modules, and nobody sets run.state."""
    from flax import nnx

    model = _nnx_model()
    optimizer = nnx.Optimizer(model, optax.inject_hyperparams(optax.adam)(learning_rate=0.01), wrt=nnx.Param)

    @nnx.jit
    def update(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss, gradients = nnx.value_and_grad(lambda m: jnp.mean((m(x) - y) ** 2))(model)
        optimizer.update(model, gradients)
        return loss

    def step(state: Any, x: Any, y: Any, rate: Any) -> tuple[Any, Any]:
        assert state["model"] is model and model.tied is model.inner.bias
        model.train()
        return state, update(model, optimizer, x, y)

    def evaluate(state: Any) -> Any:
        model.eval()
        return jnp.mean((model(X[0]) - Y[0]) ** 2)

    fit(folder, kill, {"model": model, "optimizer": optimizer}, step, evaluate, plateau=True)


@training
def nnx_split(folder: str, kill: int) -> None:
    """The functional way, with donated buffers."""
    from flax import nnx

    graph, params, rest = nnx.split(_nnx_model(), nnx.Param, ...)
    transform = optax.adam(0.01)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, x: Any, y: Any, rate: Any) -> tuple[Any, Any]:
        def loss_of(params: Any) -> tuple[Any, Any]:
            model = nnx.merge(graph, params, state["rest"], copy=True)
            loss = jnp.mean((model(x) - y) ** 2)
            return loss, nnx.split(model, nnx.Param, ...)[2]

        (loss, rest), gradients = jax.value_and_grad(loss_of, has_aux=True)(state["params"])
        updates, opt = transform.update(gradients, state["opt"], state["params"])
        return {"params": optax.apply_updates(state["params"], updates), "rest": rest, "opt": opt}, loss

    def evaluate(state: Any) -> Any:
        model = nnx.merge(graph, state["params"], state["rest"], copy=True)
        model.eval()
        return jnp.mean((model(X[0]) - Y[0]) ** 2)

    fit(folder, kill, {"params": params, "rest": rest, "opt": transform.init(params)}, step, evaluate)


@training
def equinox(folder: str, kill: int) -> None:
    """The model has functions as leaves, and is found in the tuple."""
    import equinox as eqx

    model = eqx.nn.MLP(4, 1, 8, 1, key=jax.random.key(0))
    transform = optax.adam(0.01)

    @eqx.filter_jit(donate="all-except-first")
    def update(xy: Any, state: Any) -> tuple[Any, Any]:
        model, opt = state
        x, y = xy
        loss, gradients = eqx.filter_value_and_grad(lambda m: jnp.mean((jax.vmap(m)(x) - y) ** 2))(model)
        updates, opt = transform.update(gradients, opt, eqx.filter(model, eqx.is_array))
        return (eqx.apply_updates(model, updates), opt), loss

    def step(state: Any, x: Any, y: Any, rate: Any) -> tuple[Any, Any]:
        return update((x, y), state)

    def evaluate(state: Any) -> Any:
        return jnp.mean((jax.vmap(state[0])(X[0]) - Y[0]) ** 2)

    fit(folder, kill, (model, transform.init(eqx.filter(model, eqx.is_array))), step, evaluate)


@training
def equinox_with_statistics(folder: str, kill: int) -> None:
    """A state of its own beside the model, and a text among the leaves."""
    import equinox as eqx

    class Net(eqx.Module):
        inner: Any
        norm: Any
        outer: Any

        def __init__(self, key: Any) -> None:
            first, second = jax.random.split(key)
            self.inner = eqx.nn.Linear(4, 8, key=first)
            self.norm = eqx.nn.BatchNorm(8, axis_name="batch", mode="batch")
            self.outer = eqx.nn.Linear(8, 1, key=second)

        def __call__(self, x: Any, state: Any) -> tuple[Any, Any]:
            hidden, state = self.norm(self.inner(x), state)
            return self.outer(jax.nn.relu(hidden)), state

    model, statistics = eqx.nn.make_with_state(Net)(jax.random.key(0))
    transform = optax.adam(0.01)

    def loss_of(model: Any, statistics: Any, x: Any, y: Any) -> tuple[Any, Any]:
        batched = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        out, statistics = batched(x, statistics)
        return jnp.mean((out - y) ** 2), statistics

    @eqx.filter_jit
    def update(state: Any, x: Any, y: Any) -> tuple[Any, Any]:
        (loss, statistics), gradients = eqx.filter_value_and_grad(loss_of, has_aux=True)(
            state["model"], state["statistics"], x, y
        )
        updates, opt = transform.update(gradients, state["opt"])
        model = eqx.apply_updates(state["model"], updates)
        return {"model": model, "statistics": statistics, "opt": opt}, loss

    def evaluate(state: Any) -> Any:
        model = eqx.nn.inference_mode(state["model"])
        out, _ = jax.vmap(model, in_axes=(0, None), out_axes=(0, None))(X[0], state["statistics"])
        return jnp.mean((out - Y[0]) ** 2)

    opt = transform.init(eqx.filter(model, eqx.is_array))
    state = {"model": model, "statistics": statistics, "opt": opt}
    fit(folder, kill, state, lambda s, x, y, rate: update(s, x, y), evaluate)


if __name__ == "__main__":
    TRAININGS[sys.argv[1]](sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else -1)
