"""The arguments of a Run, checked when it is made."""

from __future__ import annotations

import functools
import inspect
import operator
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from outlast.core import numbers
from outlast.exceptions import ArgumentError, UnknownArgument, nearest
from outlast.frameworks import keras_parts
from outlast.frameworks.base import refuse_class
from outlast.run.parts import is_part

_Method = TypeVar("_Method", bound=Callable[..., Any])
_KNOWN = (
    *("model", "optimizer", "adapter", "seed", "resume", "save_every", "augmentation", "accept_changes"),
    *("check_resume", "on_save_error", "weights", "learning_rate"),
)
_USUAL_PARTS = ("scheduler", "lr_scheduler", "scaler", "grad_scaler")  # whose names are often misspelt
_LATER = ("seeds",)


def folder_path(folder: str | os.PathLike[str]) -> str:
    """The folder, settled: relative to where the process is now, ``~`` to whose home it is.

    Raises:
        ArgumentError: it can be no path.
    """
    path = os.fspath(folder) if isinstance(folder, (str, os.PathLike)) else folder
    if not isinstance(path, str) or (path.startswith("~") and os.path.expanduser(path) == path):
        raise ArgumentError(f"folder must be the path of a folder, such as 'runs/digits', but is {folder!r}.")
    if not path or "\0" in path:
        raise ArgumentError(f"folder must be the path of a folder, such as 'runs/digits', but is {path!r}.")
    if "://" in path:
        raise ArgumentError(
            f"folder must be a folder of this machine, but is {path!r}: outlast does not write to other "
            "places yet. Train in a local folder, and copy it."
        )
    try:
        return os.path.abspath(os.path.expanduser(path))
    except FileNotFoundError as error:
        raise ArgumentError(
            f"{path!r} is relative to the current folder, which has been deleted: pass a whole path."
        ) from error


def refuse_positional(others: Sequence[Any]) -> None:
    """Refuse what a Run was given by its place behind the callbacks.

    Raises:
        ArgumentError: there is something.
    """
    if others:
        kinds = " and ".join(f"a value of type {type(one).__name__}" for one in others)
        raise ArgumentError(
            f"Run takes a folder and callbacks, and all else by name, but got {kinds} behind them: "
            "Run('runs/digits', callbacks, model=model, optimizer=optimizer), or with JAX state=state."
        )


def check_word(name: str, value: Any, *possible: str) -> None:
    """Refuse a value that is none of the possible words."""
    if value not in possible:
        words = ", ".join(map(repr, possible[:-1])) + f" or {possible[-1]!r}"
        raise ArgumentError(f"{name} must be {words}, but is {value!r}.{nearest(str(value), possible)}")


def checked_seed(seed: Any) -> int | None:
    """A seed as a whole number.

    Raises:
        ArgumentError: it is none.
    """
    try:
        return None if seed is None else operator.index(seed)
    except TypeError as error:
        raise ArgumentError(f"seed must be a whole number, but is {seed!r}.") from error


def checked_save_every(save_every: Any) -> str | int | timedelta:
    """``"epoch"``, a number of batches as a Python int, or a time.

    Raises:
        ArgumentError: it is none of these.
    """
    is_time = isinstance(save_every, timedelta) and save_every > timedelta(0)
    if is_time or (isinstance(save_every, str) and save_every == "epoch"):
        return cast("str | timedelta", save_every)
    with suppress(ArgumentError):
        return numbers.whole(save_every, "save_every")
    meant = numbers.meant(save_every) or nearest(str(save_every), ["epoch"])
    raise ArgumentError(
        "save_every must be 'epoch', a number of batches above 0, or a datetime.timedelta above 0, but is "
        f"{save_every!r}.{meant}"
    )


def naming_the_nearest(example: str, several: str = "") -> Callable[[_Method], _Method]:
    """Let a method of a Run answer arguments that do not fit with what it takes.

    An unknown one is answered with the nearest, one that is missing or is too many with an example.

    Args:
        example: a call as it should be.
        several: what to do with more values than it takes; "": as in the example.
    """

    def checking(method: _Method) -> _Method:
        parameters = [*inspect.signature(method).parameters.values()][1:]
        names = [one.name for one in parameters]
        positional = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
        needed = [one.name for one in parameters if one.default is one.empty]
        taken = f"one {names[0]}" if len(positional) == 1 else " and ".join(positional)
        rest = "" if len(names) == len(positional) or several else ", and the others by name"

        @functools.wraps(method)
        def checked(run: Any, *args: Any, **kwargs: Any) -> Any:
            who = f"run.{method.__name__}()"
            for name in kwargs.keys() - names:
                raise UnknownArgument(
                    f"{who} has no argument {name!r}.{nearest(name, names)} It takes: {', '.join(names)}."
                )
            if len(args) > len(positional):
                raise ArgumentError(f"{who} takes {taken}{rest}, but got {len(args)}: {several or example}.")
            given = positional[: len(args)]
            if twice := [name for name in given if name in kwargs]:
                raise ArgumentError(f"{who} was given {twice[0]} twice: {example}.")
            if missing := [name for name in needed if name not in (*given, *kwargs)]:
                raise ArgumentError(f"{who} needs {' and '.join(missing)}: {example}.")
            return method(run, *args, **kwargs)

        return cast(_Method, checked)

    return checking


def _typo(name: str, parts: Collection[str]) -> str | None:
    """What was meant by ``optimzer``, ``optimizers`` or ``sheduler``, but not by ``optimizer_2``."""
    if name in _USUAL_PARTS:
        return None
    alike = next(iter(get_close_matches(name, (*_KNOWN, *_USUAL_PARTS), 1, cutoff=0.8)), None)
    if alike in _USUAL_PARTS:  # any name is right that has the whole word in it, or that stands beside it
        return None if alike in name or name in alike or alike in parts else alike
    longer = alike is not None and name.startswith(alike) and name != f"{alike}s"
    return None if longer else alike


def check_parts(parts: Mapping[str, Any]) -> None:
    """Refuse keywords that are neither arguments nor objects with a state."""
    for name, part in parts.items():
        refuse_class(name, part)
        if name in _LATER:
            raise ArgumentError(f"Run does not take {name}= yet: it belongs to loops with JAX.")
        if meant := _typo(name, parts):
            raise UnknownArgument(
                f"Run has no argument {name!r}. Did you mean {meant!r}? If it is an object to be saved with "
                "the rest, give it another name."
            )
        if not is_part(part):
            hint = nearest(name, _KNOWN) + (
                " Any other keyword must be an object with state_dict() and load_state_dict(), a random "
                "generator, an estimator of scikit-learn's, or Keras's metric or layer, to be saved with the "
                f"rest; this is {part!r}."
            )
            raise UnknownArgument(f"Run has no argument {name!r}.{hint}")
        if keras_parts.is_unbuilt(part):
            raise ArgumentError(
                f"The part {name!r} is a {type(part).__name__} that has no weights before its first batch: "
                f"call {name}.build(shape) before the Run, or begin it with keras.Input(shape)."
            )
