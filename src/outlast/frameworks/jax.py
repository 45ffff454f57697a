"""JAX: how a state, which is a value, is held, restored, slowed down and saved.

What is trained is a pytree that a step takes and returns. The loop keeps it in ``run.state``, and that is all
that is known of it: what the loop keeps elsewhere is not saved. So a state that was donated, or that does not
change in an epoch, is named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from outlast.core.asking import asked
from outlast.exceptions import CapabilityError, DamagedFile, RunChanged, UsageError
from outlast.frameworks import array_files, jax_modules, jax_rates, jax_tree, jax_weights
from outlast.frameworks.base import Adapter, Capability, Snapshot, weakly
from outlast.frameworks.description import shortened, text
from outlast.frameworks.jax_fit import differences
from outlast.frameworks.jax_tree import CONSTANT, Leaves, Place, described, kind_of
from outlast.frameworks.jax_watch import Watch, is_equal
from outlast.storage.format.dtypes import NATIVE
from outlast.storage.format.encoding import readable_name

# Settings of JAX for the whole process on which results depend.
_CONFIG = (
    "jax_enable_x64",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
)
_SET_IT = "set run.state to what the step returns: run.state, loss = train_step(run.state, x, y)"
_UNREAD = (
    "run.state was set without having been read since the resume. What was saved is in run.state: the loop "
    "trains another state, such as one that was made before the Run, and what was saved would be lost. Pass "
    "run.state to the step: run.state, loss = train_step(run.state, x, y). Or read it in each epoch, before "
    "the batches: state = run.state."
)
_UNREAD_IN_EPOCH = (
    "run.state was set without having been read since the check of this resume. The check was not "
    "identical, so what was saved is in run.state again, but the loop reads it at an epoch's beginning only, "
    "and trains another state. Start the same command again: it goes on from what was saved. If each step "
    "takes run.state, run.state, loss = train_step(run.state, x, y), a start goes on by itself."
)


class JaxTraining(Adapter):
    """A state that the loop sets again and again, and the rate that it passes to its step.

    Args:
        state: a pytree; the template for what is restored.
        weights: gives the piece of a state that is the model; None for the usual places.
        learning_rate: that the loop passes to its step; a number, or several in a dict by name. None: those
            that ``optax.inject_hyperparams`` keeps in the state.
    """

    is_value = True
    without_rate = (
        "pass learning_rate= beside state=, and give run.learning_rate to the step; or keep the rate in the "
        "state, with optax.inject_hyperparams and a number, such as "
        "optax.inject_hyperparams(optax.adam)(learning_rate=1e-3)"
    )

    def __init__(
        self, state: Any, weights: Callable[[Any], Any] | None = None, learning_rate: Any = None
    ) -> None:
        super().__init__()
        leaves = jax_tree.taken_apart(state)
        jax_tree.refuse_traced(leaves)
        jax_tree.refuse_unsavable(state, leaves)
        jax_tree.refuse_empty(state, leaves)
        jax_tree.refuse_deleted(leaves, new=True)
        self._value = state
        self._names, self._structure = leaves.names, leaves.structure
        self._places = [Place.of(leaf) for leaf in leaves.values]
        self._weights = jax_weights.find(state, leaves, weights)
        self._rates = jax_rates.given(learning_rate)
        self._rates_at = jax_rates.held(leaves.names) if self._rates is None else {}
        self._looks_closely = True  # at the next state that is set
        self._probes: list[Callable[[], Any]] = []  # arrays; the next step shows whether it donates them
        self._donates = True  # until a step has shown that it does not
        self._watch = Watch()
        self._rates_were_set = False  # and the loop has not read them since
        self._is_unread = False  # what a resume has put in
        self._was_set = False  # by the loop, in this training
        self._set_in: int | None = None  # the batch of the epoch in which it was last
        self._was_loaded = False  # since the last look at who trains
        can: set[Capability] = {"weights", "saving", "state"}
        self.capabilities = frozenset(can | ({"learning_rate"} if self._rates or self._rates_at else set()))

    @property
    def framework(self) -> str:  # type: ignore[override]
        """What it is, with a type of weights that not every file can hold."""
        lost = self._lost_in_npz()
        return f"this JAX loop with {lost} weights" if lost else "this JAX loop"

    def _lost_in_npz(self) -> str:
        leaves = jax.tree_util.tree_leaves(self._value)
        kinds = {at: kind_of(leaves[at]) for at in self._weights.indices}
        types = {at: described(leaves[at], kind).partition(" ")[0] for at, kind in kinds.items()}
        plain = {at for at, kind in kinds.items() if kind == jax_tree.NUMBER or kind.startswith(jax_tree.KEY)}
        return next((one for at, one in types.items() if at not in plain and one not in NATIVE), "")

    # The state.

    @property
    def model(self) -> Any:
        """The state."""
        return self._value

    @property
    def value(self) -> Any:
        """The state, as the user reads and sets it: what outlast itself reads is :attr:`model`."""
        self._is_unread = False
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        if self._is_unread:
            raise UsageError(_UNREAD_IN_EPOCH if self._was_set else _UNREAD)
        self._was_set = True
        self._set_in = self.batches_done() if self.batches_done is not None else None
        if self._looks_closely or type(value) is not type(self._value):
            self._check_structure(value)
            self._looks_closely = False
        if self._probes:
            arrays = [probe() for probe in self._probes]  # the state that is replaced holds them
            self._donates = any(one is None or one.is_deleted() for one in arrays)
            self._probes = []
        self._value = value

    def _check_structure(self, value: Any) -> Leaves:
        """The leaves of a state that is or was set.

        Raises:
            UsageError: they have other names than those of the template, so that no start could restore them;
                or one has no value yet.
        """
        values, structure = jax.tree_util.tree_flatten(value)
        is_as_made = is_equal(structure, self._structure)  # names take much longer
        leaves = Leaves(self._names, values, structure) if is_as_made else jax_tree.taken_apart(value)
        jax_tree.refuse_traced(leaves)
        if leaves.names == self._names:
            return leaves
        gone = [name for name in self._names if name not in leaves.names]
        new = [name for name in leaves.names if name not in self._names]
        now_none, was_none = jax_tree.within_none(gone, value), jax_tree.within_none(new, self._value)
        if [*now_none, *was_none] == [*gone, *new] != []:
            told = [f"{_few(gone)} is None now, and was not"] if gone else []
            told += [f"{_few(new)} was None, and is not now"] if new else []
            raise UsageError(
                f"run.state was set to a {type(value).__name__} in which {', '.join(told)}. No resume could "
                "restore it, for a state must have the same leaves at all times. Instead of None, start with "
                "zeros of that shape, and keep such an array."
            )
        told = [f"without {_few(gone)}"] if gone else []
        told += [f"with {_few(new)}"] if new else []
        raise UsageError(
            f"{_SET_IT[0].upper()}{_SET_IT[1:]}. It was set to a {type(value).__name__} of another structure "
            "than the state that the run was made with, and no resume could restore it: "
            f"{', '.join(told) or 'in another order'}."
        )

    def _leaves(self) -> Leaves:
        """Those of the state as it is, all readable."""
        leaves = self._check_structure(self._value)
        jax_tree.refuse_deleted(leaves)
        return leaves

    def _set_leaves(self, leaves: Leaves, values: list[Any]) -> None:
        new = jax.tree_util.tree_unflatten(leaves.structure, values)
        self._value = jax_modules.put_into(self._value, new)

    def state(self) -> Any:
        """All leaves but functions, their kinds, and what of the template is not as they are."""
        leaves = self._leaves()
        kinds = self._kinds(leaves)
        values = dict(zip(leaves.names, leaves.values, strict=True))
        self._looks_closely = True
        self._probes = [weakly(leaf) for leaf in leaves.values if isinstance(leaf, jax.Array)][:3]
        template = dict(zip(self._names, (place.described for place in self._places), strict=True))
        return {
            "weights": {
                "leaves": {name: jax_tree.stored(values[name], kind) for name, kind in kinds.items()},
                "kinds": kinds,
            },
            "template": {
                name: template[name]
                for name, kind in kinds.items()
                if template[name] != described(values[name], kind)
            },
            "learning_rate": dict(self._rates or {}),
            "picked": self._picked(),
        }

    def _picked(self) -> list[str]:
        """The leaves that are weights, which the best weights of callbacks go back to."""
        return [self._names[at] for at in self._weights.indices]

    def _kinds(self, leaves: Leaves) -> dict[str, str]:
        kinds = {name: kind_of(leaf) for name, leaf in zip(leaves.names, leaves.values, strict=True)}
        if "" in kinds.values():
            jax_tree.refuse_unsavable(self._value, leaves)
        return {name: kind for name, kind in kinds.items() if kind != CONSTANT}

    def check_state(self, state: Any) -> None:
        """Compare names, shapes and types with those of the template, and the names of rates."""
        template = {
            name: place.described
            for name, place in zip(self._names, self._places, strict=True)
            if place.described != CONSTANT
        }
        found = differences(state["weights"], state["template"], template)
        if not found and state["picked"] != self._picked():
            found.append(
                f"the weights are {_few(state['picked'])} in the run, {_few(self._picked())} in this code: "
                "weights= picks others"
            )
        if [*state["learning_rate"]] != [*(self._rates or {})]:
            names = ", ".join(state["learning_rate"]) or "none", ", ".join(self._rates or {}) or "none"
            found.append(f"the rates of learning_rate= are {names[0]} in the run, {names[1]} in this code")
        if found:
            raise RunChanged("the state is another one: " + "; ".join(found))

    def load_state(self, state: Any) -> None:
        """Put the leaves into the template; those that are as they were saved stay the same arrays."""
        stored, kinds = state["weights"]["leaves"], state["weights"]["kinds"]
        leaves, before = self._check_structure(self._value), jax_modules.outer_leaves(self._value)
        self._set_leaves(
            leaves,
            [
                leaf
                if name not in kinds or _is_kept(leaf, kinds[name], stored[name])
                else jax_tree.restored(stored[name], kinds[name], place)
                for name, leaf, place in zip(leaves.names, leaves.values, self._places, strict=True)
            ],
        )
        pairs = zip(before, jax_modules.outer_leaves(self._value), strict=True)
        self._is_unread |= any(old is not new for old, new in pairs)
        self._was_loaded = True
        if self._rates is not None:
            self._rates_were_set |= self._rates != state["learning_rate"]
            self._rates = dict(state["learning_rate"])

    def label(self, place: str) -> str:
        """The path of a leaf, as in ``state.params['w']``."""
        prefix = "state/training/weights/leaves/"
        names = {readable_name(prefix + name): name for name in self._names}
        return jax_tree.shown(names[place]) if place in names else place

    def description(self) -> dict[str, str]:
        """JAX's settings for the whole process, the classes in the state, and leaves that are not saved.

        Another optimizer often has the same arrays, in other classes.
        """
        constants = {
            jax_tree.shown(name): asked(leaf, "__qualname__") or text(leaf)
            for name, leaf in self._constants().items()
        }
        config = {name: text(getattr(jax.config, name, None)) for name in _CONFIG}
        classes = jax_tree.classes(jax.tree_util.tree_structure(self._value))
        return {**config, "the classes in the state": shortened(", ".join(classes)), **constants}

    def _constants(self) -> dict[str, Any]:
        leaves = jax_tree.taken_apart(self._value)
        pairs = zip(leaves.names, leaves.values, strict=True)
        return {name: leaf for name, leaf in pairs if kind_of(leaf) == CONSTANT}

    @property
    def is_on_accelerator(self) -> bool:
        """Whether an array of the state is on another device than the CPU."""
        arrays = [leaf for leaf in jax.tree_util.tree_leaves(self._value) if isinstance(leaf, jax.Array)]
        return any(device.platform != "cpu" for one in arrays for device in one.sharding.device_set)

    # Who trains.

    def watch(self, *, loaded: bool) -> None:
        """Compare from here on."""
        self._was_set = False
        self._watch.forget_structure()

    def changed(self, parts: Mapping[str, Any], *, inside: bool = False) -> str:
        """Of what is no array: flags of NNX modules, static fields.

        Nothing inside an epoch, whose code may have set them before its batches.
        """
        if inside or not self._watch.has_other_structure(self._value, self._constants()):
            return ""
        return self._watch.once(
            "Something in run.state that is no array changed since the epoch before, and is not saved: a "
            "flag that train() or eval() sets, a function, or a static field. Set it in each epoch, before "
            "the batches."
        )

    def taken_over(self, parts: Collection[Any]) -> str:
        """Tells once that the state was the same at the last call, and once that a rate is not used.

        An epoch that went on inside may have had no batch left, so nothing is told of it.
        """
        told, was_loaded = [], self._was_loaded
        self._was_loaded = False
        if self._watch.is_unchanged("epoch", self._value) and not was_loaded:
            told.append(
                "run.state did not change: no step has trained what the run saves. If the loop keeps the "
                f"state in a variable of its own, {_SET_IT}."
            )
        if self._rates_were_set and not (self.rates_were_read or was_loaded):
            told.append(
                "The learning rate was changed, but the loop did not read run.learning_rate in this epoch: "
                "pass it to the step, train_step(run.state, x, y, run.learning_rate)."
            )
        self._watch.is_unchanged("save", self._value)
        self.rates_were_read = False
        return " ".join(filter(None, map(self._watch.once, told)))

    def stale(self) -> str:
        """Tells once that the loop sets the state too seldom for saves inside an epoch."""
        told = []
        if self._watch.is_unchanged("save", self._value):
            told.append(
                "run.state is as it was at the last save, and batches were trained since: a resume would "
                f"skip them. In each batch, {_SET_IT}."
            )
        elif self._is_late():
            told.append(
                "run.state was not set in the batch that is saved now, but in one before: a resume would "
                f"skip those since. In each batch, {_SET_IT}. Or choose a save_every whose saves come after "
                "batches that set it."
            )
        return " ".join(filter(None, map(self._watch.once, told)))

    def _is_late(self) -> bool:
        """Whether the batch at hand left the state to a later one; an object may be changed in place."""
        if self._set_in is None or self.batches_done is None or self._set_in == self.batches_done():
            return False
        return not any(map(jax_modules.is_object, jax_modules.outer_leaves(self._value)))

    # Rates.

    def require(self, capability: Capability, who: str) -> None:
        """Check that the callback can do its work with this state."""
        if capability == "learning_rate" not in self.capabilities:
            raise CapabilityError(
                f"{who} needs a learning rate that can be set, which this JAX loop does not have: "
                f"{self.without_rate}."
            )
        super().require(capability, who)

    def learning_rates(self) -> dict[str, float]:
        """The rates that were given, or those in the state."""
        if self._rates is not None:
            return dict(self._rates)
        if not self._rates_at:
            return {}
        values = self._leaves().values
        return {name: float(np.asarray(values[at]).reshape(-1)[0]) for name, at in self._rates_at.items()}

    def set_learning_rate(self, name: str, value: float) -> None:
        """Set a rate; one in the state in its own type."""
        if self._rates is not None:
            self._rates_were_set |= self._rates[name] != value
            self._rates[name] = value
            return
        leaves, at = self._leaves(), self._rates_at[name]
        old, kind = leaves.values[at], kind_of(leaves.values[at])
        now = jax_tree.stored(old, kind)
        new = value if isinstance(now, float) else np.full(now.shape, value, now.dtype)
        changed = jax_tree.restored(new, kind, self._places[at])
        self._set_leaves(leaves, [*leaves.values[:at], changed, *leaves.values[at + 1 :]])

    # Weights.

    def _weight_leaves(self) -> dict[str, Any]:
        values = self._leaves().values
        return dict(zip(self._weights.names, (values[at] for at in self._weights.indices), strict=True))

    def _copied_weights(self) -> Snapshot:
        """The weights by their names in files; as JAX has them where nothing will overwrite them."""
        return Snapshot({name: self._kept(leaf) for name, leaf in self._weight_leaves().items()})

    def _kept(self, leaf: Any) -> Any:
        """What is looked at survives a donation, which then copies: so a step that donates gets a copy."""
        kind = kind_of(leaf)
        stored = jax_tree.stored(leaf, kind)
        is_safe = not self._donates and kind != jax_tree.NUMPY
        return stored if is_safe or kind == jax_tree.NUMBER else np.array(stored)

    def restore_weights(self, snapshot: Snapshot) -> None:
        """Put weights back into the state."""
        leaves = self._check_structure(self._value)
        values = list(leaves.values)
        for name, at in zip(self._weights.names, self._weights.indices, strict=True):
            place = self._places[at]
            values[at] = jax_tree.restored(snapshot.weights[name], kind_of(values[at]), place)
        self._set_leaves(leaves, values)

    def weights_to_arrays(self, snapshot: Snapshot) -> list[tuple[str, Any]]:
        """The weights by their names in files."""
        return [*snapshot.weights.items()]

    def weights_from_arrays(self, pairs: Sequence[tuple[str, Any]]) -> Snapshot:
        """The inverse of :meth:`weights_to_arrays`."""
        return Snapshot(dict(pairs))

    def suffixes(self, weights_only: bool) -> tuple[str, ...]:
        """Safetensors' first: NumPy's own files have no bfloat16."""
        both = (array_files.SAFETENSORS, array_files.NPZ)
        return both[:1] if self._lost_in_npz() else both

    def saving(self, weights_only: bool) -> array_files.ArraysSave:
        """The arrays of the weights, whichever is asked for."""
        return array_files.ArraysSave(self._arrays)

    def _arrays(self) -> Mapping[str, Any]:
        weights = self.copy_weights().weights
        return {
            name: np.asarray(value) if isinstance(value, float | int) else value
            for name, value in weights.items()
        }

    def load_file(self, path: str) -> Any:
        """A pytree like ``weights(state)``.

        Raises:
            DamagedFile: it has other arrays.
        """
        arrays = array_files.load(path)
        leaves = self._check_structure(self._value).values
        if arrays.keys() != {*self._weights.names}:
            raise DamagedFile(f"{path} has other arrays than the weights of this state.", path=path)
        values = [
            jax_tree.restored(
                _number_or_array(arrays[name], leaves[at]), kind_of(leaves[at]), self._places[at]
            )
            for name, at in zip(self._weights.names, self._weights.indices, strict=True)
        ]
        return self._weights.together(values)


def _number_or_array(array: Any, leaf: Any) -> Any:
    return array.item() if kind_of(leaf) == jax_tree.NUMBER else array


def _is_kept(leaf: Any, kind: str, value: Any) -> bool:
    is_gone = isinstance(leaf, jax.Array) and leaf.is_deleted()
    return not is_gone and jax_tree.is_same(leaf, kind, value)


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(jax_tree.shown, names[:3])) + (
        f" and {len(names) - 3} more" if len(names) > 3 else ""
    )
