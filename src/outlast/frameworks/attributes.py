"""Attributes: plain numbers and tensors of a module, which its state dict does not have.

Which of them are state and which are notes, nobody can tell from outside: so none is saved, and those that
change in training are named.
"""

from __future__ import annotations

import zlib
from typing import Any

_LOOKED_AT = 64  # numbers of a tensor


class Attributes:
    """Knows what the attributes of a module were when they were last looked at."""

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}
        self._named: set[str] = set()

    def changed(self, module: Any) -> list[str]:
        """Names of attributes that are not what they were; each is named once."""
        now = dict(_found(module))
        names = [name for name, value in now.items() if _differs(self._seen.get(name), value)]
        new = [name for name in names if name not in self._named]
        self._seen = now
        self._named.update(new)
        return new


def _differs(before: Any, now: Any) -> bool:
    """Whether it changed while the module was of one class, which a lazy one is not."""
    return before is not None and before[0] is now[0] and before != now


def _found(module: Any) -> Any:
    import numpy as np
    import torch

    usual = vars(torch.nn.Module()).keys()
    for path, inner in module.named_modules():
        kind = type(inner)
        for name, value in vars(inner).items():
            if name in usual or (name.startswith("_") and kind.__module__.startswith("torch.")):
                continue
            if isinstance(value, torch.Tensor):
                if value.grad_fn is None:  # else it is a result of the last batch
                    yield _name(path, name), (kind, _checksum(value))
            elif isinstance(value, (int, float, complex, np.generic, np.ndarray)):
                numbers = value if not isinstance(value, np.ndarray) else torch.from_numpy(value)
                yield _name(path, name), (kind, repr(value) if numbers is value else _checksum(numbers))


def _name(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _checksum(tensor: Any) -> Any:
    """Of a few numbers; of a tensor that has none at hand, how often it was changed."""
    if str(tensor.layout) != "torch.strided" or tensor.is_quantized or tensor.is_meta:
        return tensor._version
    flat = tensor.detach().reshape(-1)
    few = flat[:: flat.numel() // _LOOKED_AT or 1]
    return tuple(tensor.shape), zlib.crc32(repr(few.tolist()).encode())
