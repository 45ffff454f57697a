"""``results.json``: what the user logged after the training, such as the accuracy on test data.

It is written when no resume point is any more. So it says of which run it is, and of how many epochs: the
results of a run that has been trained further since are no results of that run any more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from outlast.core.numbers import decoded, encoded
from outlast.exceptions import ArgumentError
from outlast.storage import identity
from outlast.storage.disk import files
from outlast.storage.disk.reading import beginning
from outlast.storage.format import json_text, layout, limits


def write(folder: str, epochs: int, results: Mapping[str, Any]) -> None:
    """Replace the results.

    Args:
        folder: the run's.
        epochs: how many it has trained.
        results: by name; numbers, lists and arrays.

    Raises:
        ArgumentError: they are too many to be read again; nothing is written.
    """
    content = {"run": identity.read(folder), "epochs": epochs, "results": encoded(results)}
    text = (json.dumps(content, indent=2) + "\n").encode()
    if json_text.is_too_large(text):
        raise ArgumentError(
            f"Results of a run have at most {limits.JSON_VALUES:,} values and {limits.JSON_BYTES:,} bytes: "
            "write a large array to a file of its own."
        )
    files.publish_bytes(os.path.join(folder, layout.RESULTS), text)


def is_whole(path: str) -> bool:
    """Whether it is a file of JSON."""
    try:
        return json_text.parsed(beginning(path, limits.JSON_BYTES + 1) or b"") is not None
    except (ValueError, RecursionError):
        return False


def read(folder: str, epochs: int) -> dict[str, Any]:
    """The results of a run of so many epochs; none if there are none, or if they make no sense."""
    path = os.path.join(folder, layout.RESULTS)
    text = beginning(path, limits.JSON_BYTES + 1)
    if text is None:
        return {}
    try:
        content = json_text.parsed(text)
        run, of, results = (content[name] for name in ("run", "epochs", "results"))
        found = {name: decoded(value) for name, value in results.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    fits = of == epochs and run == identity.read(folder) and all(map(_is_result, found.values()))
    return found if fits else {}


def _is_result(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_result, value))
    return value is None or isinstance(value, int | float)
