"""The state of every generator of random numbers that a training may draw from."""

from __future__ import annotations

import random
import sys
from types import ModuleType
from typing import Any

from outlast.core.asking import has
from outlast.frameworks.tensors import to_array, to_tensor


def collect() -> dict[str, Any]:
    """The states of Python's, NumPy's, PyTorch's, Keras's and TensorFlow's generators, where they are in use.

    JAX has no global generator: a program's keys are part of its own state.
    """
    import numpy as np

    state: dict[str, Any] = {"python": of_generator(random), "numpy": np.random.get_state()}
    if "torch" in sys.modules:
        import torch

        state["torch"] = {"cpu": to_array(torch.get_rng_state()).copy()}
        if torch.cuda.is_available():
            state["torch"]["cuda"] = [to_array(one).copy() for one in torch.cuda.get_rng_state_all()]
    generator = _keras_generator()
    if generator is not None:
        from keras import ops

        state["keras"] = ops.convert_to_numpy(generator.state)
    if _uses_tensorflow_generator():
        state["tensorflow"] = _tensorflow_generator().state.numpy()
    return state


def in_bytes() -> dict[str, bytes]:
    """The states of the generators that a user's code in another thread draws from, to be compared."""
    import numpy as np

    kind, keys, *rest = np.random.get_state()
    return {
        "python": repr(random.getstate()).encode(),
        "numpy": repr((kind, *rest)).encode() + np.asarray(keys).tobytes(),
    }


def restore(state: dict[str, Any]) -> None:
    """Set every generator in it to its state.

    Keras's comes first: a process that has none yet makes it with a number that it draws from Python's.
    """
    import numpy as np

    if "keras" in state:
        import keras

        if _keras_generator() is None:
            keras.random.uniform((1,))  # makes the generator
        _keras_generator().state.assign(state["keras"])
    if "tensorflow" in state:
        _tensorflow_generator().state.assign(state["tensorflow"])
    if "torch" in state:
        import torch

        torch.set_rng_state(to_tensor(state["torch"]["cpu"]))
        if "cuda" in state["torch"]:
            torch.cuda.set_rng_state_all([to_tensor(one) for one in state["torch"]["cuda"]])
    if "numpy" in state:
        np.random.set_state(state["numpy"])
    if "python" in state:
        set_generator(random, state["python"])


def is_generator(thing: Any) -> bool:
    """Whether it is a generator of random numbers: Python's, NumPy's, PyTorch's or Keras's of seeds.

    Its class is asked: some objects, such as a dict that is read by attributes, say yes to every name.
    """
    kind = thing if isinstance(thing, ModuleType) else type(thing)
    return (
        _is_seed_generator(thing)
        or isinstance(thing, random.Random)
        or has(kind, "bit_generator")
        or (has(kind, "get_state") and has(kind, "set_state"))
    )


def gives_keys(thing: Any) -> bool:
    """Whether it is a generator of keys of Flax's: ``nnx.Rngs``, or a stream. A JAX state saves it."""
    nnx = sys.modules.get("flax.nnx")
    kinds = tuple(kind for name in ("Rngs", "RngStream") if (kind := getattr(nnx, name, None)) is not None)
    return isinstance(thing, kinds)


def has_keys_of(state: Any, thing: Any) -> bool:
    """Whether such a generator is in a state, in a module there too."""
    if not gives_keys(thing):
        return False
    return any(one is thing for _, one in sys.modules["flax.nnx"].iter_graph(state))


def of_generator(generator: Any) -> Any:
    """The state of one generator, or of Python's module ``random``.

    Python's 625 integers come as an array: a tuple would be walked number by number at every save.
    """
    if _is_seed_generator(generator):
        from keras import ops

        return ops.convert_to_numpy(generator.state)
    if has(generator, "getstate"):
        import numpy as np

        version, internal, gauss = generator.getstate()
        return version, np.array(internal, np.uint32), gauss
    if has(generator, "bit_generator"):
        return generator.bit_generator.state
    state = generator.get_state()
    return to_array(state).copy() if has(state, "detach") else state


def set_generator(generator: Any, state: Any) -> None:
    """Set one generator to a state that :func:`of_generator` gave."""
    if _is_seed_generator(generator):
        generator.state.assign(state)
    elif has(generator, "setstate"):
        version, internal, gauss = state
        generator.setstate((version, tuple(map(int, internal)), gauss))
    elif has(generator, "bit_generator"):
        generator.bit_generator.state = state
    else:
        is_numpys = isinstance(state, (tuple, list))
        generator.set_state(state if is_numpys else to_tensor(state))


def _is_seed_generator(thing: Any) -> bool:
    random_of_keras = getattr(sys.modules.get("keras"), "random", None)
    return random_of_keras is not None and isinstance(thing, random_of_keras.SeedGenerator)


def _keras_generator() -> Any:
    """Keras's generator for ops without a seed; it has no public handle, and may not be made yet."""
    if "keras" not in sys.modules:
        return None
    from keras.src.backend.common import global_state

    return global_state.get_global_attribute("global_seed_generator")


def _uses_tensorflow_generator() -> bool:
    """Whether there is one; asking the public way makes it, and takes a device for it."""
    made = getattr(sys.modules.get("tensorflow.python.ops.stateful_random_ops"), "global_generator", None)
    return made is not None


def _tensorflow_generator() -> Any:
    import tensorflow as tf

    return tf.random.get_global_generator()
