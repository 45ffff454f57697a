"""JSON that does not swell: a small text can stand for very many values.

``[],[],[]`` takes three bytes a value in a file and sixty in memory. Nobody writes such a
file except to attack, so the values are counted before they are made.
"""

from __future__ import annotations

import json
import math
from typing import Any

from outlast.storage.format import limits


def is_too_large(text: bytes | bytearray) -> bool:
    """Whether :func:`parsed` refuses it; whoever writes JSON to be read again asks before.

    Example:
        >>> is_too_large(b'{"a": 1}'), is_too_large(b"[" + b"[]," * 1_000_001 + b"0]")
        (False, True)
    """
    values = sum(map(text.count, (b",", b"[", b"{")))
    return len(text) > limits.JSON_BYTES or values > limits.JSON_VALUES


def parsed(text: bytes, **options: Any) -> Any:
    """``json.loads``, with its options; no number is infinite.

    Raises:
        ValueError: it is not JSON, or has more values than any file of ours.
        RecursionError: it is nested very deep.
    """
    if is_too_large(text):
        raise ValueError("it holds too many values")
    return json.loads(text, parse_float=_finite, **options)


def _finite(text: str) -> float:
    """``1e999`` and a float of 400 digits are infinite for Python; we write no such number."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number
