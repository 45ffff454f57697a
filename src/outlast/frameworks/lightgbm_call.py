"""What is seen of the call of ``lgb.train`` or ``lgb.cv``, which tells callbacks little of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from outlast.frameworks.driven import frame_of, trained_on
from outlast.frameworks.memories import unsaved_memories


@dataclass(frozen=True)
class Call:
    """What is seen of a call.

    Args:
        is_known: it was found.
        sets: the names of the sets that are evaluated.
        trained_on: those among them that are the training's own data.
        held_out_data: of which ``val_`` metrics are.
        beside: all callbacks of the call.
        before_rounds: LightGBM's own list of those that it calls before a round.
        objective: a function of the user's.
        metrics: functions of the user's.
        begun_with: ``init_model``.
        keeps_training: it was asked for ``keep_training_booster``.
        has_init_score: the data has scores to begin with.
        has_positions: the data has positions of documents.
    """

    is_known: bool = False
    sets: Sequence[str] = ()
    trained_on: frozenset[str] = frozenset()
    held_out_data: Any = None
    beside: Sequence[Any] = ()
    before_rounds: list[Any] = field(default_factory=list)
    objective: Any = None
    metrics: Sequence[Any] = ()
    begun_with: Any = None
    keeps_training: bool = False
    has_init_score: bool = False
    has_positions: bool = False

    @property
    def held_out(self) -> list[str]:
        """The names of the sets that are not trained on."""
        return [name for name in self.sets if name not in self.trained_on]

    def own(self, name: str) -> Any:
        """LightGBM's callback whose class has that name; None if there is none."""
        return next((one for one in self.beside if _is_lightgbms(one) and type(one).__name__ == name), None)

    def unsaved_memories(self) -> list[str]:
        """What may remember something that is not saved, in phrases."""
        beside = unsaved_memories(self.beside, "use a callback of outlast")
        return [*beside, *unsaved_memories((self.objective, *self.metrics))]


def found(together: Callable[[list[Any]], Any]) -> Call:
    """The call in which a callback is called; what it calls after a round is called by one instead.

    LightGBM's loop stops calling callbacks when one of them ends the training by its exception, so that those
    behind it would not hear of the last round.

    Args:
        together: makes that one, which has them in ``everyone``.
    """
    frame = frame_of("lightgbm.engine", "callbacks_after_iter")
    if frame is None:
        return Call()
    seen: Mapping[str, Any] = frame.f_locals
    after: list[Any] = seen["callbacks_after_iter"]
    if not (after and hasattr(after[0], "everyone")):
        after[:] = [together([*after])]
    beside = [*seen["callbacks_before_iter"], *after[0].everyone]
    if "cvbooster" in seen:
        folds = [*(["train"] if seen["eval_train_metric"] else []), "valid"]
        return Call(True, folds, frozenset({"train"}), beside=beside)
    own, others = seen["train_set"], seen["reduced_valid_sets"]
    sets = [(seen["train_data_name"], own)] if seen["is_valid_contain_train"] else []
    sets += zip(seen["name_valid_sets"], others, strict=True)
    named = trained_on(sets, own)
    return Call(
        is_known=True,
        sets=[name for name, _ in sets],
        trained_on=named,
        held_out_data=next((data for name, data in sets if name not in named), None),
        beside=beside,
        before_rounds=seen["callbacks_before_iter"],
        objective=seen["fobj"],
        metrics=_as_list(seen["feval"]),
        begun_with=seen["init_model"],
        keeps_training=bool(seen["keep_training_booster"]),
        has_init_score=any(getattr(one, "init_score", None) is not None for one in (own, *others)),
        has_positions=getattr(own, "position", None) is not None,
    )


def records(callback: Any) -> bool:
    """Whether it is LightGBM's own that keeps the metrics."""
    return _is_lightgbms(callback) and type(callback).__name__ == "_RecordEvaluationCallback"


def _is_lightgbms(callback: Any) -> bool:
    return type(callback).__module__.partition(".")[0] == "lightgbm"


def _as_list(given: Any) -> list[Any]:
    return [*given] if isinstance(given, (list, tuple)) else [given]
