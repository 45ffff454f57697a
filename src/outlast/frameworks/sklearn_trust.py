"""Trust: of which types objects are made when an estimator is loaded, and in which way.

A file says of each of its nodes a type and how it is made: an estimator by setting attributes, another
thing by a call with arguments of the file. So a type is trusted in one way only, and a function of the
script's never: it could be called with whatever a forged file says.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Collection, Iterator
from typing import Any

from outlast.exceptions import DamagedFile
from outlast.frameworks.sklearn_schema import skops, way

_LOADER, _ID = "__loader__", "__id__"
_VALUES = ("FunctionNode", "TypeNode")  # they hold a function, or a class, and call nothing
_CALLS = ("PartialNode", "MethodNode", "OperatorFuncNode")  # of functions, with arguments of the file

# What scikit-learn's estimators hold, and skops does not trust by itself: numbers, a dict, and a function
# that looks at arrays, with its arguments.
COMMON = frozenset(
    {
        "DTypeNode numpy.dtype",
        "DictNode sklearn.utils._bunch.Bunch",
        "FunctionNode sklearn.utils.validation.check_array",
        "ListNode sklearn.compose._column_transformer._RemainderColsList",  # of 1.6
        "ObjectNode sklearn.compose._column_transformer._RemainderColsList",
        "ObjectNode sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "ObjectNode sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "PartialNode functools.partial of sklearn.utils.validation.check_array",
        "SparseMatrixNode scipy.sparse._csc.csc_array",
        "SparseMatrixNode scipy.sparse._csc.csc_matrix",
        "SparseMatrixNode scipy.sparse._csr.csr_array",
        "SparseMatrixNode scipy.sparse._csr.csr_matrix",
    }
)
# Nobody checks where their nodes point to: a forged one crashes the process when it predicts.
TREES = frozenset(
    {
        "ObjectNode sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "TreeNode sklearn.tree._tree.Tree",
    }
)


class UntrustedTypes(Exception):
    """Names of types that are not trusted."""


def trusted_for(estimators: Collection[Any], made: Collection[str]) -> frozenset[str]:
    """What is trusted in the state of a model.

    Args:
        estimators: the model, and those in it.
        made: what there is in the model as the script has made it, as :func:`ways` gives it.
    """
    modules = {cls.__module__ for one in estimators for cls in type(one).__mro__}
    has_trees = any(name.startswith(("sklearn.tree.", "sklearn.ensemble.")) for name in modules)
    own = {one for one in made if not one.startswith(_CALLS) and not _is_function(one)}
    return COMMON | own | (TREES if has_trees else frozenset())


def functions(made: Collection[str]) -> frozenset[str]:
    """The functions that a model holds, which a file of it may hold, too: to load it calls none of them."""
    return frozenset(one for one in made if one.startswith(_VALUES) and _is_function(one))


def _is_function(one: str) -> bool:
    """Whether it is a function that is held; builtin ones are told of as classes are."""
    loader, name = one.split(" ")[:2]
    module, _, short = name.rpartition(".")
    return loader in _VALUES and not isinstance(getattr(sys.modules.get(module), short, None), type)


def refuse_untrusted(data: bytes, trusted: Collection[str]) -> list[str]:
    """Refuse a file of skops's before anything is made of it; returns the names that may be loaded.

    Raises:
        UntrustedTypes: there is a type that is not trusted, or not in this way.
        DamagedFile: one object is said to be of two types.
    """
    names = skops().get_untrusted_types(data=data)
    found: dict[str, set[str]] = {}
    for one in ways(data):
        found.setdefault(one.split(" ")[1], set()).add(one)
    if wrong := [name for name in names if not found.get(name) or found[name] - set(trusted)]:
        raise UntrustedTypes(", ".join(sorted(wrong)))
    return sorted(names)


def ways(data: bytes) -> frozenset[str]:
    """The types in a file of skops's, and how each is made.

    Raises:
        DamagedFile: one object is said to be of two types.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        schema = json.loads(file.read("schema.json"))
    found, by_id = set(), dict[Any, str]()
    for node in _nodes(schema):
        one = way(node)
        found.add(one)
        if node.get(_ID) is not None and by_id.setdefault(node[_ID], one) != one:
            raise DamagedFile(f"an object is said to be both {by_id[node[_ID]]} and {one}")
    return frozenset(found)


def _nodes(thing: Any) -> Iterator[dict[str, Any]]:
    if isinstance(thing, dict) and isinstance(thing.get(_LOADER), str):
        yield thing
    for one in thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list) else ():
        yield from _nodes(one)
