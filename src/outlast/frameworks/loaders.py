"""What the order of a loader's batches depends on, beside the global generators.

A loader holds random generators, and so do its samplers and its dataset; a sampler of one's own may count
its passes or shuffle a list, a dataset, a transform or a collate function its items. All of this is found
through what wraps the loader: tqdm, enumerate, zip.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from outlast.core.asking import asked, has
from outlast.frameworks import held_data, held_generators, positioned, random_state
from outlast.frameworks.batches import Pass
from outlast.frameworks.closures import Closure
from outlast.frameworks.orders import LENGTH, SHORT, Order, is_number, is_order

_FIRST_PLACES = ("", "sampler", "batch_sampler", "batch_sampler.sampler", "dataset")
_PLACES = (*_FIRST_PLACES, "collate_fn")
_PLAIN = ":plain"
_OF_ITEMS = ("dataset", "collate_fn")  # which are asked for the items of a batch, not for which those are
_OF_A_PASS = (
    "_iterator"  # what a loader keeps of the pass at hand, which holds its sampler under another name
)
_DEPTH = 8  # of wrappers in wrappers
_WIDTH = 64  # attributes of a wrapper
_TORCHS = "torch.utils.data"


@dataclass(frozen=True)
class Found:
    """A loader, or what is left of it in an iterator.

    Args:
        holder: has the generators.
        begun: its iterator was made already, so that it drew from them.
    """

    holder: Any
    begun: bool = False


def within(iterable: Any) -> list[Found]:
    """The loaders in an iterable: itself, or those that it takes its batches from."""
    return list(_within(iterable, False, _DEPTH, set(), _is_loader))


def tensorflows(iterable: Any) -> list[Any]:
    """The datasets of ``tf.data`` in an iterable, found in the same way; of an iterator the one it is of."""
    if "tensorflow" not in sys.modules:
        return []
    found = _within(iterable, False, _DEPTH, set(), lambda thing: has(thing, "element_spec"))
    holders = [one.holder for one in found]
    return [asked(one, "_dataset", one) if hasattr(one, "__next__") else one for one in holders]


def _within(
    thing: Any, begun: bool, depth: int, seen: set[int], is_wanted: Callable[[Any], bool]
) -> Iterator[Found]:
    if id(thing) in seen or not depth:
        return
    seen.add(id(thing))
    begun = begun or (type(thing).__module__.startswith(_TORCHS) and hasattr(type(thing), "__next__"))
    if is_wanted(thing):
        yield Found(thing, begun)
    elif _may_wrap(thing):
        for inner in gc.get_referents(thing):
            yield from _within(inner, begun, depth - 1, seen, is_wanted)


def _is_loader(thing: Any) -> bool:
    if isinstance(thing, (type, dict, list, tuple)) or hasattr(type(thing), "__next__"):
        return False
    return any(has(thing, name) for name in ("sampler", "batch_sampler")) or bool(generators(thing))


def _may_wrap(thing: Any) -> bool:
    if isinstance(thing, (dict, list, tuple)):
        return len(thing) <= _WIDTH
    if isinstance(thing, (type, str, bytes, set, frozenset)) or has(thing, "__array__"):
        return False
    return hasattr(type(thing), "__iter__")


def _holders(loader: Any) -> Iterator[tuple[str, Any]]:
    seen: list[Any] = []
    for place in _PLACES:
        holder = loader
        for name in filter(None, place.split(".")):
            holder = asked(holder, name)
        if place == "collate_fn":
            holder = held_data.owner(holder)
            if held_data.is_trained(holder):
                continue
        inner = held_data.holders(place, holder) if place in _OF_ITEMS else []
        for where, one in [(place, holder), *inner]:
            if one is not None and not any(one is other for other in seen):
                seen.append(one)
                yield where, one


def generators(loader: Any) -> dict[str, Any]:
    """Every different generator by place, also within what a holder holds, such as a list of transforms.

    An attribute named ``generator`` is known by the place of its holder alone.
    """
    found: dict[str, Any] = {}
    for place, holder in _holders(loader):
        inner = {name: f"{place}.{name}".lstrip(".") for name in _attributes(holder)}
        own = {
            name: one
            for name, one in _attributes(holder).items()
            if inner[name] not in _PLACES and name != _OF_A_PASS
        }
        attributes = {"generator": asked(holder, "generator"), **own}
        for name, value in held_generators.held(attributes):
            if not any(value is known for known in found.values()):
                found[place if name == "generator" else f"{place}.{name}"] = value
    return found


def orders(loader: Any) -> dict[str, Order]:
    """The plain attributes that change as a loader is used, by place."""
    return {
        f"{place}{_PLAIN}": Order(
            one,
            numbers=_has_numbers(place, one),
            lists=_longest(place, one),
            data=_is_data(place, one),
            own=place not in _FIRST_PLACES,
        )
        for place, one in _holders(loader)
        if _may_change(place, one)
    }


def saved_of_dataset(loader: Any) -> set[str]:
    """The attributes of its dataset that are saved, by name; no empty list, which may become data."""
    order = orders(loader).get(f"dataset{_PLAIN}")
    plain = {} if order is None else order.now()
    own = _attributes(asked(loader, "dataset"))
    generators_in = {name.partition(".")[0] for name, _ in held_generators.held(own)}
    return generators_in | {name for name in plain if not isinstance(own[name], (list, dict)) or own[name]}


def is_held(place: str) -> bool:
    """Whether an order is one of what data hold, by its place: these came later than the first runs."""
    return place.endswith(_PLAIN) and place.removesuffix(_PLAIN) not in _FIRST_PLACES


def of_order(loader: Any) -> dict[str, Any]:
    """Those of :func:`generators` and :func:`orders` that say which batch is the next, by place.

    A sampler often holds the dataset, whose own generators say nothing of it.
    """
    theirs = [
        value
        for place, holder in _holders(loader)
        if place.startswith(_OF_ITEMS)
        for _, value in held_generators.held({"generator": asked(holder, "generator"), **_attributes(holder)})
    ]
    return {
        place: one
        for place, one in {**generators(loader), **orders(loader)}.items()
        if not place.startswith(_OF_ITEMS) and not any(one is other for other in theirs)
    }


def _may_change(place: str, holder: Any) -> bool:
    """Whether a holder has attributes that may; of what data hold, only those that do count."""
    values, most = _attributes(holder).values(), _longest(place, holder)
    if _is_torchs(holder):
        numbers = _has_numbers(place, holder)
        return any(is_order(one, most) or (numbers and is_number(one)) for one in values)
    if place in _PLACES:
        return bool(values)
    return any(is_number(one) or is_order(one, most) for one in values)


def _has_numbers(place: str, holder: Any) -> bool:
    """Whether numbers of a holder may change: those of PyTorch's loaders and samplers are settings."""
    return place == "dataset" or not _is_torchs(holder)


