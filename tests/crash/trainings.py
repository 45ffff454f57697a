"""Trainings to be killed: each ends with a report of hashes that depend on every bit before.

Shuffling, dropout and batch normalisation draw and remember; the callbacks stop early, restore the
best weights, keep the best model, cut the rate and write a table. Data and sizes are small, so that
there are many saves and little else.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import outlast
from outlast.frameworks import random_state

EPOCHS = 40  # at most: each training stops itself earlier
SAMPLES, FEATURES, CLASSES, BATCH = 90, 8, 3, 16  # the last batch of an epoch is a short one
SEED = 7
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

Report = dict[str, str]
EpochBegins = Callable[[], object]


def keras_fit(folder: str, epoch_begins: EpochBegins, data: Any = None, **options: Any) -> Report:
    """Keras's ``fit`` with a Run, on the backend of this process."""
    import keras

    model = _keras_model()
    run = outlast.Run(folder, _callbacks(), **options)
    _fit(model, [run, keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: epoch_begins())], data)
    return {
        "weights": _hash(model.get_weights()),
        "model's variables": _hash(variable.numpy() for variable in model.variables),
        "optimizer": _hash(variable.numpy() for variable in model.optimizer.variables),
        "best model": _hash(run.load_best().get_weights()),
        "model.history": json.dumps([model.history.history, model.history.epoch]),
        **_files_and_decisions(run),
    }


def keras_fit_inside(folder: str, epoch_begins: EpochBegins) -> Report:
    """The same, saved inside its epochs."""
    return keras_fit(folder, epoch_begins, save_every=3)


def keras_fit_batches(folder: str, epoch_begins: EpochBegins) -> Report:
    """The same, with ``outlast.Batches``."""
    import keras  # noqa: F401  # before the batches are made

    x, y = _data()
    batches = outlast.Batches(x[:SAMPLES], y[:SAMPLES], batch_size=BATCH, seed=SEED)
    return keras_fit(folder, epoch_begins, batches, save_every=3)


def keras_fit_with_its_own(folder: str, epoch_begins: EpochBegins) -> Report:
    """The same with Keras's own callbacks, as its guides combine them, BackupAndRestore among them."""
    import keras

    root = Path(folder)
    root.mkdir(exist_ok=True)
    model = _keras_model()
    callbacks = [
        keras.callbacks.BackupAndRestore(str(root / "backup")),
        keras.callbacks.EarlyStopping(patience=6, restore_best_weights=True),
        keras.callbacks.ModelCheckpoint(str(root / "best.keras"), save_best_only=True),
        keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=2),
        keras.callbacks.CSVLogger(str(root / "history.csv"), append=True),
        keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: epoch_begins()),
    ]
    _fit(model, callbacks)
    return {
        "weights": _hash(model.get_weights()),
        "best model": _hash(keras.saving.load_model(root / "best.keras").get_weights()),
        "history.csv": _hash_file(root / "history.csv"),
    }


def torch_loop(folder: str, epoch_begins: EpochBegins) -> Report:
    """A loop of one's own: a loader with a generator of its own, and a scheduler that is a part."""
    import torch
    from torch import nn

    torch.manual_seed(SEED)
    x, y = (torch.from_numpy(array) for array in _data())
    model = nn.Sequential(
        nn.Linear(FEATURES, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, CLASSES)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[3, 7, 11], gamma=0.7)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x[:SAMPLES], y[:SAMPLES]),
        batch_size=BATCH,
        shuffle=True,
        generator=torch.Generator().manual_seed(SEED),
    )
    run = outlast.Run(folder, _callbacks(), model=model, optimizer=optimizer, scheduler=scheduler)
    for _ in run.epochs(EPOCHS):
        epoch_begins()
        model.train()
        for inputs, targets in run.batches(loader):
            loss = nn.functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log(loss=loss, weight=len(inputs))
        scheduler.step()
        model.eval()
        with torch.no_grad():
            run.log(val_loss=nn.functional.cross_entropy(model(x[SAMPLES:]), y[SAMPLES:]))
    scheduled = json.dumps(scheduler.state_dict(), default=dict)
    return {"scheduler": scheduled, **_torch_report(run, model, optimizer)}


