"""Sums of metrics, made where the metrics are: nothing waits for a device until a sum is read.

They are made in float64, whatever type came: in its own type a sum soon stands still (in bfloat16 adding 2
to 512 gives 512) or overflows (float16 ends at 65504). A device without float64 gets float32 with
compensation: what each addition rounds off is kept beside the sum, and goes into the next addition.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache, lru_cache
from typing import Any, Protocol, cast

from outlast.core.asking import asked, has
from outlast.exceptions import MetricError


class Sum:
    """The weighted sum of one metric, wherever its values live.

    Values of another device or framework get a sum of their own; :meth:`read` adds these up.

    Attributes:
        is_of_numbers: its values have one element, and the next must.
        later: takes values that are like those before, to add many at once; None where each is added itself.

    Example:
        >>> import numpy as np
        >>> total = Sum()
        >>> for value in (1, 0.5, np.float16(2)):
        ...     total.add(value, 2.0)
        >>> total.read()
        7.0
    """

    def __init__(self) -> None:
        self._parts: dict[Hashable, _Part] = {}
        self._shape: tuple[int, ...] | None = None
        self._carried: list[list[Any]] = []  # of another process, by the turn in which places came
        self.is_of_numbers = False
        self.later: Waiting | None = None

    def begin_with_numbers(self) -> None:
        """Refuse arrays of several elements from here on."""
        self._shape, self.is_of_numbers = (), True

    @property
    def totals(self) -> list[Any]:
        """The sum of each place, in its own form."""
        return [part.total for part in self._parts.values()]

    def saved(self) -> list[list[Any]]:
        """For a resume point: what each place has summed up; waits for the devices."""
        return [*([_array(one) for one in part.sums] for part in self._parts.values()), *self._carried]

    @classmethod
    def of(cls, saved: Sequence[Sequence[Any]]) -> Sum:
        """The inverse of :meth:`saved`: the next value of a place is added to what it had summed up."""
        new = cls()
        new._carried = [[*sums] for sums in saved]
        return new

    def add(self, value: Any, weight: Any = 1.0) -> None:
        """Add ``value * weight``; nothing for a weight of 0, whatever the value is.

        Args:
            value: a number, an array or a tensor.
            weight: a number, or a tensor of the value's own framework.

        Raises:
            MetricError: the value has another shape than those before it.
        """
        shape = asked(value, "shape", ())
        if shape != self._shape:
            self._shape = self._checked_shape(shape)
            self.is_of_numbers = not self._shape
        kind = _kind(value)
        home = kind.home(value)
        if home not in self._parts:
            self._parts[home] = part = kind.part(value)
            # Of the same kind: a sum on a device also has what was rounded off.
            carried = next((one for one in self._carried if len(one) == len(part.sums)), None)
            if carried is not None:
                self._carried = [one for one in self._carried if one is not carried]
                part.carry(value, *carried)
        part = self._parts[home]
        part.add(value, weight)
        self.later = part if isinstance(part, _OnJax) and part.may_wait else None

    def check(self, value: Any) -> None:
        """Refuse what :meth:`add` would refuse; nothing is added.

        Raises:
            MetricError: the value has another shape than those before it, or no value yet.
        """
        self._checked_shape(asked(value, "shape", ()))
        _kind(value).home(value)

    def _checked_shape(self, shape: Iterable[int]) -> tuple[int, ...]:
        shape = () if set(shape) <= {1} else tuple(shape)
        if self._shape not in (None, shape):
            raise MetricError(
                f"has the shape {shape} in this batch and {self._shape} before. Log its mean instead."
            )
        return shape

    def read(self) -> Any:
        """The sum, as a float or a NumPy array of float64; waits for the devices."""
        total = sum(part.read() for part in self._parts.values()) + sum(one[0] for one in self._carried)
        return total if asked(total, "size", 1) > 1 else float(asked(total, "item", lambda: total)())


def number_at_hand(value: Any) -> float | None:
    """The value of a number that need not be waited for; None if it is another, or none at all.

    Example:
        >>> import numpy as np
        >>> number_at_hand(3), number_at_hand(np.float32(0.5)), number_at_hand("3"), number_at_hand([3])
        (3.0, 0.5, None, None)
    """
    return reader(type(value))(value)


def _reader(cls: Any) -> Callable[[Any], float | None]:
    if cls is float or (cls.__module__ == "numpy" and cls.__name__.startswith(_REAL)):
        return float
    if cls is int or cls is bool:
        return _float_of_int
    if cls.__module__ == "torch" and cls.__name__ == "Tensor":
        return _float_of_tensor
    return lambda value: None


# By the class of a value: what reads it, as :func:`number_at_hand` does.
reader: Callable[[type], Callable[[Any], float | None]] = lru_cache(maxsize=64)(_reader)

_REAL = ("bool", "int", "uint", "float", "longdouble")  # how the names of NumPy's real numbers begin


def _float_of_int(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def _float_of_tensor(value: Any) -> float | None:
    if not value.is_cpu or value.dim():
        return None
    number = value.item()
    return None if type(number) is complex else float(number)


def of_one_kind(value: Any, weight: Any) -> bool:
    """Whether the weight can stay on its device, as a factor of the value."""
    kind = _kind(weight)
    return kind is not _HOST and kind is _kind(value)


def _array(value: Any) -> Any:
    import numpy as np

    return np.asarray(value.cpu() if has(value, "cpu") else value)


class Waiting(Protocol):
    """Adds arrays many at once."""

    def is_like_those_before(self, value: Any) -> bool:
        """Whether a value has the type, the shape and the place of the first."""

    def wait(self, value: Any, weight: float) -> None:
        """Add ``value * weight`` with others, at some later time."""


class _Part(Protocol):
    @property
    def total(self) -> Any: ...

    @property
    def sums(self) -> Sequence[Any]: ...

    def carry(self, value: Any, *sums: Any) -> None: ...

    def add(self, value: Any, weight: Any) -> None: ...

    def read(self) -> Any: ...


class _Kind:
    """How a framework's values are summed.

    Args:
        home: where a value lives; values of one home can be added to each other.
        part: an empty sum for a value.
    """

    def __init__(self, home: Callable[[Any], Hashable], part: Callable[[Any], _Part]) -> None:
        self.home, self.part = home, part


class _OnHost:
    """Of Python's numbers and NumPy's arrays, and of all that can be made one."""

    def __init__(self) -> None:
        self.total: Any = 0.0

    @property
    def sums(self) -> Sequence[Any]:
        return [self.total]

    def carry(self, value: Any, total: Any) -> None:
        self.total = total if total.ndim else float(total)

    def add(self, value: Any, weight: Any) -> None:
        if weight:
            self.total = self.total + _float64(value) * weight

    def read(self) -> Any:
        return self.total


def _float64(value: Any) -> Any:
    if not has(value, "shape"):
        return float(value)
    import numpy as np

    return np.asarray(value).astype(np.float64)


class _OnDevice:
    """Of tensors, by their framework's own operations.

    Args:
        widen: a tensor in the type that it is summed in.
        where: the framework's choice by a condition.
        compensated: that type is not float64.
    """

    def __init__(self, widen: Callable[[Any], Any], where: Callable[..., Any], compensated: bool) -> None:
        self._widen, self._where, self._compensated = widen, where, compensated
        self.total: Any = 0.0
        self._lost: Any = 0.0

    @property
    def sums(self) -> Sequence[Any]:
        return [self.total, self._lost]

    def carry(self, value: Any, total: Any, lost: Any) -> None:
        wide = self._widen(value)
        self.total, self._lost = (
            wide.new_tensor(one) if has(wide, "new_tensor") else one for one in (total, lost)
        )

    def add(self, value: Any, weight: Any) -> None:
        if isinstance(weight, float):
            if not weight:
                return
            product = self._widen(value) * weight
        else:
            weight = self._widen(weight)
            product = self._where(weight == 0, 0.0, self._widen(value) * weight)
        if self._compensated:
            self.total, self._lost = compensated(self.total, self._lost, product, self._where)
        else:
            self.total = self.total + product

    def read(self) -> Any:
        import numpy as np

        total = self.total.cpu() if has(self.total, "cpu") else self.total
        return np.asarray(total).astype(np.float64)


def compensated(total: Any, lost: Any, product: Any, where: Callable[..., Any]) -> tuple[Any, Any]:
    """Kahan's addition: the new sum, and what it has too much.

    Example:
        >>> compensated(1e16, 0.0, 1.0, lambda condition, yes, no: yes if condition else no)
        (1e+16, -1.0)
    """
    corrected = product - lost
    new = total + corrected
    rounded = (new - total) - corrected
    return new, where(rounded == rounded, rounded, 0.0)  # NaN after an infinity, which shall stay one


class _OnJax:
    """Of JAX's arrays: float32 with compensation, in float64 if that is switched on.

    An addition costs JAX more than a small step may take, so values wait for others, and are added many at
    once. They cannot change meanwhile, but a step may be given them to overwrite: whether it is shows after
    the first, which does not wait.
    """

    def __init__(self, value: Any) -> None:
        import jax.numpy as jnp

        self._total = self._lost = jnp.zeros(value.shape, _jax_type())
        self._waiting: list[Any] = []
        self._weights: list[float] = []
        self._first: Any = None
        self._are_overwritten: bool | None = None
        self._at_once = _NUMBERS_AT_ONCE if value.shape == () else _ARRAYS_AT_ONCE
        self._kind, self._aval, self._sharding = type(value), value.aval, value.sharding

    @property
    def may_wait(self) -> bool:
        """Whether it has shown that no step overwrites the values."""
        return self._are_overwritten is False

    def is_like_those_before(self, value: Any) -> bool:
        if type(value) is not self._kind:
            return False
        if value.aval is self._aval and value.sharding is self._sharding:  # what one step gives shares them
            return True
        if (value.dtype, value.shape) != (self._aval.dtype, self._aval.shape):
            return False
        if value.sharding != self._sharding:
            return False
        self._aval, self._sharding = value.aval, value.sharding
        return True

    def wait(self, value: Any, weight: float) -> None:
        self._waiting.append(value)
        self._weights.append(weight)
        if len(self._waiting) == self._at_once:
            self._add_waiting()

    @property
    def total(self) -> Any:
        self._add_waiting()
        return self._total

    @property
    def sums(self) -> Sequence[Any]:
        return [self.total, self._lost]

    def carry(self, value: Any, total: Any, lost: Any) -> None:
        import jax.numpy as jnp

        self._total, self._lost = (jnp.asarray(one, _jax_type()) for one in (total, lost))

    def add(self, value: Any, weight: Any) -> None:
        if self._are_overwritten is None and self._first is not None:
            self._are_overwritten, self._first = self._first.is_deleted(), None
        if self._are_overwritten is False and isinstance(weight, float):
            self.wait(value, weight)
            return
        self._add_waiting()
        if self._are_overwritten is None:
            self._first = value
        self._add_all([value], [weight])

    def _add_waiting(self) -> None:
        if self._waiting:
            values, weights = self._waiting, self._weights
            self._waiting, self._weights = [], []
            self._add_all(values, weights)

    def _add_all(self, values: list[Any], weights: list[Any]) -> None:
        if any(value.is_deleted() for value in values):
            raise MetricError(
                "was logged, and then donated to a step, which has overwritten it. Log a copy, such as "
                "jnp.copy(...), or leave it out of what is donated."
            )
        left = self._at_once - len(values)
        self._total, self._lost = _jax_additions()(
            self._total, self._lost, [*values, *values[-1:] * left], _in_one(weights, left), len(values)
        )

    def read(self) -> Any:
        import numpy as np

        return np.asarray(self.total).astype(np.float64)


_NUMBERS_AT_ONCE, _ARRAYS_AT_ONCE = 128, 32  # values of a metric; arrays may be large


def _in_one(weights: list[Any], left: int) -> Any:
    """Weights and so many zeros in one array, which costs less than one by one."""
    import numpy as np

    if all(isinstance(weight, float) for weight in weights):
        return np.asarray([*weights, *[0.0] * left])
    import jax.numpy as jnp

    return jnp.concatenate([*(jnp.reshape(weight, 1) for weight in weights), jnp.zeros(left, _jax_type())])


def _jax_type() -> Any:
    import jax

    return jax.dtypes.canonicalize_dtype("float64")


@cache
def _jax_additions() -> Any:
    """One compiled step for any number of values: other steps might round otherwise."""
    import jax
    import jax.numpy as jnp

    def add(total: Any, lost: Any, values: list[Any], weights: Any, count: Any) -> Any:
        def one(sums: Any, given: Any) -> Any:
            value, weight, is_there = given
            product = jnp.where(weight == 0, 0.0, value * weight)
            new = compensated(sums[0], sums[1], product, jnp.where)
            return tuple(jnp.where(is_there, *pair) for pair in zip(new, sums, strict=True)), None

        wide = jnp.stack([value.astype(total.dtype).reshape(total.shape) for value in values])
        scales = weights.astype(total.dtype)
        return jax.lax.scan(one, (total, lost), (wide, scales, jnp.arange(len(values)) < count))[0]

    return jax.jit(add)


def _torch_part(value: Any) -> _Part:
    import torch

    try:
        value.detach().to(torch.float64)
    except (TypeError, RuntimeError):  # Apple's GPUs have no float64
        return _OnDevice(lambda one: one.detach().to(torch.float32), torch.where, compensated=True)
    return _OnDevice(lambda one: one.detach().to(torch.float64), torch.where, compensated=False)


def _tensorflow_part(value: Any) -> _Part:
    import tensorflow as tf

    def float64(one: Any) -> Any:
        return tf.cast(one, tf.float64)

    return _OnDevice(
        float64, lambda condition, yes, no: tf.where(condition, float64(yes), no), compensated=False
    )


def _jax_home(value: Any) -> Hashable:
    import jax

    if isinstance(value, jax.core.Tracer):
        raise MetricError(
            "has no value yet: it is logged inside a function that JAX traces. Return it from that "
            "function, and log what comes back."
        )
    return "jax", value.sharding


_HOST = _Kind(lambda value: "host", lambda value: _OnHost())
_TORCH = _Kind(lambda value: ("torch", value.device), _torch_part)
_KINDS = {
    "torch": _TORCH,
    "jax": (_JAX := _Kind(_jax_home, _OnJax)),
    "jaxlib": _JAX,
    "tensorflow": _Kind(lambda value: ("tensorflow", value.device), _tensorflow_part),
}


def _kind(value: Any) -> _Kind:
    """By the package of the value's class, or of a class that it derives from."""
    return _kind_of(cast(Hashable, type(value)))


@lru_cache(maxsize=64)
def _kind_of(cls: Any) -> _Kind:
    packages = (base.__module__.partition(".")[0] for base in cls.__mro__)
    return next((_KINDS[package] for package in packages if package in _KINDS), _HOST)