def _is_data(place: str, holder: Any) -> bool:
    """Whether lists of a holder may be data."""
    if isinstance(holder, Closure):
        return True
    return place.startswith(_OF_ITEMS) and place != "collate_fn" and not _has_order(holder)


def _longest(place: str, holder: Any) -> int:
    """How many numbers a list of a holder may have that is saved."""
    return SHORT if _is_data(place, holder) else LENGTH


def _is_torchs(holder: Any) -> bool:
    """Whether it is one of PyTorch's own, of which only lists change: indices, weights of a sampler."""
    return type(holder).__module__.startswith(_TORCHS) and not has(holder, "set_epoch")


def _has_order(dataset: Any) -> bool:
    """Whether a dataset is what PyTorch makes of an order, as a Subset with its indices is."""
    kinds = [kind for kind in type(dataset).__mro__ if kind.__module__.startswith(_TORCHS)]
    return any("__getitem__" in vars(kind) and "__init__" in vars(kind) for kind in kinds)


def _attributes(holder: Any) -> dict[str, Any]:
    found = asked(holder, "__dict__", {})
    return found if isinstance(found, dict) and not isinstance(holder, type) else {}


def states(found: Mapping[str, Any]) -> dict[str, Any]:
    """Their states, by place."""
    return {
        place: one.state() if isinstance(one, Order) else random_state.of_generator(one)
        for place, one in found.items()
    }


def restore(found: Mapping[str, Any], saved: Mapping[str, Any], *, anyway: bool = False) -> list[str]:
    """Set them to their states; returns the names of attributes that the script has set otherwise."""
    kept = []
    for place, one in found.items():
        if place in saved and isinstance(one, Order):
            kept += one.restore(saved[place], anyway=anyway)
        elif place in saved:
            random_state.set_generator(one, saved[place])
    return kept