def torch_loop_inside(folder: str, epoch_begins: EpochBegins) -> Report:
    """Samples that are changed at random by workers, whose number differs from start to start.

    Gradients of two batches make a step, and a save may come between them.
    """
    import torch
    from torch import nn

    torch.manual_seed(SEED)
    x, y = (torch.from_numpy(array) for array in _data())
    model = nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    workers = 2 * (sum(1 for _ in Path(folder).parent.glob(f"{Path(folder).name}.start.*")) % 2 == 0)
    Path(f"{folder}.start.{os.getpid()}").touch()
    loader = torch.utils.data.DataLoader(
        Disturbed(x, y),
        batch_size=8,
        shuffle=True,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,  # quick, as epochs without workers are
        worker_init_fn=_die_with_the_parent,
    )
    run = outlast.Run(
        folder,
        _callbacks(),
        model=model,
        optimizer=optimizer,
        seed=SEED,
        save_every=3,
        augmentation="batch",
    )
    for _ in run.epochs(12):
        epoch_begins()
        model.train()
        for inputs, targets in run.batches(loader):
            loss = nn.functional.cross_entropy(model(inputs), targets)
            (loss / 2).backward()
            if run.extra.setdefault("batches", 0) % 2:
                optimizer.step()
                optimizer.zero_grad()
            run.extra["batches"] += 1
            run.log(loss=loss, weight=len(inputs))
        model.eval()
        with torch.no_grad():
            run.log(val_loss=nn.functional.cross_entropy(model(x[SAMPLES:]), y[SAMPLES:]))
    return _torch_report(run, model, optimizer)


def _die_with_the_parent(_: int) -> None:
    """Else a worker lives on for seconds, and with it the pipe whose end tells that its parent was killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def torch_steps(folder: str, epoch_begins: EpochBegins) -> Report:
    """A loop without epochs, whose rows end in the middle of a pass through the data."""
    import torch
    from torch import nn

    torch.manual_seed(SEED)
    x, y = _data()
    model = nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    batches = outlast.Batches(x[:SAMPLES], y[:SAMPLES], batch_size=BATCH, seed=SEED)
    run = outlast.Run(folder, _callbacks(), model=model, optimizer=optimizer, save_every=3)
    for inputs, targets in run.steps(batches, 100, log_every=8):
        if run.step % 8 == 0:
            epoch_begins()
        loss = nn.functional.cross_entropy(model(torch.from_numpy(inputs)), torch.from_numpy(targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(loss=loss)
        if run.step % 8 == 7 or run.step == 99:
            model.eval()
            with torch.no_grad():
                held_out = torch.from_numpy(x[SAMPLES:]), torch.from_numpy(y[SAMPLES:])
                for _ in run.validation([0]):
                    run.log(loss=nn.functional.cross_entropy(model(held_out[0]), held_out[1]))
            model.train()
    return _torch_report(run, model, optimizer)


def _torch_report(run: outlast.Run, model: Any, optimizer: Any) -> Report:
    return {
        "weights": _hash(tensor.numpy() for tensor in model.state_dict().values()),
        "optimizer": _hash(_leaves(optimizer.state_dict())),
        "best model": _hash(tensor.numpy() for tensor in run.load_best().values()),
        **_files_and_decisions(run),
    }


class Disturbed:
    """Samples that each look adds noise to."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> Any:
        import torch

        return self.x[index] + 0.1 * torch.randn(FEATURES), self.y[index]


