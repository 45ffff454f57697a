"""Trees keep their shape; only their leaves change."""

from __future__ import annotations

from collections import OrderedDict

from outlast.core.numbers import map_leaves


def test_dicts_lists_and_tuples_stay_what_they_are() -> None:
    tree = {"a": [1, (2, [3])], 4: ()}
    assert map_leaves(tree, str) == {"a": ["1", ("2", ["3"])], 4: ()}


def test_other_mappings_become_dicts_and_texts_are_leaves() -> None:
    assert map_leaves(OrderedDict(a="bc"), str.upper) == {"a": "BC"}
    assert type(map_leaves(OrderedDict(a="bc"), str.upper)) is dict


def test_a_lone_leaf_is_mapped() -> None:
    assert map_leaves(1, str) == "1"
