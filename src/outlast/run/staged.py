"""StagedOutput: collects what callbacks do to files in an epoch; the run commits it as one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from outlast.storage.commit import Bundle, FileChange
from outlast.storage.format import layout
from outlast.storage.logs import Lines
from outlast.storage.output import Save


@dataclass
class StagedOutput:
    """Takes models and lines; names are relative to the run's folder.

    A model is captured in the hook, and written when the bundle is committed.

    Args:
        folder: the run's, for checking names; None in a run that writes nothing.
        read_log: the committed content of a log.
        published: names of the files that are committed.
    """

    folder: str | None
    read_log: Callable[[str], bytes | None]
    published: set[str] = field(default_factory=set)
    _files: dict[str, FileChange] = field(default_factory=dict)
    _logs: dict[str, Lines] = field(default_factory=dict)
    _captures: bool = False  # until it begins

    def prepare(self, name: str) -> bool:
        """Refuse a name that leads out of the run's folder."""
        layout.published_path(self.folder or ".", name)
        return self.folder is not None

    def named(self, default: str) -> str | None:
        """The default: in a run files need no names."""
        return default

    def exists(self, name: str) -> bool:
        """Whether there is such a file, in the folder or in this bundle."""
        return name in self.published

    def read(self, name: str) -> bytes | None:
        """The log as it is after this bundle."""
        staged = self._logs.get(name, Lines(b""))
        before = None if staged.replaces else self.read_log(name)
        return staged.data if before is None and name in self._logs else _joined(before, staged.data)

    def append(self, name: str, data: bytes, *, public: bool = True) -> None:
        """Add lines to a log; with ``public=False`` to one that has no file for people."""
        staged = self._logs.get(name, Lines(b"", public=public))
        self._logs[name] = Lines(staged.data + data, staged.replaces, staged.public)

    def replace(self, name: str, data: bytes) -> None:
        """Replace a log by these lines."""
        self._logs[name] = Lines(data, replaces=True)

    def publish(self, name: str, save: Save) -> str:
        """Capture a model, if it has a place to go to."""
        layout.published_path(self.folder or ".", name)
        if self._captures:
            named = getattr(save, "named", None)  # where the ending of a name tells the format
            self._files[name] = (save if named is None else named(name)).capture()
        self.published.add(name)
        return name

    def copy(self, name: str, target: str) -> None:
        """Have ``target`` made the same as ``name``."""
        layout.published_path(self.folder or ".", target)
        self._files[target] = name
        self.published.add(target)

    def remove(self, name: str) -> None:
        """Delete a file with this bundle."""
        self._files[name] = None
        self.published.discard(name)

    def take_files(self) -> Bundle:
        """The models that were saved since the last time, as a bundle without lines; None are staged then."""
        files, self._files = self._files, {}
        return Bundle(files)

    def take(self) -> Bundle:
        """The bundle, and begin the next."""
        bundle = Bundle(self._files, self._logs)
        self._files, self._logs = {}, {}
        return bundle

    def begin(self, published: Iterable[str], *, capture: bool = True) -> None:
        """Forget what is staged, and take these files as those in the folder.

        Args:
            published: names of files.
            capture: whether models that are saved from now on are to be written.
        """
        self._captures = capture and self.folder is not None
        self._files, self._logs = {}, {}
        self.published = set(published)


def _joined(before: bytes | None, data: bytes) -> bytes | None:
    return None if before is None else before + data