def jax_loop(folder: str, epoch_begins: EpochBegins) -> Report:
    """A pytree with its optimizer's state and its key; the step overwrites it in place."""
    import jax
    import optax

    optimizer = optax.adam(0.02)

    def init(key: Any) -> Any:
        ends = jax.random.split(key)
        weights = {
            "in": 0.3 * jax.random.normal(ends[0], (FEATURES, 16)),
            "out": 0.3 * jax.random.normal(ends[1], (16, CLASSES)),
        }
        return {"weights": weights, "optimizer": optimizer.init(weights), "key": jax.random.key(SEED)}

    def loss_of(weights: Any, x: Any, y: Any, key: Any) -> Any:
        hidden = jax.numpy.tanh(x @ weights["in"])
        kept = hidden if key is None else hidden * jax.random.bernoulli(key, 0.7, hidden.shape) / 0.7
        return optax.softmax_cross_entropy_with_integer_labels(kept @ weights["out"], y).mean()

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, x: Any, y: Any, rate: Any) -> Any:
        key, used = jax.random.split(state["key"])
        loss, gradients = jax.value_and_grad(loss_of)(state["weights"], x, y, used)
        updates, inner = optimizer.update(gradients, state["optimizer"])
        updates = jax.tree.map(lambda one: one * rate / 0.02, updates)
        return {
            "weights": optax.apply_updates(state["weights"], updates),
            "optimizer": inner,
            "key": key,
        }, loss

    evaluate = jax.jit(lambda weights, x, y: loss_of(weights, x, y, None))
    x, y = _data()
    batches = outlast.Batches(x[:SAMPLES], y[:SAMPLES], batch_size=BATCH, seed=SEED)
    run = outlast.Run(
        folder,
        _callbacks(),
        state=init(jax.random.key(SEED)),
        weights=lambda state: state["weights"],
        learning_rate=0.02,
        save_every=3,
    )
    for _ in run.epochs(30):
        epoch_begins()
        for inputs, targets in run.batches(batches):
            run.state, loss = step(run.state, inputs, targets, run.learning_rate)
            run.log(loss=loss, weight=len(inputs))
        run.log(val_loss=evaluate(run.state["weights"], x[SAMPLES:], y[SAMPLES:]))
    leaves = jax.tree.leaves({**run.state, "key": jax.random.key_data(run.state["key"])})
    return {
        "weights": _hash(map(np.asarray, leaves)),
        "best model": _hash(map(np.asarray, jax.tree.leaves(run.load_best()))),
        **_files_and_decisions(run),
    }


