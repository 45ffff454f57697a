"""What the order of a loader's batches depends on, beside the global generators.

A loader holds random generators, and so do its samplers and its dataset; a sampler of one's own may count
its passes or shuffle a list. All of this is found through what wraps the loader: tqdm, enumerate, zip.
"""

from __future__ import annotations

import gc
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from outlast.core.asking import asked, has
from outlast.frameworks import held_generators, random_state
from outlast.frameworks.base import weakly
from outlast.frameworks.tensors import to_array, to_tensor

_PLACES = ("", "sampler", "batch_sampler", "batch_sampler.sampler", "dataset")
_DEPTH = 8  # of wrappers in wrappers
_WIDTH = 64  # attributes of a wrapper
_LENGTH = 100_000  # of a list that is an order
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
    return list(_within(iterable, False, _DEPTH, set()))


def _within(thing: Any, begun: bool, depth: int, seen: set[int]) -> Iterator[Found]:
    if id(thing) in seen or not depth:
        return
    seen.add(id(thing))
    begun = begun or (type(thing).__module__.startswith(_TORCHS) and hasattr(type(thing), "__next__"))
    if _is_loader(thing):
        yield Found(thing, begun)
    elif _may_wrap(thing):
        for inner in gc.get_referents(thing):
            yield from _within(inner, begun, depth - 1, seen)


def alive() -> list[Any]:
    """All loaders that this process holds at the moment, as far as their attributes tell."""
    return [one for one in gc.get_objects() if _may_be_loader(one) and _is_loader(one)]


def _may_be_loader(thing: Any) -> bool:
    """Without asking it for what it may compute: it may be anybody's."""
    if isinstance(thing, (type, dict, list, tuple)) or not hasattr(type(thing), "__iter__"):
        return False
    held = _attributes(thing)
    return any(name in held for name in ("sampler", "batch_sampler")) or any(held_generators.held(held, 2))


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
        if holder is not None and not any(holder is one for one in seen):
            seen.append(holder)
            yield place, holder


def generators(loader: Any) -> dict[str, Any]:
    """Every different generator by place, also within what a holder holds, such as a list of transforms.

    An attribute named ``generator`` is known by the place of its holder alone.
    """
    found: dict[str, Any] = {}
    for place, holder in _holders(loader):
        inner = {name: f"{place}.{name}".lstrip(".") for name in _attributes(holder)}
        own = {name: one for name, one in _attributes(holder).items() if inner[name] not in _PLACES}
        attributes = {"generator": asked(holder, "generator"), **own}
        for name, value in held_generators.held(attributes):
            if not any(value is known for known in found.values()):
                found[place if name == "generator" else f"{place}.{name}"] = value
    return found


def plain(loader: Any) -> dict[str, Plain]:
    """The plain attributes that change as a loader is used, by place."""
    holders = {place: one for place, one in _holders(loader) if _attributes(one)}
    return {
        f"{place}:plain": Plain(one, numbers=not _is_torchs(one), lists=place != "dataset" or _has_order(one))
        for place, one in holders.items()
        if not _is_torchs(one) or any(map(_is_order, _attributes(one).values()))
    }


def _is_torchs(holder: Any) -> bool:
    """Whether it is one of PyTorch's own, of which only lists change: indices, weights of a sampler."""
    return type(holder).__module__.startswith(_TORCHS) and not has(holder, "set_epoch")


def _has_order(dataset: Any) -> bool:
    """Whether a dataset is what PyTorch makes of an order, as a Subset with its indices is."""
    kinds = [kind for kind in type(dataset).__mro__ if kind.__module__.startswith(_TORCHS)]
    return any("__getitem__" in vars(kind) and "__init__" in vars(kind) for kind in kinds)


class Plain:
    """Attributes of a sampler that are numbers, or lists of numbers, and change as it is used.

    Args:
        holder: held weakly.
        numbers: look at numbers.
        lists: look at lists and arrays; not in a dataset of the user's, where they are the data.
    """

    def __init__(self, holder: Any, numbers: bool, lists: bool) -> None:
        self._holder, self._numbers, self._lists = weakly(holder), numbers, lists
        self._born = self._now()

    def is_of(self, other: Any) -> bool:
        """Whether another has the same holder."""
        return isinstance(other, Plain) and self._holder() is other._holder() is not None

    def _now(self) -> dict[str, Any]:
        return {
            name: _copied(value)
            if isinstance(value, (list, dict))
            else to_array(value).copy()
            if has(value, "shape")
            else value
            for name, value in _attributes(self._holder()).items()
            if (self._numbers and _is_number(value)) or (self._lists and _is_order(value))
        }

    def state(self) -> dict[str, Any]:
        """What has changed: before and now; of an order that has not, a checksum."""
        now = self._now()
        return {
            name: [before, now[name]] if not _same(before, now[name]) else [_checksum(before)]
            for name, before in self._born.items()
            if name in now and not (_is_number(before) and _same(before, now[name]))
        }

    def is_as_before(self, saved: Mapping[str, Any]) -> bool:
        """Whether all that a :meth:`state` has as changed is here, and has not changed."""
        now = self._now()
        return all(name in now and _is_as_saved(now[name], one[0]) for name, one in saved.items())

    def restore(self, saved: Mapping[str, Any], *, anyway: bool) -> list[str]:
        """Set what was changed, unless this start has set it to another value itself.

        Args:
            saved: a :meth:`state`.
            anyway: it is of this process.

        Returns:
            The names of attributes that this start has set.
        """
        holder, now, kept = self._holder(), self._now(), []
        for name, (before, *changed) in saved.items():
            if name not in now:
                continue
            if changed and (anyway or _same(now[name], before)):
                _set(holder, name, changed[0])
                self._born[name] = before
            elif not any(_is_as_saved(now[name], one) for one in (before, *changed)):
                kept.append(f"{name} of {type(holder).__name__}")
        return kept


