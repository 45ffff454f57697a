"""The batches of Hugging Face's Trainer inside an epoch: which comes next, and what it draws from.

Accelerate fetches one batch ahead. What the data draw for it (augmentation) is drawn before the step in front
of it, and a save after that step holds a random state from behind that. So the state in front is kept, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from outlast.core.asking import asked
from outlast.frameworks import random_state
from outlast.frameworks.drawn_from import drawn_from

_SAMPLERS = ("torch.", "transformers.", "accelerate.")  # draw when they begin, and not between two batches


class Order:
    """Stands for a loader's batch sampler, and knows in which random state each batch is fetched.

    Args:
        sampler: the loader's.
        looks_ahead: the loader fetches a batch before the one in front of it is trained.

    Attributes:
        ahead: the random state in which the last batch was fetched that has been.
        leave: have the loader be as it was.
    """

    def __init__(self, sampler: Any, *, looks_ahead: bool) -> None:
        self._sampler, self._looks_ahead = sampler, looks_ahead
        self._going_on: dict[int, Any] = {}  # random states, by the batch that is fetched in them
        self.ahead: Any = None
        self.leave: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_sampler" not in vars(self):
            raise AttributeError(name)
        return getattr(self._sampler, name)

    def __len__(self) -> int:
        return len(self._sampler)

    def go_on(self, trained: int, ahead: Any, now: Any) -> None:
        """Have the next iteration draw as one that has not ended.

        Args:
            trained: batches, which the loop leaves out.
            ahead: the random state in which the next one is fetched.
            now: that in which the others are.
        """
        self._going_on = {trained: ahead, trained + 1: now} if self._looks_ahead else {trained: now}

    def __iter__(self) -> Iterator[Any]:
        going_on, self._going_on = self._going_on, {}
        number = 0
        for indices in self._sampler:
            if number in going_on:
                random_state.restore(going_on[number])
            self.ahead = random_state.collect()
            yield indices
            number += 1
        if number in going_on:
            random_state.restore(going_on[number])


def observed(loader: Any) -> Order | None:
    """Have the batches of Accelerate's loader be observed; None if its data come as a stream."""
    base = asked(loader, "base_dataloader", loader)
    sampler = asked(base, "batch_sampler")
    if sampler is None or is_stream(loader):
        return None
    if isinstance(sampler, Order):
        return sampler
    order = Order(sampler, looks_ahead=base is not loader)  # a loader of the user's own does not
    vars(base)["batch_sampler"] = order  # PyTorch refuses to have it set
    order.leave = lambda: vars(base).update(batch_sampler=sampler)
    return order


def is_stream(loader: Any) -> bool:
    """Whether its data come without indices."""
    return bool(asked(asked(loader, "base_dataloader", loader), "_dataset_kind"))


def inexact(loader: Any) -> list[str]:
    """What of Accelerate's loader a resume cannot make identical."""
    base, told = asked(loader, "base_dataloader", loader), []
    if asked(base, "num_workers", 0) and not asked(base, "in_order", True):
        told.append("the batches come as the workers get done: leave out dataloader_in_order=False")
    if asked(base, "persistent_workers", False):
        told.append(
            "persistent workers go on with random numbers of their own, and draw others where they begin: "
            "leave out dataloader_persistent_workers=True"
        )
    return told


def generators(loader: Any, others: Mapping[str, Any], parts: Collection[Any]) -> list[str]:
    """Those that data draw from and that are not saved, as far as they are made, as phrases.

    Args:
        loader: Accelerate's.
        others: what else may draw, by name.
        parts: what is saved.
    """
    base = asked(loader, "base_dataloader", loader)
    return [
        f"{place} is a random generator, which is not saved: draw from torch, random or numpy.random instead"
        for place, found in drawn_from({**_of_data(base), **others})
        if all(found is not one for one in parts)
    ]


def perhaps_inexact(loader: Any) -> list[str]:
    """What may not be identical when a resume goes on inside an epoch; the data alone know."""
    base, told = asked(loader, "base_dataloader", loader), []
    if is_stream(loader):
        told.append(
            "the dataset is a stream: what was read of it inside an epoch is read once more to be left out, "
            "which is exact if it draws no random numbers. One with indices goes on by index"
        )
    elif asked(base, "num_workers", 0):
        told.append(
            "gone on with inside an epoch, workers draw other random numbers for the data (augmentation), "
            "if they draw any: pass dataloader_num_workers=0, or save at the ends of epochs alone"
        )
    kinds = {type(one) for one in _samplers(base)}
    return told + [
        f"{kind.__name__} may draw between two batches: have it draw when it begins"
        for kind in kinds
        if not kind.__module__.startswith(_SAMPLERS)
    ]


def _samplers(loader: Any) -> list[Any]:
    """What gives its indices, by the batch or each, and what those are made of."""
    found: list[Any] = []
    left = [asked(loader, "batch_sampler"), asked(loader, "sampler")]
    while left:
        one = left.pop()
        if isinstance(one, Order):
            left.append(one._sampler)
        elif one is not None and all(one is not other for other in found):
            found.append(one)
            left += [asked(one, "batch_sampler"), asked(one, "sampler")]
    return found


def _of_data(loader: Any) -> dict[str, Any]:
    """What the data of a loader may draw from, by name; of Accelerate's sampler the epoch tells all."""
    found = {name: asked(loader, name) for name in ("dataset", "collate_fn", "generator")}
    sampler = asked(loader, "sampler")
    drawn_from = asked(sampler, "generator")
    if not type(sampler).__module__.startswith("accelerate.") and drawn_from is not found["generator"]:
        found["sampler.generator"] = drawn_from
    return found
