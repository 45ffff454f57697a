"""Numbers: what counts as a metric or as a setting, and how infinities and NaN are written in JSON.

Metrics and settings arrive as NumPy scalars, tensors, or Python numbers. From here on they are Python's
own types, so that rules compare, store and print them alike.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from numbers import Number, Real
from typing import Any

from outlast.core.asking import asked, has
from outlast.exceptions import ArgumentError, MetricError

_VALUES = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def number(value: Any, name: str = "the metric") -> float:
    """A metric as a Python float.

    Args:
        value: a number, or an array or tensor of any framework with exactly one element.
        name: its name, for the error message.

    Raises:
        MetricError: it is something else.

    Example:
        >>> number(3), number("inf")
        (3.0, inf)
    """
    try:
        return float(_one_element(value))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise MetricError(
            f"{name} must be one number (or an array of one element), but is {_described(value)}. Log its "
            "mean, or monitor another metric."
        ) from error


def _described(value: Any) -> str:
    """Its type, and its shape or how it is written."""
    shape = asked(value, "shape")
    if shape is not None:
        return f"{type(value).__name__} of shape {tuple(shape)}"
    try:
        written = repr(value)
    except Exception:  # of a number with 5000 digits, or of a class of the user's
        return type(value).__name__
    return type(value).__name__ + f" {written}"[:80]


_NUMERIC = ("bool", "int", "uint", "float", "bfloat", "long")  # how the names of such types begin


def check_number(value: Any, name: str) -> None:
    """Refuse what has no mean over batches. It reads no value, so nothing waits for a device.

    Args:
        value: a number, or an array or tensor of numbers.
        name: the metric's, for the error.

    Raises:
        MetricError: it is something else.
    """
    if type(value) is float:
        return
    problem = _problem(value)
    if problem is None and isinstance(value, (list, tuple)):
        problem = f"log the mean of its items, or an array: {name}=np.asarray(...)"
    elif problem is None and isinstance(value, Mapping):
        problem = "log its items by their names: run.log({...})"
    elif problem is None and value is None:
        problem = "leave the metric out where it has no value"
    if problem is not None:
        raise _refused(value, name, problem)


def check_metric(value: Any, name: str, texts: bool = False) -> None:
    """Refuse what cannot be a metric of an epoch.

    Args:
        value: a number, an array or tensor of numbers, a list of numbers, a dict of metrics, or None for
            one that is missing.
        name: the metric's, for the error.
        texts: whether it may be a text, as Keras lets it.

    Raises:
        MetricError: it is something else.
    """
    if type(value) is float or (texts and isinstance(value, str)):
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_name(key)
            check_metric(item, key, texts)
    elif (problem := _problem(value)) is not None:
        raise _refused(value, name, problem)


def check_name(name: Any) -> None:
    """Refuse a metric's name that is not a text, or that the history needs for itself."""
    if not isinstance(name, str):
        raise MetricError(f"The name of a metric must be a text, but is {_described(name)}.")
    if name == "epoch":
        raise MetricError("'epoch' is reserved: it numbers the history rows; rename this metric.")


def _refused(value: Any, name: str, problem: str) -> MetricError:
    return MetricError(f"{name} must be a number, but is {_described(value)}: {problem}.")


def _problem(value: Any) -> str | None:
    """Why a value cannot be a metric, and what can; None if it can."""
    if has(value, "dtype") and has(value, "shape"):
        return _problem_of_array(value)
    if isinstance(value, (Number, Decimal)):
        return _problem_of_number(value)
    if isinstance(value, (list, tuple)):
        return None if all(map(_is_plain, value)) else "a list may hold numbers only; use float(...) of each"
    if isinstance(value, str):
        return "a text can be kept in run.extra"
    if value is None or isinstance(value, Mapping):
        return None
    return _problem_of_number(value) if has(value, "__float__") else "log a number that tells it"


def _problem_of_array(value: Any) -> str | None:
    dtype = str(asked(value.dtype, "name", value.dtype)).rpartition(".")[2]
    if not dtype.startswith(_NUMERIC):
        return f"its type is {dtype}; log real numbers, such as abs(...)"
    if asked(value, "is_meta", False) is True:
        return "it is on the device meta, and has no value"
    if asked(value, "is_nested", False) is True or "sparse" in str(asked(value, "layout", "")):
        return "log its mean, or its dense form"
    return "it has no element" if 0 in tuple(value.shape) else None


def _problem_of_number(value: Any) -> str | None:
    try:
        float(value)
    except OverflowError:
        return "it is too large for a float; log its logarithm"
    except (TypeError, ValueError, RuntimeError):
        return "log a real number, such as abs(...)"
    return None


