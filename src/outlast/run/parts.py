"""The parts of a training: model and optimizer, callbacks, the user's objects, random state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.asking import has
from outlast.core.run_state import Moment
from outlast.exceptions import CapabilityError, RunChanged
from outlast.frameworks import keras_parts, modules, nested, optimizers, random_state, sklearn_parts
from outlast.frameworks.base import Snapshot, Training
from outlast.frameworks.tensors import check_types, stored, to_tensors, types_of
from outlast.run import settings
from outlast.storage.format.encoding import Immutable


class AnyPart:
    """What most parts have in common: anything fits, and it goes back in the same way at any time."""

    def check(self, saved: Any) -> None:
        """Any state fits."""

    def put_back(self, saved: Any) -> None:
        """Go on from what was collected."""
        raise NotImplementedError

    def restore(self, saved: Any) -> None:
        """Go on from what was collected, between two epochs."""
        self.put_back(saved)


class TrainingPart(AnyPart):
    """Model and optimizer."""

    name, moment = "training", Moment.OPEN

    def __init__(self, training: Callable[[], Training]) -> None:
        self._training = training

    def collect(self) -> Any:
        """The framework's state."""
        return self._training().state()

    def check(self, saved: Any) -> None:
        """Whether it is the model and the optimizer that were saved."""
        self._training().check_state(saved)

    def put_back(self, saved: Any) -> None:
        """Load it."""
        self._training().load_state(saved)


class CallbacksPart(AnyPart):
    """What our callbacks remember, and the weights that they keep.

    Kept weights never change, so that each is written once, however many resume points name it, and
    once for all callbacks that keep the same.
    """

    name, moment = "callbacks", Moment.OPEN

    def __init__(self, callbacks: Callable[[], Sequence[Callback]], training: Callable[[], Training]) -> None:
        self._callbacks, self._training = callbacks, training
        self._kept: list[tuple[Snapshot, Immutable]] = []

    def collect(self) -> dict[str, Any]:
        """State and weights of each, by its key."""
        kept, self._kept = self._kept, []
        return {
            key: {
                "state": callback.state_dict(),
                "snapshots": {
                    name: self._immutable(snapshot, kept) for name, snapshot in callback.snapshots().items()
                },
            }
            for key, callback in self._by_key().items()
        }

    def put_back(self, saved: Mapping[str, Any]) -> None:
        """Load them; a callback that is new starts from nothing."""
        for key, callback in self._by_key().items():
            if key in saved:
                callback.load_state_dict(saved[key]["state"])
                snapshots = {name: self._snapshot(one) for name, one in saved[key]["snapshots"].items()}
                callback.load_snapshots({name: one for name, one in snapshots.items() if one is not None})

    def _by_key(self) -> dict[str, Callback]:
        callbacks = self._callbacks()
        return dict(zip(settings.keys(callbacks), callbacks, strict=True))

    def _immutable(self, snapshot: Snapshot, kept: list[tuple[Snapshot, Immutable]]) -> Immutable:
        known = (immutable for one, immutable in (*self._kept, *kept) if one is snapshot)
        immutable = next(known, None) or Immutable(self._training().weights_to_arrays(snapshot))
        self._kept.append((snapshot, immutable))
        return immutable

    def _snapshot(self, immutable: Immutable | None) -> Snapshot | None:
        """The weights; None if they are lost."""
        for snapshot, known in self._kept:
            if known is immutable:
                return snapshot
        if immutable is None:
            return None
        snapshot = self._training().weights_from_arrays([(name, array) for name, array in immutable.value])
        immutable.made_by(lambda: self._training().weights_to_arrays(snapshot))  # not both in memory
        self._kept.append((snapshot, immutable))
        return snapshot