def jax_nnx(folder: str, epoch_begins: EpochBegins) -> Report:
    """Modules of Flax that the step changes in place: dropout, batch normalisation, an optimizer."""
    import jax
    import optax
    from flax import nnx

    class Net(nnx.Module):
        """A small network."""

        def __init__(self, rngs: Any) -> None:
            self.inner = nnx.Linear(FEATURES, 16, rngs=rngs)
            self.norm = nnx.BatchNorm(16, rngs=rngs)
            self.dropout = nnx.Dropout(0.3, rngs=rngs)
            self.outer = nnx.Linear(16, CLASSES, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.outer(self.dropout(nnx.relu(self.norm(self.inner(x)))))

    def loss_of(model: Any, x: Any, y: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    @nnx.jit
    def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss, gradients = nnx.value_and_grad(loss_of)(model, x, y)
        optimizer.update(model, gradients)
        return loss

    model = Net(nnx.Rngs(SEED))
    optimizer = nnx.Optimizer(model, optax.inject_hyperparams(optax.adam)(learning_rate=0.02), wrt=nnx.Param)
    x, y = _data()
    batches = outlast.Batches(x[:SAMPLES], y[:SAMPLES], batch_size=BATCH, seed=SEED)
    state = {"model": model, "optimizer": optimizer}
    run = outlast.Run(
        folder, _callbacks(), state=state, weights=lambda state: nnx.state(state["model"]), save_every=3
    )
    for _ in run.epochs(30):
        epoch_begins()
        model.train()
        for inputs, targets in run.batches(batches):
            run.log(loss=step(model, optimizer, inputs, targets), weight=len(inputs))
        model.eval()
        run.log(val_loss=nnx.jit(loss_of)(model, x[SAMPLES:], y[SAMPLES:]))
    leaves = jax.tree.leaves(nnx.to_pure_dict(nnx.state((model, optimizer))))
    keys = [jax.dtypes.issubdtype(one.dtype, jax.dtypes.prng_key) for one in leaves]
    plain = [jax.random.key_data(one) if key else one for one, key in zip(leaves, keys, strict=True)]
    return {"weights": _hash(map(np.asarray, plain)), **_files_and_decisions(run)}


def xgboost_train(folder: str, epoch_begins: EpochBegins) -> Report:
    """XGBoost's own loop: rounds that sample rows and columns, trees that are dropped, a rate that is cut."""
    import xgboost

    x, y = _data()
    trained_on, held_out = (
        xgboost.DMatrix(x[part], y[part]) for part in (slice(SAMPLES), slice(SAMPLES, None))
    )
    settings = {
        **{"objective": "multi:softprob", "num_class": CLASSES, "booster": "dart", "rate_drop": 0.2},
        **{"subsample": 0.7, "colsample_bynode": 0.5, "max_depth": 2, "seed": SEED, "nthread": 1},
    }
    run = outlast.Run(
        folder, [*_callbacks(), outlast.LambdaCallback(lambda *_: epoch_begins())], save_every=1
    )
    booster = xgboost.train(
        settings,
        trained_on,
        EPOCHS,
        evals=[(trained_on, "train"), (held_out, "valid")],
        verbose_eval=False,
        callbacks=outlast.frameworks.xgboost.callbacks(run),
    )
    return {
        "booster": _hash([bytes(booster.save_raw("ubj"))]),
        "best model": _hash([bytes(run.load_best().save_raw("ubj"))]),
        **_files_and_decisions(run),
    }


def lightgbm_train(folder: str, epoch_begins: EpochBegins) -> Report:
    """LightGBM's own loop: rounds that sample rows, columns and thresholds, a rate that is cut."""
    import lightgbm

    x, y = _data()
    trained_on = lightgbm.Dataset(x[:SAMPLES], y[:SAMPLES])
    held_out = lightgbm.Dataset(x[SAMPLES:], y[SAMPLES:], reference=trained_on)
    settings = {
        **{"objective": "multiclass", "num_class": CLASSES, "num_leaves": 4, "extra_trees": True},
        **{"bagging_freq": 2, "bagging_fraction": 0.7, "feature_fraction": 0.5, "seed": SEED},
        **{"num_threads": 1, "verbosity": -1},
    }
    run = outlast.Run(
        folder, [*_callbacks(), outlast.LambdaCallback(lambda *_: epoch_begins())], save_every=1
    )
    booster = lightgbm.train(
        settings,
        trained_on,
        EPOCHS,
        valid_sets=[trained_on, held_out],
        callbacks=outlast.frameworks.lightgbm.callbacks(run),
        **outlast.frameworks.lightgbm.resume_arguments(run),
    )
    return {
        "booster": _hash([booster.model_to_string(num_iteration=-1).encode()]),
        "best model": _hash([run.load_best().model_to_string(num_iteration=-1).encode()]),
        **_files_and_decisions(run),
    }


def sklearn_loop(folder: str, epoch_begins: EpochBegins) -> Report:
    """A pipeline by hand, whose perceptron draws from NumPy's global generator, saved inside its epochs."""
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    np.random.seed(SEED)
    x, y = _data()
    model = make_pipeline(StandardScaler(), MLPClassifier((8,), learning_rate_init=0.02))
    scaler, perceptron = model
    batches = outlast.Batches(x[:SAMPLES], y[:SAMPLES], batch_size=BATCH, seed=SEED)
    run = outlast.Run(folder, _callbacks(), model=model, save_every=3)
    for _ in run.epochs(EPOCHS):
        epoch_begins()
        for inputs, targets in run.batches(batches):
            scaled = scaler.partial_fit(inputs).transform(inputs)
            perceptron.partial_fit(scaled, targets, classes=range(CLASSES))
            run.log(loss=perceptron.loss_, weight=len(inputs))
        held_out = log_loss(y[SAMPLES:], model.predict_proba(x[SAMPLES:]), labels=range(CLASSES))
        run.log(val_loss=float(held_out))
    return {
        "model": _hash(_numbers(model)),
        "best model": _hash(_numbers(run.load_best())),
        **_files_and_decisions(run),
    }


def _numbers(model: Any) -> Iterable[Any]:
    """All that a pipeline of a scaler and a perceptron has learned, and where its generator is."""
    scaler, perceptron = model
    optimizer = vars(perceptron._optimizer)
    yield from (scaler.mean_, scaler.var_, scaler.n_samples_seen_)
    yield from (*perceptron.coefs_, *perceptron.intercepts_, perceptron.t_, perceptron.loss_curve_)
    for name in sorted(optimizer):
        yield from optimizer[name] if isinstance(optimizer[name], list) else [optimizer[name]]
    yield np.random.get_state()[1]


def lightning_fit(folder: str, epoch_begins: EpochBegins, **options: Any) -> Report:
    """Lightning's ``Trainer``: a scheduler that waits for a metric, batches that are gathered for a step."""
    import warnings

    import lightning
    import torch

    warnings.filterwarnings("ignore", module="lightning")
    torch.manual_seed(SEED)
    x, y = (torch.from_numpy(array) for array in _data())
    trained_on, held_out = (
        torch.utils.data.TensorDataset(x[part], y[part]) for part in (slice(SAMPLES), slice(SAMPLES, None))
    )
    loader = torch.utils.data.DataLoader(
        trained_on, batch_size=BATCH, shuffle=True, generator=torch.Generator().manual_seed(SEED)
    )
    hears = outlast.LambdaCallback(on_epoch_begin=lambda *_: epoch_begins())
    run = outlast.Run(folder, [*_callbacks(), hears], **options)
    model = _lightning_module()
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accumulate_grad_batches=2,
        accelerator="cpu",
        num_sanity_val_steps=1,
        **dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False),
        enable_checkpointing=False,
        callbacks=outlast.frameworks.lightning.callbacks(run),
    )
    trainer.fit(model, loader, torch.utils.data.DataLoader(held_out, batch_size=BATCH))
    scheduled = json.dumps(trainer.lr_scheduler_configs[0].scheduler.state_dict(), default=float)
    place = json.dumps([trainer.current_epoch, trainer.global_step])
    return {"scheduler": scheduled, "place": place, **_torch_report(run, model, trainer.optimizers[0])}


