"""Settings: what a run was asked to do, and what may change between its starts."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from outlast.callbacks.base import Callback
from outlast.core.asking import asked
from outlast.core.decision import Decision
from outlast.core.numbers import to_python
from outlast.core.run_state import Position
from outlast.exceptions import ArgumentError, RunChanged, nearest
from outlast.frameworks.batches import Batches

Settings = dict[str, Any]

# What decides which training it is. Anything else may change, and is said.
_FIXED_IN_CALLBACKS = ("monitor", "mode")
_OF_BATCHES = ("steps", "batch_size", "batches_seed")
_FIXED = ("learning_rate", "seed", "log_every", *_OF_BATCHES)

_MOST_SAID = 5  # changes of the model


@dataclass(frozen=True)
class Change:
    """One setting that is not as it was.

    Args:
        name: such as ``"EarlyStopping.patience"``; what ``accept_changes`` takes.
        how: what happened to it: ``"changed from 50 to 60"``.
        fixed: it makes another training of it.
    """

    name: str
    how: str
    fixed: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.how}"


def shown(value: Any) -> str:
    """A setting for a message; one learning rate without the name of its optimizer.

    Example:
        >>> shown({"adam": 0.10000000149011612}), shown("val_loss")
        ('0.1', "'val_loss'")
    """
    if isinstance(value, Mapping):
        if len(value) == 1 and isinstance(rate := next(iter(value.values())), float):
            return shown(rate)
        return ", ".join(f"{name}={shown(item)}" for name, item in value.items()) or "none"
    return f"{value:.7g}" if isinstance(value, float) else repr(value)


def keys(callbacks: Collection[Callback]) -> list[str]:
    """A name for each callback, which stays the same when others are added: its class and its number.

    Example:
        >>> from outlast import History, TerminateOnNaN
        >>> keys([History(), TerminateOnNaN(), History()])
        ['History', 'TerminateOnNaN', 'History#2']
    """
    counts: dict[str, int] = {}
    names = []
    for callback in callbacks:
        name = type(callback).__name__
        counts[name] = counts.get(name, 0) + 1
        names.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return names


def requested(
    callbacks: Collection[Callback],
    rates: Mapping[str, float] | None,
    seed: int | None,
    steps: int | None = None,
) -> Settings:
    """What the code asks for; None where it does not say, or where that is not known any more.

    Args:
        callbacks: ours.
        rates: the initial learning rates by name.
        seed: the script's.
        steps: batches an epoch.
    """
    by_key = zip(keys(callbacks), callbacks, strict=True)
    return {
        "callbacks": {key: to_python(callback.configuration()) for key, callback in by_key},
        "learning_rate": rates,
        "seed": seed,
        "steps": steps,
        "batch_size": None,  # until the first loader is used
    }


def filled_in(before: Mapping[str, Any], now: Mapping[str, Any]) -> Settings:
    """What the code asks for; what it does not say is taken from before."""
    said = {name: value for name, value in now.items() if value is not None or name not in before}
    return {**before, **said}


def of_loader(loader: Any) -> Settings:
    """What a loader says of its batches; None for what it does not say."""
    try:
        steps = len(loader)
    except Exception:  # TypeError of a stream; anything of a class of the user's
        steps = None
    size = asked(loader, "batch_size")
    seed = {"batches_seed": loader.seed} if isinstance(loader, Batches) and loader.shuffle else {}
    return {"steps": steps, "batch_size": size if isinstance(size, int) else None, **seed}


def refusal(folder: str, differences: Collection[str], accept: Collection[str] = ()) -> RunChanged:
    """The error that names what differs, and what can be done."""
    ways = [
        "go back to the old setting",
        "pass resume='never', which sets the old folder aside as NAME.1, or use another folder",
    ]
    if accept:
        ways.append(f"pass accept_changes=[{', '.join(map(repr, accept))}] to go on with the new setting")
    lines = [f"  - {way}" for way in ways]
    return RunChanged(
        f"{folder} holds another training: {'; '.join(differences)}. Choose one:\n" + "\n".join(lines)
    )


def check(
    folder: str, changed: Collection[Change], accepted: Collection[str], others: Collection[Change] = ()
) -> None:
    """Refuse changes that make another training of it, unless they are accepted.

    Args:
        folder: as the user wrote it.
        changed: all of them.
        accepted: names of those that are.
        others: what the training is made of otherwise, which may be why.

    Raises:
        RunChanged: there are some.
    """
    names = {change.name: {change.name, change.name.rpartition(".")[2]} for change in changed}
    refused = [c for c in changed if c.fixed and names[c.name].isdisjoint(accepted)]
    if refused:
        told = [str(c) for c in (*refused, *others)]
        raise refusal(folder, told, [c.name for c in refused])


def check_names(accepted: Collection[str], known: Iterable[str]) -> None:
    """Refuse to accept changes of what no setting is called.

    Args:
        accepted: whole names, or the last parts of names.
        known: the names of all settings, beside those that every run has.

    Raises:
        ArgumentError: there are such names.

    Example:
        >>> check_names(["steps", "patience"], ["EarlyStopping.patience"])
    """
    names = [*_FIXED, *known]
    names += [name.rpartition(".")[2] for name in names]
    for name in accepted:
        if name not in names:
            told = f"accept_changes has {name!r}, and no setting is called that."
            raise ArgumentError(told + (nearest(name, names) or f" Settings are {', '.join(_FIXED)}, ..."))


def names(*settings: Mapping[str, Any]) -> list[str]:
    """The names of the callbacks in settings, and of what they are set to."""
    of_callbacks = [(key, one) for each in settings for key, one in each["callbacks"].items()]
    return [name for key, one in of_callbacks for name in (key, *(f"{key}.{name}" for name in one))]


def others_inside(changed: Iterable[Change], position: Position) -> list[str]:
    """What changes of the batches do to an epoch that goes on inside, as a phrase; none if there are none."""
    if position.batch is None or not any(change.name in _OF_BATCHES for change in changed):
        return []
    return [
        f"the batches after batch {position.batch + 1} of epoch {position.epoch + 1} are others now, so that "
        "some data may come twice in it, and some not at all"
    ]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """What differs between two settings.

    Args:
        before: ``{"callbacks": {key: configuration}, "learning_rate": ..., "steps": ...}``.
        now: the same of the code.
    """
    found = [
        Change(name, _from_to(before[name], now[name]), fixed=True)
        for name in _FIXED
        if before.get(name) is not None and now.get(name) is not None and not _same(before[name], now[name])
    ]
    if before.get("seed") is None and now.get("seed") is not None:
        told = f"was added ({now['seed']}), which changes nothing: the saved random state goes on"
        found.append(Change("seed", told))
    theirs, ours = before["callbacks"], now["callbacks"]
    found += [Change(key, "was added") for key in ours if key not in theirs]
    found += [
        Change(f"{key}.{name}", _from_to(theirs[key][name], value), fixed=name in _FIXED_IN_CALLBACKS)
        for key in ours
        if key in theirs
        for name, value in ours[key].items()
        if name in theirs[key] and theirs[key][name] != value
    ]
    return found + [Change(key, "was removed") for key in theirs if key not in ours]


def other_training(before: Mapping[str, str], now: Mapping[str, str]) -> list[Change]:
    """What a training is made of otherwise than the run's; only the user knows what that means.

    A layer that is loaded from a file may have attributes that one that was made has not, so of layers that
    are in both, only what both have is compared.

    Example:
        >>> before = {"layer 0.rate": "0.1"}
        >>> print(*other_training(before, {"layer 0.rate": "0.2", "layer 0.is_loaded": "True"}))
        layer 0.rate changed from 0.1 to 0.2
    """
    places = [{name.rpartition(".")[0] for name in side} for side in (before, now)]
    found = [
        Change(name, f"changed from {before[name]} to {value}")
        for name, value in now.items()
        if name in before and before[name] != value
    ]
    added = {name: "was added" for name in now if before and name not in before}
    removed = {name: "was removed" for name in before if now and name not in now}
    both = set.intersection(*places)
    found += [
        Change(name, what)
        for name, what in {**added, **removed}.items()
        if "." not in name or name.rpartition(".")[0] not in both
    ]
    more = len(found) - _MOST_SAID
    return (
        found if more <= 0 else [*found[:_MOST_SAID], Change(f"{more} more settings of the model", "changed")]
    )


def rates_of(rows: Iterable[Settings], decisions: Iterable[Decision]) -> list[Settings]:
    """The rates that a run had in its epochs, and those that its decisions set.

    Example:
        >>> rates_of([{"epoch": 0, "loss": 2.0, "learning_rate": 0.5}], [])
        [{'learning_rate': 0.5}]
    """
    had = [{name: row[name] for name in row if name.startswith("learning_rate")} for row in rows]
    return had + [dict(decision.values.get("learning_rate", {})) for decision in decisions]


def came_to(rates: Mapping[str, float], had: Iterable[Settings]) -> bool:
    """Whether these rates are among those: a model that a run saved, and a script loads, has the run's.

    Example:
        >>> came_to({"adam": 0.5}, [{"learning_rate": 1.0}, {"learning_rate": 0.5}])
        True
    """
    return bool(rates) and any(_same(one, rates) for one in had)


def _from_to(before: Any, now: Any) -> str:
    return f"changed from {shown(before)} to {shown(now)}"


def _same(before: Any, now: Any) -> bool:
    """Whether two settings are equal, rates in the precision that a framework may hold them in.

    The names of rates do not count: Keras calls the optimizer of a cell that ran twice ``adam_1``.
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        pairs = zip(before.values(), now.values(), strict=False)
        return len(before) == len(now) and all(_same(one, other) for one, other in pairs)
    if isinstance(before, float) and isinstance(now, float):
        return struct.pack("f", before) == struct.pack("f", now)
    return bool(before == now)
