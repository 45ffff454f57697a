"""Calls: what a call does with the variables in it, as far as its name says."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from outlast.core.source.names import last, path

# Methods that change what they are called on. Those of the first kind do so where nobody takes what they
# return: Optax's ``update``, NumPy's ``insert`` and PyTorch's ``add`` return something new instead.
_CHANGING = frozenset(
    {
        *("add", "append", "appendleft", "discard", "extend", "extendleft", "insert", "remove"),
        *("rotate", "push", "put", "put_nowait", "reverse", "sort", "subtract", "update", "record"),
        *("accumulate", "update_parameters"),
    }
)
_TAKING = frozenset(("get_nowait", "pop", "popitem", "popleft", "setdefault"))
_CHANGING_FIRST = frozenset(("at", "heappop", "heappush", "insort", "shuffle"))  # np.add.at(histogram, ...)

# Methods after which it does not matter what was there before.
_SEEDS = frozenset(("manual_seed", "seed"))
LOADS = frozenset(("load_state_dict", "set_weights"))
_RESETS = LOADS | {"clear", "copy_", "fill_", "reset", "reset_state", "reset_states", "zero_"}

_SHOWS = frozenset(
    {
        *("print", "pprint", "display", "set_postfix", "set_postfix_str", "set_description"),
        *("refresh", "set_description_str", "info", "debug", "warning", "error", "critical"),
        *("exception",),
    }
)
_WRITERS = frozenset(("sys.stdout.write", "sys.stderr.write", "tqdm.write", "logging.log"))
_QUIET = frozenset(("close", "flush"))

# Functions and methods that do nothing but compute their value.
_COMPUTES = frozenset(
    {
        *("abs", "all", "any", "array", "as_tensor", "asarray", "average", "bool", "cat"),
        *("compute", "concatenate", "copy", "count", "cpu", "detach", "dict", "enumerate", "exp"),
        *("fabs", "float", "fmean", "format", "get", "int", "isfinite", "isnan", "item", "items"),
        *("join", "keys", "len", "list", "max", "mean", "median", "min", "nanmean", "norm"),
        *("numel", "numpy", "range", "result", "reversed", "round", "set", "size", "sorted"),
        *("sqrt", "stack", "std", "str", "sum", "tensor", "tolist", "tuple", "values", "var", "zip"),
    }
)

# Functions that give what they are given, in another order or not all of it.
_HANDS_ON = frozenset(("filter", "iter", "list", "reversed", "sorted", "tqdm", "tuple"))

_PASSES = frozenset(("batches", "epochs", "steps", "validation"))


def shows(call: ast.Call) -> bool:
    """Whether it shows something to people, who look at it and forget it.

    Example:
        >>> shows(ast.parse("logger.info(total)", mode="eval").body)
        True
    """
    return last(call.func) in _SHOWS or path(call.func) in _WRITERS


def is_quiet(call: ast.Call) -> bool:
    """Whether it ends the use of an object, and reads nothing of it."""
    return last(call.func) in _QUIET


def resets(call: ast.Call) -> bool:
    """Whether a method sets all of what it is called on."""
    return isinstance(call.func, ast.Attribute) and call.func.attr in _RESETS | _SEEDS


def loads(call: ast.Call) -> bool:
    """Whether a method loads all of a model, or of another object, from what it is given."""
    return isinstance(call.func, ast.Attribute) and call.func.attr in LOADS


def seeds(call: ast.Call) -> bool:
    """Whether it seeds a random generator."""
    return last(call.func) in _SEEDS


def changes(call: ast.Call, *, is_statement: bool) -> bool:
    """Whether a method changes what it is called on.

    Example:
        >>> call = ast.parse("total.add_(loss)", mode="eval").body
        >>> changes(call, is_statement=True)
        True
    """
    if not isinstance(call.func, ast.Attribute):
        return False
    name = call.func.attr
    return is_in_place(call) or name in _TAKING or (is_statement and name in _CHANGING)


def is_in_place(call: ast.Call) -> bool:
    """Whether it changes a tensor, as PyTorch names such methods."""
    name = last(call.func)
    return isinstance(call.func, ast.Attribute) and name.endswith("_") and not name.endswith("__")


def changes_first(call: ast.Call) -> str | None:
    """In which way a function changes its first argument; None if it does not.

    Example:
        >>> changes_first(ast.parse("torch._foreach_mul_(velocity, 0.9)", mode="eval").body)
        '_foreach_mul_'
    """
    name = last(call.func)
    if call.args and name.startswith("_foreach_") and name.endswith("_"):
        return name
    return "first" if call.args and name in _CHANGING_FIRST else None


def written(call: ast.Call) -> ast.expr | None:
    """What a function of NumPy or PyTorch writes its result into, as ``out=`` says; None if nothing.

    Example:
        >>> ast.unparse(written(ast.parse("np.multiply(mean, 0.9, out=mean)", mode="eval").body))
        'mean'
    """
    if not isinstance(call.func, ast.Attribute) or makes(call) or not call.args:
        return None
    return next((one.value for one in call.keywords if one.arg == "out"), None)


def hands_on(call: ast.Call) -> bool:
    """Whether it gives the same things that are in what it is given."""
    return last(call.func) in _HANDS_ON


def computes(call: ast.Call) -> bool:
    """Whether all it does is compute its value."""
    return last(call.func) in _COMPUTES


def makes(call: ast.Call) -> bool:
    """Whether it makes an object, as the name of a class says."""
    return last(call.func)[:1].isupper()


def arguments(call: ast.Call) -> Iterator[ast.expr]:
    """All of its arguments."""
    yield from call.args
    yield from (keyword.value for keyword in call.keywords)


def passes(one: ast.AST) -> set[str]:
    """Which of the run's loops are in an expression, such as ``{"batches"}``."""
    made = (inner.func for inner in ast.walk(one) if isinstance(inner, ast.Call))
    return {function.attr for function in made if isinstance(function, ast.Attribute)} & _PASSES
