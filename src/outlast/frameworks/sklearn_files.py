"""Files of estimators: how one is written, and read again. Nothing is pickled."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from outlast.exceptions import CapabilityError, DamagedFile
from outlast.frameworks import archives
from outlast.frameworks.sklearn_frozen import loaded
from outlast.frameworks.sklearn_parameters import without_callbacks
from outlast.frameworks.sklearn_schema import dumped
from outlast.frameworks.sklearn_trust import UntrustedTypes
from outlast.storage.disk.files import Content


@dataclass(frozen=True)
class EstimatorSave:
    """Writes an estimator; read it with ``skops.io.load(path, trusted=...)``.

    Args:
        model: the estimator.
    """

    model: Any

    def capture(self) -> Callable[[str], object]:
        """Take the estimator now, write it later."""
        return Content(dumped(without_callbacks(self.model)))

    def write(self, path: str) -> None:
        """Write it while training waits."""
        self.capture()(path)


def read(path: str, trusted: Collection[str]) -> Any:
    """The estimator of a file.

    Raises:
        CapabilityError: it has types that are not trusted.
        DamagedFile: it is not what a run saved.
    """
    archives.check(path)
    with open(path, "rb") as file:
        data = file.read()
    try:
        return loaded(data, trusted)
    except DamagedFile as error:
        raise DamagedFile(f"{path} is damaged: {error}", path=path) from error
    except UntrustedTypes as error:
        raise CapabilityError(
            f"{path} holds objects of types that are not trusted: {error}. If you trust them, "
            "skops.io.load(path, trusted=[...]) loads the file."
        ) from error
