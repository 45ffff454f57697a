"""One module per framework, imported when one of its models is passed in, or when it is first named."""

from importlib import import_module
from typing import Any

_NAMED_BY_USERS = ("huggingface", "keras", "lightgbm", "lightning", "sklearn", "xgboost")


def __getattr__(name: str) -> Any:
    if name in _NAMED_BY_USERS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
