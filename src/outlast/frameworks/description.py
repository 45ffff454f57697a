"""What a training is made of, as texts to compare: so that another one of the same shapes is noticed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # of a function; another one in each process
_LONG = 100


def text(value: Any) -> str:
    """A setting as a text that is the same in each process, and not long.

    Example:
        >>> text(0.5), text("relu")
        ('0.5', "'relu'")
    """
    return shortened(" ".join(_ADDRESS.sub("", repr(value)).split()))


def shortened(found: str) -> str:
    """A text that is not long, and differs where the whole text does.

    Example:
        >>> shortened("Dense"), len(shortened("Dense, " * 100))
        ('Dense', 114)
    """
    return found if len(found) <= _LONG else f"{found[:_LONG]}... ({zlib.crc32(found.encode()):08x})"


def settings_of(place: str, settings: Mapping[str, Any], leave_out: tuple[str, ...] = ()) -> dict[str, str]:
    """Settings by their full names.

    Example:
        >>> settings_of("optimizer", {"lr": 0.1, "eps": 1e-08}, ("lr",))
        {'optimizer.eps': '1e-08'}
    """
    return {f"{place}.{name}": text(value) for name, value in settings.items() if name not in leave_out}
