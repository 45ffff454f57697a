"""Names for files that are not whole yet."""

from __future__ import annotations

import os
import re
from pathlib import PurePath

_TEMPORARY = re.compile(r"\..*\.x([0-9a-f]{8})[0-9a-f]{4}(\..*)?", re.DOTALL)
_LARGEST_PID = 1 << 22  # on Linux; others have fewer


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
    number = os.getpid() & 0xFFFFFFFF  # whose it is, so that nobody else deletes it
    return os.path.join(folder, f".{stem}.x{number:08x}{os.urandom(2).hex()}{suffix}")


def claim_name(path: str) -> str:
    """The name of the file that claims a path: the same for whoever wants the path.

    Example:
        >>> claim_name("runs/resume-00000001"), is_temporary(".resume-00000001.x000000000000")
        ('runs/.resume-00000001.x000000000000', True)
    """
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.x{0:012}")


def is_anothers(name: str) -> bool:
    """Whether another process of this machine that is alive made it, and may be writing it."""
    match = _TEMPORARY.fullmatch(name)
    number = int(match[1], 16) if match else 0
    if number in (0, os.getpid()) or number > _LARGEST_PID or os.name != "posix":
        return False
    try:
        os.kill(number, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def is_temporary(name: str) -> bool:
    """Whether a file's bare name is one that :func:`temporary_name` gives."""
    return _TEMPORARY.fullmatch(name) is not None
