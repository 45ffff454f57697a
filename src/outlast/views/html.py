"""What a notebook shows of a run: a title, facts, and the last epochs, as escaped HTML."""

from __future__ import annotations

from collections.abc import Mapping

from outlast.core.html_table import html_table
from outlast.core.metrics import Metrics


def run_table(title: str, facts: Mapping[str, str], history: Metrics) -> str:
    """A run as HTML, for ``_repr_html_``.

    Args:
        title: the caption, such as the run's folder.
        facts: labels and texts, such as ``{"status": "finished", "best": "epoch 7, val_loss 0.5"}``.
            An empty text is left out.
        history: the metrics; the last rows are shown, if there are any.

    Example:
        >>> run_table("runs/a", {"status": "running", "best": ""}, Metrics.from_rows([]))
        '<div><table><caption>runs/a</caption><tbody><tr><td>status</td><td>running</td></tr></tbody></table></div>'
    """
    table = html_table([fact for fact in facts.items() if fact[1]], caption=title)
    return f"<div>{table}{history._repr_html_() if history.epochs else ''}</div>"