def lightning_fit_inside(folder: str, epoch_begins: EpochBegins) -> Report:
    """The same, saved inside its epochs."""
    return lightning_fit(folder, epoch_begins, save_every=2)


def _lightning_module() -> Any:
    import lightning
    from torch import nn, optim

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                *(nn.Linear(FEATURES, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Dropout(0.3)),
                nn.Linear(16, CLASSES),
            )

        def training_step(self, batch: Any, index: int) -> Any:
            loss = nn.functional.cross_entropy(self.layers(batch[0]), batch[1])
            self.log("train_loss", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", nn.functional.cross_entropy(self.layers(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            optimizer = optim.Adam(self.parameters(), lr=0.02)
            scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.8, patience=0)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"},
            }

    return Module()


def huggingface_train(folder: str, epoch_begins: EpochBegins) -> Report:
    """Hugging Face's Trainer: evaluations inside epochs, noise in the data, a schedule that is cut."""
    import torch
    import transformers
    from torch import nn

    x, y = _data()

    class Noisy(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return SAMPLES

        def __getitem__(self, index: int) -> dict[str, Any]:
            return {"x": torch.tensor(x[index]) + 0.1 * torch.randn(FEATURES), "labels": int(y[index])}

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Linear(FEATURES, 16),
                nn.BatchNorm1d(16),
                nn.ReLU(),
                nn.Dropout(0.3),
                nn.Linear(16, CLASSES),
            )

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            logits = self.layers(x)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    transformers.logging.set_verbosity_error()
    torch.manual_seed(SEED)
    model = Net()
    run = outlast.Run(
        folder, [*_callbacks(), outlast.LambdaCallback(lambda *_: epoch_begins())], save_every=2
    )
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=os.path.join(os.path.dirname(folder), "unused"),
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH,
            learning_rate=0.02,
            eval_strategy="steps",
            eval_steps=4,
            save_strategy="no",
            dataloader_pin_memory=False,
            disable_tqdm=True,
            report_to=[],
            use_cpu=True,
        ),
        train_dataset=Noisy(),
        eval_dataset=[{"x": x[index], "labels": int(y[index])} for index in range(SAMPLES, len(x))],
        callbacks=outlast.frameworks.huggingface.callbacks(run),
    )
    trainer.pop_callback(transformers.PrinterCallback)
    trainer.train()
    return {
        "weights": _hash(_leaves(model.state_dict())),
        "optimizer": _hash(_leaves(trainer.optimizer.state_dict()["state"])),
        "best model": _hash(_leaves(run.load_best())),
        **_files_and_decisions(run),
    }


