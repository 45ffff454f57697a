"""The weights of a resumed Trainer, while callbacks behind the run begin: these may set others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerCallback

from outlast.core.asking import has
from outlast.exceptions import warn
from outlast.frameworks.base import Training
from outlast.frameworks.driven import MadeAgain
from outlast.frameworks.tensors import to_array


class Held:
    """What was put back.

    Args:
        training: whose weights they are.
        others: the callbacks that begin behind the run.
    """

    def __init__(self, training: Training, others: Sequence[Any]) -> None:
        self._training, self._others = training, others
        training.weights_may_have_changed()
        self._snapshot = training.copy_weights()

    def put_back(self) -> None:
        """All have begun: put the weights back that somebody has set, and say so."""
        now, saved = (_numbers(one) for one in (self._training.model.state_dict(), self._snapshot.weights))
        changed = [name for name, value in saved.items() if now.get(name) != value]
        if not changed:
            return
        self._training.restore_weights(self._snapshot)
        names = ", ".join(sorted({type(one).__name__ for one in self._others}))
        warn(
            f"{names} set weights in on_train_begin ({', '.join(changed[:3])}) after the Run had put back "
            "what it saved. The Run's are taken. Put the Run behind: "
            f"callbacks=[{names}(...), *outlast.frameworks.huggingface.callbacks(run)]."
        )


def held_weights(trainer: Any, training: Training) -> Held | None:
    """Those that a callback may set which is called behind the run; None if there is none."""
    callbacks = trainer.callback_handler.callbacks
    place = next(index for index, one in enumerate(callbacks) if isinstance(one, MadeAgain))
    others = [
        one
        for one in callbacks[place + 1 :]
        if type(one).on_train_begin is not TrainerCallback.on_train_begin
        and not type(one).__module__.startswith("transformers.")
    ]
    return Held(training, others) if others else None


def _numbers(state: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: to_array(value).tobytes() for name, value in state.items() if has(value, "detach")}
