from __future__ import annotations

from tests.storage.conftest import memory_disk

__all__ = ["memory_disk"]
