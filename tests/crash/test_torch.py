"""Loops in PyTorch, JAX and scikit-learn, and those of XGBoost and LightGBM, killed for real."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.crash.campaign import Killer
from tests.crash.children import AtMoment


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "training",
    [
        *("torch_loop", "torch_loop_inside", "torch_steps", "jax_loop", "jax_nnx", "sklearn_loop"),
        *("xgboost_train", "lightgbm_train"),
    ],
)
def test_a_loop_that_is_killed_again_and_again_ends_as_one_that_never_was(
    tmp_path: Path, training: str
) -> None:
    killer = Killer(training, str(tmp_path), seed=1)
    kills = killer.four_kills()
    campaign = killer.campaign("killed", kills)
    assert campaign.kills == kills
    assert campaign.differences == []


@pytest.mark.timeout(600)
def test_a_killed_training_whose_random_numbers_are_not_put_back_is_seen_to_differ(tmp_path: Path) -> None:
    killer = Killer("torch_loop_that_forgets", str(tmp_path), seed=1)
    campaign = killer.campaign("killed", [AtMoment(epoch=3, seconds=0)])
    assert "weights" in campaign.differences