def _is_plain(value: Any) -> bool:
    """Whether it is a real number of Python's or NumPy's, or a list of these."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    of_numpy = has(value, "__array_interface__") and not asked(value, "shape", (0,))
    return (isinstance(value, Real) or of_numpy) and _problem(value) is None


def kept(value: Any) -> Any:
    """The value as it is now, whatever is done in place to what was given; a tensor without its graph."""
    if has(value, "detach"):
        return value.detach().clone()
    if isinstance(value, (list, Mapping)):  # whose own way of being copied may fail
        return map_leaves(value, kept)
    return copy.deepcopy(value) if has(value, "dtype") else value


def _one_element(value: Any) -> Any:
    """Take the number out of an array with axes; ``float()`` itself accepts one without."""
    if asked(value, "requires_grad", False):
        value = value.detach()
    if is_scalar(value):
        return value
    return as_numpy(value).item()


def is_scalar(value: Any) -> bool:
    """Whether the value has no axes; an array of shape (1,) has one."""
    shape = asked(value, "shape", ())
    return not shape or asked(shape, "rank") == 0  # TensorFlow's shape is true even without axes


def count(value: Any, name: str, least: int = 0) -> int | float:
    """A setting that counts epochs or batches: a whole number, or infinity for "never".

    Raises:
        ArgumentError: it is not a whole number, or it is too small.

    Example:
        >>> count(3.0, "patience"), count(math.inf, "patience")
        (3, inf)
    """
    try:
        result = math.inf if value == math.inf else int(value)
        valid = result == value and result >= least and not _is_flag(value)
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise ArgumentError(
            f"{name} must be a whole number, at least {least}, but is {value!r}.{meant(value)}"
        )
    return result


def meant(value: Any) -> str:
    """A hint at the whole number that a text holds; "" if it holds none.

    Example:
        >>> meant("5"), meant("five"), meant(5)
        (' Did you mean 5, without quotes?', '', '')
    """
    is_one = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20
    return f" Did you mean {int(value)}, without quotes?" if is_one else ""


def whole(value: Any, name: str, least: int = 1) -> int:
    """A setting that counts what there is: a whole number, and not infinity.

    Raises:
        ArgumentError: it is something else.

    Example:
        >>> whole(8.0, "batch_size")
        8
    """
    result = count(value, name, least)
    if not isinstance(result, int):
        raise ArgumentError(f"{name} must be a whole number, at least {least}, but is {value!r}.")
    return result


def real(value: Any, name: str) -> float:
    """A setting that is a real number; infinity is allowed, NaN is not.

    Raises:
        ArgumentError: it is something else.
    """
    try:
        result = float(value)
    except (TypeError, ValueError):
        result = math.nan
    if math.isnan(result) or isinstance(value, str):
        raise ArgumentError(f"{name} must be a number, but is {value!r}.")
    return result


def flag(value: Any, name: str) -> bool:
    """A setting that is True or False; 1 and 0 are allowed, as in Keras, a text such as "no" is not.

    Raises:
        ArgumentError: it is something else.

    Example:
        >>> flag(True, "save_best_only"), flag(0, "save_best_only")
        (True, False)
    """
    result = to_python(value)
    if not isinstance(result, int) or result not in (0, 1):
        raise ArgumentError(f"{name} must be True or False, but is {value!r}.")
    return bool(result)


def settle(rule: Any, kind: Callable[[Any, str], Any], *names: str, optional: bool = False) -> None:
    """Put settings of a frozen rule into their right form.

    Args:
        rule: the rule, in its ``__post_init__``.
        kind: one of the functions above, called with a setting and its name.
        names: the settings.
        optional: a setting may be None.
    """
    for name in names:
        value = getattr(rule, name)
        if not (optional and value is None):
            object.__setattr__(rule, name, kind(value, name))


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool) or str(asked(value, "dtype", "")) == "bool"


def to_python(value: Any) -> Any:
    """The same value in Python's own types, so that JSON can hold it and compare it.

    Settings often come from NumPy: ``np.int64(3)`` becomes 3, ``np.True_`` becomes True, an
    array becomes a list; so do tuples. What is none of these stays as it is.

    Example:
        >>> to_python({"patience": (1, 2.5, True), "monitor": None})
        {'patience': [1, 2.5, True], 'monitor': None}
    """
    if isinstance(value, Mapping):
        return {key: to_python(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_python(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)  # str() of an enum's member would be its name
    for kind in (bool, int, float):  # NumPy's float64 is a subclass of Python's float
        if isinstance(value, kind):
            return kind(value)
    value = as_numpy(value)
    return to_python(value.tolist()) if has(value, "tolist") else value


def as_numpy(value: Any) -> Any:
    """TensorFlow's tensor, which has neither ``item`` nor ``tolist``, as NumPy's array; others unchanged."""
    return value.numpy() if has(value, "numpy") and not has(value, "tolist") else value


def map_leaves(tree: Any, function: Callable[[Any], Any]) -> Any:
    """The same tree of dicts, lists and tuples, with ``function(leaf)`` in place of each leaf.

    Example:
        >>> map_leaves({"a": [1, (2,)]}, str)
        {'a': ['1', ('2',)]}
    """
    if isinstance(tree, Mapping):
        return {key: map_leaves(value, function) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        items = [map_leaves(value, function) for value in tree]
        return items if isinstance(tree, list) else tuple(items)
    return function(tree)


def members(tree: Any) -> Iterator[Any]:
    """What is in a tree of dicts, lists and tuples, keys too.

    Example:
        >>> [*members({"a": [1, (2,)], "b": None})]
        ['a', 1, 2, 'b', None]
    """
    if isinstance(tree, (Mapping, list, tuple)):
        for one in tree.items() if isinstance(tree, Mapping) else tree:
            yield from members(one)
    else:
        yield tree


def encoded(value: Any) -> Any:
    """The value in Python's own types, with infinities and NaN as texts, for JSON.

    Example:
        >>> encoded({"best": math.inf, "wait": 2})
        {'best': 'inf', 'wait': 2}
    """

    def named(leaf: Any) -> Any:
        return str(leaf) if isinstance(leaf, float) and not math.isfinite(leaf) else leaf

    return map_leaves(to_python(value), named)


def decoded(value: Any) -> Any:
    """The inverse of :func:`encoded`: the texts "inf", "-inf" and "nan" become numbers."""
    return map_leaves(value, lambda leaf: _VALUES.get(leaf, leaf) if isinstance(leaf, str) else leaf)
