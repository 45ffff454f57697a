"""What is seen of the call of ``lgb.train`` or ``lgb.cv``, which tells callbacks little of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from outlast.frameworks.driven import frame_of

_SILENT = ("_LogEvaluationCallback", "_RecordEvaluationCallback")  # LightGBM's, which change no training
_ATTRIBUTES_OF_HOOKS = ("before_iteration", "order")


@dataclass(frozen=True)
class Call:
    """What is seen of a call.

    Args:
        is_known: it was found.
        sets: the names of the sets that are evaluated.
        trained_on: those among them that are the training's own data.
        beside: all callbacks of the call.
        before_rounds: LightGBM's own list of those that it calls before a round.
        has_own_objective: the objective is a function.
        keeps_training: it was asked for ``keep_training_booster``.
        has_init_score: the data has scores to begin with.
        has_positions: the data has positions of documents.
    """

    is_known: bool = False
    sets: Sequence[str] = ()
    trained_on: frozenset[str] = frozenset()
    beside: Sequence[Any] = ()
    before_rounds: list[Any] = field(default_factory=list)
    has_own_objective: bool = False
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

    def remembering(self) -> list[str]:
        """Names of others' callbacks that may remember something, which is not saved."""
        return sorted({_name(one) for one in self.beside if _may_remember(one)})


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
        sets = [*(["train"] if seen["eval_train_metric"] else []), "valid"]
        return Call(True, sets, frozenset({"train"}), beside)
    trained_on = [seen["train_data_name"]] if seen["is_valid_contain_train"] else []
    data = [seen["train_set"], *seen["reduced_valid_sets"]]
    return Call(
        is_known=True,
        sets=[*trained_on, *seen["name_valid_sets"]],
        trained_on=frozenset(trained_on),
        beside=beside,
        before_rounds=seen["callbacks_before_iter"],
        has_own_objective=seen["fobj"] is not None,
        keeps_training=bool(seen["keep_training_booster"]),
        has_init_score=any(getattr(one, "init_score", None) is not None for one in data),
        has_positions=getattr(seen["train_set"], "position", None) is not None,
    )


def _is_lightgbms(callback: Any) -> bool:
    return type(callback).__module__.partition(".")[0] == "lightgbm"


def _may_remember(callback: Any) -> bool:
    module = type(callback).__module__.partition(".")[0]
    if module == "outlast" or (module == "lightgbm" and type(callback).__name__ in _SILENT):
        return False
    own = [name for name in getattr(callback, "__dict__", ()) if name not in _ATTRIBUTES_OF_HOOKS]
    return bool(own or getattr(callback, "__closure__", None) or hasattr(callback, "func"))


def _name(callback: Any) -> str:
    return getattr(callback, "__name__", type(callback).__name__)
