"""Hugging Face's Trainer, killed for real."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.crash.campaign import Killer


@pytest.mark.timeout(600)
def test_a_trainer_that_is_killed_again_and_again_ends_as_one_that_never_was(tmp_path: Path) -> None:
    killer = Killer("huggingface_train", str(tmp_path), seed=1)
    kills = killer.four_kills()
    campaign = killer.campaign("killed", kills)
    assert campaign.kills == kills
    assert campaign.differences == []
