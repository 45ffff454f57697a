"""Bystanders: objects beside a training that show, log, compute or give data.

A script changes them in its loop, as with ``bar.update()``, and nothing of a training is lost with them, or
others look after them.
"""

from __future__ import annotations

from typing import Any

from outlast.core.asking import has

_PACKAGES = frozenset(
    {
        *("_io", "accelerate", "aim", "alive_progress", "clearml", "comet_ml", "flax", "functools", "io"),
        *("jax", "jaxlib", "keras", "lightning", "logging", "mlflow", "neptune", "optax", "outlast"),
        *("progressbar", "pytorch_lightning", "rich", "tensorboard", "tensorboardX", "tensorflow"),
        *("asyncio", "concurrent", "multiprocessing", "queue", "_queue"),  # between threads and processes
        *("threading", "torch", "tqdm", "transformers", "wandb"),
    }
)
_SIGNS = (
    *("named_parameters", "param_groups", "apply_gradients"),
    *("batch_sampler", "set_postfix", "add_scalar"),
)


def is_bystander(thing: Any) -> bool:
    """Whether an object is one, as its package or its methods say.

    Example:
        >>> import logging
        >>> is_bystander(logging.getLogger()), is_bystander([])
        (True, False)
    """
    package = type(thing).__module__.partition(".")[0]
    return package in _PACKAGES or any(has(thing, sign) for sign in _SIGNS)
