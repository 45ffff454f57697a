"""Objects whose own code fails when they are asked for an attribute."""

from __future__ import annotations

from typing import Any

import pytest

from outlast.core.asking import asked, has
from outlast.core.numbers import check_metric, kept, to_python


class Refusing:
    """Raises what ``hasattr`` does not catch."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Keyed(dict[str, Any]):
    __getattr__ = dict.__getitem__


@pytest.mark.parametrize("kind", [Refusing, Keyed])
def test_an_attribute_that_raises_is_none(kind: Any) -> None:
    thing = kind()
    assert asked(thing, "shape", 3) == 3 and not has(thing, "shape")
    assert asked([], "append")


def test_a_dict_that_is_read_by_attributes_can_be_a_metric() -> None:
    logs = Keyed(loss=1.0)
    check_metric(logs, "losses")
    assert to_python(logs) == kept(logs) == {"loss": 1.0}