class UserParts(AnyPart):
    """Objects of the user's: anything with ``state_dict()`` and ``load_state_dict()``, and generators.

    Keras's metrics and layers, and scikit-learn's estimators, too.
    """

    name, moment = "parts", Moment.OPEN

    def __init__(self, parts: Mapping[str, Any], training: Callable[[], Training]) -> None:
        self._parts, self._training = parts, training

    def collect(self) -> dict[str, Any]:
        """Their state dicts, tensors as arrays, and what else there is to know."""
        consumed = self._training().gradient_is_used()
        return {name: _collected(part, name, consumed) for name, part in self._parts.items()}

    def check(self, saved: Mapping[str, Any]) -> None:
        """Whether there are the same parts."""
        gone, new = sorted(saved.keys() - self._parts), sorted(self._parts.keys() - saved)
        told = [f"the part {name!r} is missing: pass {name}=... again" for name in gone]
        told += [f"the part {name!r} is new: the run was saved without it" for name in new]
        if told:
            raise RunChanged("; ".join(told))

    def put_back(self, saved: Mapping[str, Any]) -> None:
        """Load them."""
        for name, part in self._parts.items():
            try:
                if not _is_generator(part):
                    _load(part, name, saved[name])
                else:
                    random_state.set_generator(part, saved[name])
            except CapabilityError:  # it says what it is, and the way out
                raise
            except Exception as error:
                told = f"{type(error).__name__}: {error}".rstrip(".")
                raise CapabilityError(
                    f"The part {name!r} was saved, but cannot be loaded again: {told}. If "
                    "training has changed what it is made of, make it so before the Run, too, or begin "
                    "another Run, in another folder."
                ) from error


def made_of(parts: Mapping[str, Any]) -> dict[str, Any]:
    """What the state dicts of modules among the parts have, where only the same can be loaded again."""
    return {
        name: {key: one for key, one in part.state_dict().items() if not modules.loads_itself(part, key)}
        for name, part in parts.items()
        if _is_module(part)
    }


def _collected(part: Any, name: str, consumed: Callable[[Any], bool]) -> Any:
    if _is_generator(part):
        return random_state.of_generator(part)
    whose = f"the part {name!r}"
    tree = _state_dicts(part, whose)
    if _is_module(part):
        tree |= modules.beside(part, tree["state"], consumed)
        modules.refuse_unsavable(part, {**tree["state"], **tree["buffers"]}, whose)
    try:
        arrays, details = stored(tree, f"state/parts/{name}")
        return {**arrays, "details": details}
    except RecursionError:
        raise CapabilityError(
            f"The state of the part {name!r} cannot be stored: something in it contains itself, or it is "
            "nested too deep."
        ) from None


def _state_dicts(part: Any, whose: str) -> dict[str, Any]:
    if keras_parts.is_part(part):  # on PyTorch it is a module, too, whose names count up
        return {"state": keras_parts.state_of(part)}
    if sklearn_parts.is_part(part):
        return {"state": sklearn_parts.state_of(part)}
    if not optimizers.is_optimizer(part):
        return {"state": part.state_dict()}
    state = optimizers.state_of(part, whose)
    return {"state": state, "inner": nested.inner_states(part, state, whose)}


def _load(part: Any, name: str, stored: Mapping[str, Any]) -> None:
    kept, whose = stored["details"], f"the part {name!r}"
    live = _state_dicts(part, whose) if kept["types"] else None
    types, saved = types_of(live), to_tensors(stored, kept, live=live)
    if optimizers.is_optimizer(part):
        optimizers.load(part, saved["state"])
        nested.load_inner(part, saved.get("inner", {}))
    elif keras_parts.is_part(part):
        keras_parts.load(part, saved["state"])
    elif sklearn_parts.is_part(part):
        sklearn_parts.load(part, saved["state"])
    else:
        part.load_state_dict(saved["state"])
    if _is_module(part):
        modules.put_back(part, saved)
    if types:
        check_types(kept, types, _state_dicts(part, whose), f"state/parts/{name}")


class RandomPart(AnyPart):
    """The global random generators."""

    name = "random"

    def __init__(self, moment: Callable[[], Moment]) -> None:
        self._moment = moment

    @property
    def moment(self) -> Moment:
        """After the framework's own last draw before the first batch."""
        return self._moment()

    def collect(self) -> dict[str, Any]:
        """Their states."""
        return random_state.collect()

    def put_back(self, saved: dict[str, Any]) -> None:
        """Set them."""
        random_state.restore(saved)


def _is_module(part: Any) -> bool:
    return modules.is_module(part) and not keras_parts.is_part(part)


def is_stateful(thing: Any) -> bool:
    """Whether it saves and loads itself as PyTorch's objects do."""
    return has(thing, "state_dict") and has(thing, "load_state_dict")


def is_part(thing: Any) -> bool:
    """Whether it can be saved with a run."""
    of_framework = keras_parts.is_part(thing) or sklearn_parts.is_part(thing)
    return of_framework or is_stateful(thing) or random_state.is_generator(thing)


def _is_generator(part: Any) -> bool:
    return random_state.is_generator(part) and not is_stateful(part)