def are_as_before(found: Mapping[str, Any], saved: Mapping[str, Any]) -> bool:
    """Whether the orders among them are what they were before that changed which is saved."""
    return all(
        one.is_as_before(saved.get(place, {})) for place, one in found.items() if isinstance(one, Order)
    )


def now(found: Mapping[str, Any]) -> dict[str, Any]:
    """What they are, by place, for :func:`put`."""
    return {
        place: one.now() if isinstance(one, Order) else random_state.of_generator(one)
        for place, one in found.items()
    }


def put(found: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Have them be what they were, as far as that is known; returns what the orders among them were."""
    orders_before = {}
    for place, one in found.items():
        if isinstance(one, Order):
            orders_before[place] = one.put(values.get(place, {}))
        elif place in values:
            random_state.set_generator(one, values[place])
    return orders_before


def begin(found: Mapping[str, Any]) -> dict[str, Any]:
    """The loader is about to be iterated; returns the states of its generators."""
    for one in found.values():
        if isinstance(one, Order):
            one.begin()
    return {
        place: random_state.of_generator(one) for place, one in found.items() if not isinstance(one, Order)
    }


def at_first(found: Mapping[str, Any]) -> dict[str, Any]:
    """What has changed of the orders among them, as it was at first, for :func:`put`."""
    return {
        place: {name: before for name, (before, _) in one.changed().items()}
        for place, one in found.items()
        if isinstance(one, Order)
    }


def gone_on(found: Mapping[str, Any]) -> dict[str, Any]:
    """What they are now, but of the orders among them only what has changed, for :func:`put`."""
    return {
        place: {name: value for name, (_, value) in one.changed().items()}
        if isinstance(one, Order)
        else random_state.of_generator(one)
        for place, one in found.items()
    }


def begin_again(found: Found) -> None:
    """Draw what an iterator that was made already has drawn, now that the generators are where they were."""
    loader = _loader_of(found)
    if loader is not None and not asked(loader, "num_workers"):
        before = random_state.collect()
        iter(loader)
        random_state.restore(before)


def _loader_of(found: Found) -> Any:
    """The loader whose sampler an iterator holds, which does not hold the loader itself."""
    holders = gc.get_referrers(found.holder)
    owners = [*holders, *gc.get_referrers(*[one for one in holders if isinstance(one, dict)])]
    for owner in owners:
        attributes = _attributes(owner)
        if any(attributes.get(name) is found.holder for name in ("batch_sampler", "sampler")):
            return owner
    return None


def begin_workers(loader: Any) -> None:
    """Start persistent workers without consuming global randomness.

    They draw their seed once, when they start, and the run that is resumed had started them already.
    """
    has_none = asked(loader, "_iterator") is None and not positioned.is_replaced(loader)
    if asked(loader, "persistent_workers", False) and has_none:
        before = random_state.collect()
        iter(loader)
        random_state.restore(before)


def skip(iterator: Any, batches: int) -> int:
    """Go past batches without loading them, where an iterator can; returns past how many it went.

    PyTorch's own, without workers, asks its sampler for the indices of the next batch, and loads them then.
    """
    if isinstance(iterator, Pass):
        return iterator.skip(batches)
    kind = type(iterator)
    if kind.__name__ != "_SingleProcessDataLoaderIter" or not kind.__module__.startswith(_TORCHS):
        return 0
    is_stream = asked(iterator, "_dataset_kind", 1)  # PyTorch's number: 0 is a dataset with indices
    if is_stream or not has(iterator, "_next_index"):
        return 0
    for skipped in range(batches):
        try:
            iterator._next_index()
        except StopIteration:
            return skipped
        iterator._num_yielded += 1
    return batches


def inexact(iterable: Any) -> list[str]:
    """What of a loader a resume cannot make identical, and what would make it so."""
    told = []
    for found in within(iterable):
        loader = _loader_of(found) if found.begun else found.holder
        if found.begun and asked(loader, "num_workers"):
            told.append(
                "the workers of a DataLoader began before run.batches saw it; put run.batches inside, as in "
                "enumerate(run.batches(loader))"
            )
        if asked(loader, "num_workers") and not asked(loader, "in_order", True):
            told.append("the batches of a DataLoader come as its workers get done: leave out in_order=False")
        elif asked(loader, "persistent_workers", False):
            told.append(
                "persistent workers of a DataLoader go on with random numbers of their own, if the dataset "
                "draws any (augmentation); leave out persistent_workers=True, or pass "
                "Run(..., augmentation='batch')"
            )
    return told