def torch_loop_that_forgets(folder: str, epoch_begins: EpochBegins) -> Report:
    """What a resume without the random generators would come to."""
    random_state.restore = lambda state: None
    return torch_loop(folder, epoch_begins)


def _keras_model() -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(SEED)  # without it TensorFlow's order of samples cannot be put back
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            layers.Dense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(CLASSES),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss=loss, metrics=["accuracy"])
    return model


def _fit(model: Any, callbacks: list[Any], batches: Any = None) -> None:
    x, y = _data()
    arrays = {"x": x[:SAMPLES], "y": y[:SAMPLES], "batch_size": BATCH}
    model.fit(
        **(arrays if batches is None else {"x": batches}),
        validation_data=(x[SAMPLES:], y[SAMPLES:]),
        epochs=EPOCHS,
        verbose=0,
        callbacks=callbacks,
    )


def _callbacks() -> list[outlast.Callback]:
    return [
        outlast.EarlyStopping(patience=6, restore_best_weights=True),
        outlast.ModelCheckpoint(save_best_only=True),
        outlast.CSVLogger(),
        outlast.ReduceLROnPlateau(factor=0.5, patience=2),
    ]


def _data() -> tuple[Any, Any]:
    """Samples of shape (n, FEATURES) and noisy classes; those from SAMPLES on are for validation."""
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=(2 * SAMPLES, FEATURES)).astype("float32")
    y = (x @ rng.normal(size=(FEATURES, CLASSES)) + rng.normal(size=(len(x), CLASSES))).argmax(1)
    return x, y


def _files_and_decisions(run: outlast.Run) -> Report:
    return {
        "history.csv": _hash_file(Path(run.folder, "history.csv")),
        "journal.jsonl": _hash_file(Path(run.folder, "journal.jsonl")),
        "run.history": json.dumps(run.history.rows),
        "run.best": f"{run.best.monitor} {run.best.value!r} in epoch {run.best.epoch}",
        "why it stopped": "; ".join(decision.sentence for decision in run.decisions if decision.stop),
    }


def _leaves(tree: Any) -> Iterable[Any]:
    """Everything in a state dict, in its order: keys, numbers, and tensors as arrays."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            yield from _leaves(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _leaves(value)
    else:
        yield tree.numpy() if hasattr(tree, "numpy") else tree


def _hash(values: Iterable[Any]) -> str:
    """Of dtypes, shapes and bits; what is no array counts by its ``repr``."""
    digest = hashlib.sha256()
    for value in values:
        is_array = hasattr(value, "__array__")
        array = np.ascontiguousarray(value) if is_array else np.frombuffer(repr(value).encode(), np.uint8)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
