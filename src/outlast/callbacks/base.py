"""Callback: hooks with a rule, and a state that can be saved."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar

from outlast.callbacks.hooks import Hooks
from outlast.core.decision import Decision
from outlast.core.form import check, of_fields
from outlast.core.logs import Logs, rate_columns
from outlast.core.numbers import decoded, encoded
from outlast.exceptions import ArgumentError, UnknownArgument, UsageError, nearest, warn
from outlast.frameworks.base import Capability, Snapshot

JSON = dict[str, Any]


def forwarded(holder: str, name: str, doc: str) -> Any:
    """An attribute that shows, and sets, one field of the rule or of the state."""

    def get(self: Callback) -> Any:
        return getattr(getattr(self, holder), name)

    def put(self: Callback, value: Any) -> None:
        setattr(self, holder, replace(getattr(self, holder), **{name: value}))

    return property(get, put, doc=doc)


class Callback(Hooks):
    """Base of all callbacks: Keras's hooks, each of which does nothing until it is overridden.

    It needs no framework. Keras's ``fit`` takes it as it is; other loops call the hooks through
    :class:`outlast.CallbackList`. Give it to ``fit`` in a list.

    Attributes:
        params: the loop's ``epochs``, ``steps`` and ``verbose``; None before training.
        model: the model that is trained; None before training.

    Source: the hooks and their arguments are those of ``keras.callbacks.Callback``.

    Example:
        >>> class Count(Callback):
        ...     epochs = 0
        ...     def on_epoch_end(self, epoch, logs=None):
        ...         self.epochs += 1
        >>> from outlast.testing import drive
        >>> drive(Count(), [{"loss": 1.0}, {"loss": 0.5}]).epochs
        2
    """

    requires: ClassVar[tuple[Capability, ...]] = ()
    verbose: int = 0
    _rule: Any = None  # what the callback was asked to do: a frozen value of core
    _state: Any = None  # what it remembers: another
    _loaded = False  # state was loaded, so the next training goes on from it
    measured: ClassVar[frozenset[str]] = frozenset()  # names in the state that no two trainings share
    _files: Sequence[str] = ()  # the names, or templates of names, that it writes to in this training
    _thread: int | None = None  # of the training
    sets_rates: ClassVar[bool] = (
        False  # whether it sets learning rates, which then must be left as it set them
    )
    _rates_set: dict[str, float] | None = None  # in this training; None once it was told that they are undone
    _set_in_init: ClassVar[set[str]] = set()  # by classes of outlast's

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls._set_in_init = set()
            cls.__init__ = _naming_the_nearest(cls.__init__, cls)  # type: ignore[method-assign]

    @classmethod
    def names_of_outlast(cls) -> frozenset[str]:
        """The names of attributes that are outlast's own; all others are of the subclass."""
        ours = [one for one in cls.__mro__ if one.__module__.startswith("outlast.")]
        return frozenset(name for one in ours for name in (*vars(one), *vars(one).get("_set_in_init", ())))

    # State: what a later decision depends on.

    def state_dict(self) -> JSON:
        """What the callback remembers, as JSON values; infinities are "inf" and "-inf"."""
        return {} if self._state is None else dict(encoded(vars(self._state)))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what another callback of the class remembered; the next training goes on from it.

        Raises:
            ArgumentError: it is the state of something else.
        """
        known = {} if self._state is None else vars(self._state)
        unknown = sorted(set(state) - set(known))
        if unknown:
            raise ArgumentError(
                f"This is not the state of a {type(self).__name__}: it has {', '.join(unknown)}; expected "
                f"{', '.join(known) or 'nothing'}."
            )
        if self._state is not None:
            values = self._checked(decoded(dict(state)), of_fields(type(self._state)))
            self._state = replace(self._state, **values)
        self._loaded = True

    def _checked(self, state: Mapping[str, Any], forms: Mapping[str, Any]) -> Mapping[str, Any]:
        """A state whose values have these forms, as far as it has them.

        Raises:
            ArgumentError: one has not.
        """
        try:
            check(state, {name: form for name, form in forms.items() if name in state}, "the state")
        except (KeyError, ValueError) as error:
            raise ArgumentError(f"This is not the state of a {type(self).__name__}: {error}.") from error
        return state

    def forget(self) -> None:
        """Remember nothing: the callback is as it was when it was made."""
        if self._rule is not None:
            self._state = self._rule.start()
        self._loaded = False

    def configuration(self) -> JSON:
        """What the callback was asked to do, as JSON values; compared at a resume, never restored."""
        return dict(encoded(asdict(self._rule))) if self._rule is not None else {}

    def still_stops(self, decision: Decision) -> bool:
        """Whether a decision of this callback to stop holds under what it is asked to do now."""
        return True

    def snapshots(self) -> dict[str, Snapshot]:
        """Weights that the callback keeps, by name."""
        return {}

    def load_snapshots(self, snapshots: Mapping[str, Snapshot]) -> None:
        """Keep the weights that another callback of the class kept."""

    def _begin(self) -> bool:
        """At a training's begin: check what is required. Returns whether to start from nothing."""
        run = self.training.run
        if self._host is None and run is not None and not run.was_left:
            warn(
                f"{type(self).__name__} is passed to fit next to {run!r}, so its state is not saved: "
                "pass it inside the Run."
            )
        self._thread = threading.get_ident()
        for capability in self.requires:
            self.training.require(capability, type(self).__name__)
        fresh, self._loaded, self._rates_set = not self._loaded, False, {}
        return fresh

    def _check_thread(self) -> None:
        """Refuse to run a batch hook on another thread than the training's.

        Keras runs the hooks of a callback that is not in a list on worker threads, out of order.
        """
        if self._thread not in (None, threading.get_ident()):
            raise UsageError(
                f"{type(self).__name__} looks at every batch and must hear them in order, but was called "
                "from a worker thread, as Keras does with a callback that is not in a list. Pass a list: "
                "callbacks=[...]."
            )

    def _say_if_verbose(self, text: str) -> None:
        if self.verbose > 0:
            self.context.say(text)

    def _set_rate(self, name: str, rate: float, epoch: int, doing: str) -> None:
        """Set a learning rate and say so, with its name where there are several."""
        self.training.set_learning_rate(name, rate)
        if self._rates_set is not None and not self.training.scales_schedules:
            self._rates_set[name] = rate
        which = f"{name} " if len(self.training.learning_rates()) > 1 else ""
        self._say_if_verbose(f"\nEpoch {epoch + 1}: {doing} {which}learning rate to {rate}.")

    def _warn_if_undone(self, epoch: int, *, lower_is_right: bool = False) -> None:
        """Say once that something else has set a learning rate since this callback did."""
        now = self.training.learning_rates()
        for name, rate in (self._rates_set or {}).items():
            there = now.get(name, rate)
            if math.isclose(there, rate, rel_tol=1e-3) or (lower_is_right and there < rate):
                continue
            warn(
                f"{type(self).__name__} set the learning rate to {rate:.7g}, but it is {there:.7g} at the "
                f"end of epoch {epoch + 1}: something else sets it, such as a scheduler that the loop steps. "
                "Leave out one of the two."
            )
            self._rates_set = None
            return

    def _with_rates(self, logs: Logs | None) -> Logs:
        """The logs with the learning rate, where the loop has not completed them.

        Keras's own loop has not; it is put into the dict that all callbacks share, at this
        callback's place among them, as Keras's do.
        """
        logs = {} if logs is None else logs
        if not self.context.logs_are_complete:
            logs.update(rate_columns(self.training.rates_in_use()))
        return logs


def _naming_the_nearest(init: Callable[..., None], cls: type[Callback]) -> Callable[..., None]:
    """Let ``__init__`` answer an unknown keyword with the nearest that exists, and note what it sets."""
    code = init.__code__
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    takes_any = bool(code.co_flags & 0x08)  # **kwargs

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        unknown = [] if takes_any else [key for key in kwargs if key not in names]
        if unknown:
            raise UnknownArgument(
                f"{type(self).__name__} has no argument {unknown[0]!r}.{nearest(unknown[0], names)} "
                f"It takes: {', '.join(names)}."
            )
        before = set(vars(self))
        init(self, *args, **kwargs)
        if cls.__module__.startswith("outlast."):
            cls._set_in_init |= vars(self).keys() - before

    return checked
