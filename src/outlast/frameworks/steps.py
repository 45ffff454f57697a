"""Steps: whether optimizers have used the gradients that are there, and whether they step at all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from outlast.frameworks.modules import is_lazy


class Steps:
    """Knows whether an optimizer has used the gradients that are there, or whether they are carried over.

    A few small gradients tell: they are still those of the last step, and nothing was added since.

    An optimizer around another may have no hooks, if it does not call ``Optimizer.__init__``. Its steps are
    not seen then, and every gradient that is there counts as carried over.

    Args:
        optimizer: of PyTorch's.

    Attributes:
        taken: how many steps were seen.
    """

    _LOOKED_AT = 16

    def __init__(self, optimizer: Any) -> None:
        self._few: tuple[int, list[Any]] = (0, [])
        self._seen: list[tuple[Any, Any, int]] = []  # parameter, its gradient, how often that was changed
        self.taken = 0
        with suppress(AttributeError):
            optimizer.register_step_post_hook(self._stepped)

    def _stepped(self, optimizer: Any, *arguments: Any) -> None:
        self.taken += 1
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        if self._few[0] != len(parameters):
            self._few = len(parameters), self._chosen(parameters)
        self._seen = [(one, one.grad, one.grad._version) for one in self._few[1] if one.grad is not None]

    def _chosen(self, parameters: Sequence[Any]) -> list[Any]:
        """The smallest of each stretch: they stay in memory until the next step."""
        length = len(parameters) // self._LOOKED_AT + 1
        stretches = [parameters[i : i + length] for i in range(0, len(parameters), length)]
        return [min(stretch, key=lambda one: one.numel()) for stretch in stretches]

    def used(self) -> bool:
        """Whether no gradient was added to since the last step."""
        return bool(self._seen) and all(
            one.grad is gradient and gradient._version == version for one, gradient, version in self._seen
        )


class Activity:
    """Knows whether the weights go on changing in an epoch in which none of the optimizers steps any more."""

    def __init__(self) -> None:
        self._steps, self._have_stepped, self._told = 0, False, False
        self._versions: int | None = None  # how often the parameters were changed; None if that is not known

    def forget(self) -> None:
        """The weights are put back: that is no training."""
        self._versions = None

    def is_taken_over(self, watched: Sequence[Steps], model: Any) -> bool:
        """At the end of an epoch: whether it was the first such.

        Args:
            watched: the optimizers.
            model: a module.
        """
        steps, versions = sum(one.taken for one in watched), _versions(model)
        idle = self._have_stepped and steps == self._steps
        taken_over = idle and self._versions not in (None, versions)
        self._have_stepped |= steps != self._steps
        self._steps, self._versions = steps, versions
        told, self._told = self._told, self._told or taken_over
        return taken_over and not told


class Idleness:
    """Knows for how many batches nothing was trained, from one save inside an epoch to the next."""

    def __init__(self) -> None:
        self._known: Any = None  # what every step and every gradient changes
        self._smallest: Any = None  # gradient; it is kept, for a new one could have its place and its number
        self._since = 0

    def batches(self, watched: Sequence[Steps], model: Any, done: int) -> int:
        """At a save: batches of the epoch since one with the same steps, gradients and weights.

        Args:
            watched: the optimizers.
            model: a module.
            done: batches of the epoch so far.
        """
        gradients = [one.grad for one in model.parameters() if one.grad is not None]
        smallest = min(gradients, key=lambda one: int(one.numel()), default=None)
        of_gradients = [(id(one), one._version) for one in gradients]
        now = sum(one.taken for one in watched), _versions(model), of_gradients
        if now != self._known or smallest is not self._smallest or done < self._since:
            self._known, self._smallest, self._since = now, smallest, done
        return done - self._since


def _versions(model: Any) -> int:
    return sum(one._version for one in model.parameters() if not is_lazy(one) and not one.is_inference())