def _attributes(holder: Any) -> dict[str, Any]:
    found = asked(holder, "__dict__", {})
    return found if isinstance(found, dict) and not isinstance(holder, type) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _is_order(value: Any) -> bool:
    if isinstance(value, (list, dict)):
        return _numbers_in(value) <= _LENGTH
    kind = str(asked(value, "dtype", "")).removeprefix("torch.")
    if not kind.startswith(("int", "float3", "float6", "bool")):
        return False
    size = asked(value, "numel") or asked(value, "size")
    size = size() if callable(size) else size
    return isinstance(size, int) and 0 < size <= _LENGTH


def _numbers_in(value: Any, depth: int = 3) -> int:
    """How many numbers are in a list, or in a list or dict of such; too many if there is something else."""
    if isinstance(value, dict) and not all(isinstance(key, (str, int)) for key in value):
        return _LENGTH + 1
    members = [*value.values()] if isinstance(value, dict) else value
    kinds = set(map(type, members))  # which are few
    if len(members) > _LENGTH or not depth:
        return _LENGTH + 1
    if all(issubclass(one, (int, float)) for one in kinds):
        return len(members)
    if not kinds <= {list, dict}:
        return _LENGTH + 1
    return sum(_numbers_in(one, depth - 1) for one in members)


def _copied(value: Any) -> Any:
    """A list or dict, and those in it, copied; numbers need no copy, which takes time in a long list."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, list):
        return [*map(_copied, value)] if value and isinstance(value[0], (list, dict)) else value[:]
    return value


def _same(one: Any, other: Any) -> bool:
    import numpy as np

    if type(one) is not type(other):
        return False
    return one == other if isinstance(one, (list, dict)) else bool(np.array_equal(one, other))


def _is_as_saved(value: Any, saved: Any) -> bool:
    """Whether a value is the one that was saved, or the one that has the checksum that was saved."""
    return _same(value, saved) or (not _is_number(value) and _checksum(value) == saved)


def _checksum(order: Any) -> int:
    return zlib.crc32(repr(order if isinstance(order, (list, dict)) else order.tobytes()).encode())


def _fill(live: Any, value: Any) -> None:
    """Change a list or dict in place, and those in it."""
    for key in value if isinstance(live, dict) else range(len(value)):
        inner = live.get(key) if isinstance(live, dict) else (live[key] if key < len(live) else None)
        if isinstance(inner, (list, dict)) and type(inner) is type(value[key]):
            _fill(inner, value[key])
            value[key] = inner
    if isinstance(live, dict):
        live.clear()
        live.update(value)
    else:
        live[:] = value


def _set(holder: Any, name: str, value: Any) -> None:
    """In place where it is a list or an array, which others may hold."""
    live = getattr(holder, name)
    if has(live, "shape") and live.shape == value.shape:
        live[...] = to_tensor(value) if has(live, "detach") else value
    elif isinstance(live, (list, dict)):
        _fill(live, value)
    else:
        setattr(holder, name, to_tensor(value) if has(live, "detach") else value)


def states(found: Mapping[str, Any]) -> dict[str, Any]:
    """Their states, by place."""
    return {
        place: one.state() if isinstance(one, Plain) else random_state.of_generator(one)
        for place, one in found.items()
    }


def restore(found: Mapping[str, Any], saved: Mapping[str, Any], *, anyway: bool = False) -> list[str]:
    """Set them to their states; returns the names of attributes that the script has set otherwise."""
    kept = []
    for place, one in found.items():
        if place in saved and isinstance(one, Plain):
            kept += one.restore(saved[place], anyway=anyway)
        elif place in saved:
            random_state.set_generator(one, saved[place])
    return kept


def are_as_before(found: Mapping[str, Any], saved: Mapping[str, Any]) -> bool:
    """Whether the plain attributes among them are what they were before those changed that are saved."""
    return all(
        one.is_as_before(saved.get(place, {})) for place, one in found.items() if isinstance(one, Plain)
    )


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
    if asked(loader, "persistent_workers", False) and asked(loader, "_iterator") is None:
        before = random_state.collect()
        iter(loader)
        random_state.restore(before)


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
        elif asked(loader, "persistent_workers", False):
            told.append(
                "persistent workers of a DataLoader go on with random numbers of their own, if the dataset "
                "draws any (augmentation); leave out persistent_workers=True, or seed each draw by epoch and "
                "index"
            )
    return told
