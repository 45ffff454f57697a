"""JSON that does not swell: a small text can stand for very many values.

``[],[],[]`` takes three bytes a value in a file and sixty in memory. Nobody writes such a
file but to harm, so the values are counted before they are made.
"""

from __future__ import annotations

import json
from typing import Any

MOST_VALUES = 2_000_000  # the header of a file of 100,000 tensors has half as many
MOST_BYTES = 100_000_000  # safetensors' own limit for a header


def is_too_large(text: bytes | bytearray) -> bool:
    """Whether :func:`parsed` refuses it; whoever writes JSON to be read again asks before.

    Example:
        >>> is_too_large(b'{"a": 1}'), is_too_large(b"[" + b"[]," * 1_000_001 + b"0]")
        (False, True)
    """
    return len(text) > MOST_BYTES or sum(map(text.count, (b",", b"[", b"{"))) > MOST_VALUES


def parsed(text: bytes, **options: Any) -> Any:
    """``json.loads``, with its options.

    Raises:
        ValueError: it is no JSON, or has more values than any file of ours.
        RecursionError: it is nested very deep.
    """
    if is_too_large(text):
        raise ValueError("it holds too many values")
    return json.loads(text, **options)
