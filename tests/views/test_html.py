"""A run in a notebook: its facts and its last epochs, and nothing that acts."""

from __future__ import annotations

import pytest
from tests.core.test_html_table import HOSTILE, read

from outlast.core.metrics import Metrics
from outlast.views.html import run_table

HISTORY = Metrics.from_columns({"loss": [0.5, 0.25]})


def test_a_run_shows_its_facts_and_its_epochs() -> None:
    found = read(run_table("runs/a", {"status": "finished", "best": "epoch 2", "stopped": ""}, HISTORY))
    assert found.tags[:2] == ["div", "table"]
    assert found.cells == [
        *("runs/a", "status", "finished", "best", "epoch 2"),
        *("2 epochs", "epoch", "loss", "0", "0.5", "1", "0.25"),
    ]


def test_a_run_without_epochs_shows_its_facts_alone() -> None:
    assert read(run_table("runs/a", {"status": "running"}, Metrics.from_rows([]))).cells == [
        *("runs/a", "status", "running"),
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_folder_fact_or_metric_stays_text(text: str) -> None:
    history = Metrics.from_rows([{"epoch": 0, text: text}])
    harmless = Metrics.from_rows([{"epoch": 0, "x": "x"}])
    found = read(run_table(text, {text: text}, history))
    assert found.tags == read(run_table("x", {"x": "x"}, harmless)).tags
    assert "\x1b" not in "".join(found.cells)
