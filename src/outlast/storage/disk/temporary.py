"""Names for files that are not whole yet."""

from __future__ import annotations

import os
import re
from pathlib import PurePath

_TEMPORARY = re.compile(r"\..*\.x[0-9a-f]{12}(\..*)?", re.DOTALL)


def temporary_name(path: str) -> str:
    """A free name beside ``path``: hidden, unique, with the suffixes that savers look at.

    Example:
        >>> import re
        >>> re.sub("[0-9a-f]{12}", "7", temporary_name("runs/w.weights.h5"))
        'runs/.w.x7.weights.h5'
    """
    folder, name = os.path.split(path)
    suffix = "".join(PurePath(name).suffixes[-2:])
    stem = name.removesuffix(suffix).lstrip(".")[:40]  # a name has at most 255 bytes
    return os.path.join(folder, f".{stem}.x{os.urandom(6).hex()}{suffix}")


def claim_name(path: str) -> str:
    """The name of the file that claims a path: the same for whoever wants the path.

    Example:
        >>> claim_name("runs/resume-00000001"), is_temporary(".resume-00000001.x000000000000")
        ('runs/.resume-00000001.x000000000000', True)
    """
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.x{0:012}")


def is_temporary(name: str) -> bool:
    """Whether a file's bare name is one that :func:`temporary_name` gives."""
    return _TEMPORARY.fullmatch(name) is not None
