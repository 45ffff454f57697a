"""KerasSave: writes a Keras model's file; from the second time on without keeping training waiting."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any, Protocol

from outlast.frameworks import keras_template
from outlast.frameworks.keras_template import Template
from outlast.frameworks.keras_values import Values
from outlast.storage.disk.calls import explained
from outlast.storage.disk.files import Content


class Saved(Protocol):
    """What is saved, a ``KerasTraining``.

    Attributes:
        values: reads the variables.
        templates: of files, by their suffix; None where a file of Keras's cannot be one.
    """

    values: Values
    templates: dict[str, Template | None]

    @property
    def model(self) -> Any:
        """The model, its variables filled."""

    def suffixes(self, weights_only: bool) -> tuple[str, ...]:
        """Those of its files."""


class KerasSave:
    """Writes a Keras model, as Keras's own savers do.

    The first file is theirs, and takes long. What they have written is the template of the next ones, which
    differ from it in the values of variables, in the configuration and in the date. Where it cannot be one
    (a layer saves in its own way, files come with the model), each file is Keras's.

    Args:
        training: of the model.
        weights_only: no whole model.
        suffix: of the file, if its name does not say it.
    """

    def __init__(self, training: Saved, weights_only: bool, suffix: str = "") -> None:
        self._training = training
        self._weights_only = weights_only
        self._suffix = suffix or training.suffixes(weights_only)[0]

    def named(self, name: str) -> KerasSave:
        """The same for a file of that name, whose ending tells Keras's savers the format."""
        endings = self._training.suffixes(self._weights_only)
        suffix = next((one for one in endings if name.endswith(one)), "")
        return KerasSave(self._training, self._weights_only, suffix)

    def write(self, path: str) -> None:
        """Write the model while training waits."""
        save, model = self.named(path), self._training.model
        template = save._template(model)
        if template is None:
            save._by_keras(model, path)
        else:
            template.filled(model, self._training.values.look)(path)

    def capture(self) -> Callable[[str], object]:
        """Copy the values of all variables, to be written later; the first time have the finished file."""
        model = self._training.model
        template = self._template(model)
        if template is not None:
            return template.filled(model, self._copied)
        with explained(tempfile.gettempdir(), "write the model in"), tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model" + self._suffix)
            self._by_keras(model, path)
            with open(path, "rb") as file:
                return Content(file.read())

    def _copied(self, variable: Any) -> Any:
        return self._training.values.look(variable).copy()

    def _template(self, model: Any) -> Template | None:
        """The one that was made of this model, if it has the same variables still."""
        found = self._training.templates.get(self._suffix)
        return found if found is not None and found.fits(model) else None

    def _by_keras(self, model: Any, path: str) -> None:
        """Have Keras write the file, and look whether it can be a template, if none of its files was none."""
        save = model.save_weights if self._weights_only else model.save
        templates = self._training.templates
        if templates.get(self._suffix, self) is None or not keras_template.is_kerass(save):
            save(path, overwrite=True)
            return
        with keras_template.recorded() as found:
            save(path, overwrite=True)
        templates[self._suffix] = keras_template.of(path, model, found, self._training.values.look)
