"""Where the values of a Keras model's variables are: in the variables, or in the state of a step of JAX's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from outlast.core.asking import has
from outlast.frameworks import keras_held
from outlast.frameworks.tensors import to_array
from outlast.storage.format.dtypes import Bits


class Live:
    """The values that variables of a model have in the state of a step.

    On JAX the variables are empty between steps, and filling them costs more than reading the state.

    Args:
        model: the model.
        state: what a step of Keras's takes and gives: lists of arrays.
    """

    def __init__(self, model: Any, state: Sequence[Sequence[Any]]) -> None:
        self._model, self._given = model, state
        self.is_changed = False

    @cached_property
    def _state(self) -> list[list[Any]]:
        return [list(values) for values in self._given]

    @cached_property
    def _places(self) -> dict[int, tuple[int, int]]:
        """Where each variable is; most steps are not asked for it."""
        groups = (
            self._model.trainable_variables,
            self._model.non_trainable_variables,
            self._model.optimizer.variables,
            self._model.metrics_variables,
        )
        return {
            id(variable): (group, index)
            for group, variables in enumerate(groups)
            for index, variable in enumerate(variables)
        }

    def __contains__(self, variable: Any) -> bool:
        return id(variable) in self._places

    def read(self, variable: Any) -> Any:
        """Its value, an array of JAX's."""
        group, index = self._places[id(variable)]
        return self._state[group][index]

    def assign(self, variable: Any, value: Any) -> None:
        """Set it, where the old value is, to a copy."""
        import jax

        group, index = self._places[id(variable)]
        old = self._state[group][index]
        new = jax.numpy.array(value, old.dtype)  # a copy: JAX may keep memory that it is given
        self._state[group][index] = jax.device_put(new, old.sharding)
        self.is_changed = True

    def state(self) -> tuple[list[Any], ...]:
        """The state with what was assigned."""
        return tuple(self._state)


class Values:
    """Reads and sets variables, wherever their values are.

    Attributes:
        live: the state of the step that is at hand; None if the variables have their values.
    """

    live: Live | None = None

    def fill(self, model: Any) -> None:
        """Have JAX's variables filled, if no step is at hand."""
        if self.live is None and hasattr(model, "jax_state_sync"):
            model.jax_state_sync()

    def at_hand(self, variable: Any) -> Any:
        """Its value, an array of the backend's."""
        import keras

        if self.live is not None and variable in self.live:
            return self.live.read(variable)
        return variable.value if isinstance(variable, keras.Variable) else variable

    def read(self, variable: Any) -> Any:
        """Its value, a NumPy array."""
        from keras import ops

        return ops.convert_to_numpy(self.at_hand(variable))

    def look(self, variable: Any) -> Any:
        """Its value, in a NumPy array that may share its memory: who keeps it copies it before the next step.

        While one of JAX's is looked at, a step that donates it copies instead of overwriting it.
        """
        value = self.at_hand(variable)
        if has(value, "detach"):
            array = to_array(value)
            return array.numpy() if isinstance(array, Bits) else array
        jax = sys.modules.get("jax")
        if jax is not None and isinstance(value, jax.Array):
            return np.asarray(value)
        return self.read(variable)

    def assign(self, variable: Any, value: Any) -> None:
        """Set it."""
        if self.live is not None and variable in self.live:
            self.live.assign(variable, value)
        else:
            keras_held.assign(variable, value)
