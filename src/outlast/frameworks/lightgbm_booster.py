"""LightGBM's Booster: what callbacks and runs may do to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from outlast.core.run_state import START, Position
from outlast.exceptions import DamagedFile, RunChanged, UsageError
from outlast.frameworks import lightgbm_rounds as rounds
from outlast.frameworks.base import Control, Snapshot, Training
from outlast.frameworks.lightgbm_call import Call
from outlast.frameworks.meanings import Meanings
from outlast.storage.disk.files import Content

TEXT = ".txt"
_RATE = "learning_rate"
LINE = (
    "lgb.train(..., callbacks=outlast.frameworks.lightgbm.callbacks(run), "
    "**outlast.frameworks.lightgbm.resume_arguments(run{}))"
)

# By the number of the epoch, or by who names the best one: the rounds that the model had, which are
# fewer than were trained where one found no split; and for each metric set, name, value, and whether higher
# is better.
Results = dict[str, tuple[int, list[tuple[Any, ...]]]]


class BoosterTraining(Training):
    """A Booster: its rounds are its weights, and its optimizer is inside it.

    Args:
        model: the Booster.

    Attributes:
        parameters: as the model's text has them when the training begins.
        before: rounds that the model had before the first start, and a checksum of their trees.
        meanings: what ``loss`` and ``val_`` are, in each start.
    """

    framework = "LightGBM"
    needs_optimizer = False
    cannot_rewind = "LightGBM takes the rounds of one resume point alone"
    capabilities = frozenset({"learning_rate", "weights", "saving", "state"})

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.parameters: Mapping[str, str] = _parameters(model)
        self.before: dict[str, Any] = {"rounds": 0, "trees": ""}
        self.meanings = Meanings()
        self._results: Results = {}
        self._begun = ""  # the trees with which this start began
        self._has_init_score = False
        self._has_positions = False
        self._unsaved_memories: list[str] = []  # in words: they themselves may hold the model
        self._description: dict[str, str] = {}
        self._given: Mapping[str, Any] = {}  # the parameters when the training began
        self._known: tuple[Any, Mapping[str, str]] = {}, self.parameters
        self._held: str | None = None

    def begin(self, seen: Call, results: Results) -> None:
        """A training begins, whose metrics of the best rounds are kept in ``results``."""
        self._results, self._held = results, None
        self.meanings.begin(seen.held_out_data)
        self._has_positions, self._unsaved_memories = seen.has_positions, seen.unsaved_memories()
        self._begun = trees(self.model)
        self.before = {"rounds": self.model.current_iteration(), "trees": rounds.checksum(self._begun)}
        self._has_init_score = seen.has_init_score and not self._begun  # else it is what LightGBM has set
        self._description = rounds.described(self.model.params, self.parameters)
        self._given = {**self.model.params}
        if seen.objective is not None:
            self._set_objective_to_none()

    def _set_objective_to_none(self) -> None:
        """Do what LightGBM does in the first round of each start, which draws once more there."""
        flag = "_Booster__set_objective_to_none"
        if getattr(self.model, flag, None) is False:
            self.model.reset_parameter({"objective": "none"})
            setattr(self.model, flag, True)

    def parameters_now(self) -> Mapping[str, str]:
        """As the model's text has them now, but for rates and for seeds of rounds."""
        set_since = rounds.changed(self._given, self.model.params)
        if set_since != self._known[0]:
            self._known = set_since, _parameters(self.model)
        return self._known[1]

    @property
    def is_dart(self) -> bool:
        """Whether rounds change earlier trees."""
        return self.parameters["boosting"] == "dart"

    def learning_rates(self) -> dict[str, float]:
        now = rounds.rate_of(self.model.params, self.parameters, lambda: _parameters(self.model))
        return {_RATE: now}

    def set_learning_rate(self, name: str, value: float) -> None:
        if value != self.learning_rates()[_RATE]:  # LightGBM draws anew whenever one is set
            self.model.reset_parameter({_RATE: value})

    def state(self) -> Any:
        text = self._held if self._held is not None else rounds.trained_part(whole_text(self.model))
        results = {
            epoch: {"rounds": count, "metrics": [[*one] for one in found]}
            for epoch, (count, found) in self._results.items()
        }
        return {
            "weights": {"model": _array(text.encode())},
            "rates": self.learning_rates(),
            "parameters": rounds.changed(self._given, self.model.params),
            "before": self.before,
            "meanings": self.meanings.state(),
            "results": results,
            "init_score": self._has_init_score,
        }

    def settable(self) -> Any:
        return {}  # a start brings its rounds as an argument, and check_state compares them

    def check_state(self, state: Any) -> None:
        check_is_ours(state)
        self._check_rounds(state)
        self.meanings.check(state.get("meanings", {}))

    def _check_rounds(self, state: Any) -> None:
        saved = rounds.trees_of(_read_again(self.model, text_of(state["weights"]["model"])))
        if saved == self._begun:
            return
        line = LINE.format(", init_model=..." if state["before"]["rounds"] else "")
        if rounds.checksum(self._begun) == state["before"]["trees"]:
            raise UsageError(
                "The rounds that the run has saved are missing in this training: LightGBM takes them by an "
                f"argument alone. Pass {line}; or begin again with resume='never'."
            )
        if rounds.has_more(self._begun, saved):
            raise UsageError(
                "This training begins with more rounds than the run has now, for the run has gone back to "
                f"the resume point before: make the same call again, {line}."
            )
        raise RunChanged(
            "the rounds of the run are not those that this training begins with: init_model is another "
            f"model. Pass {line}; or begin again with resume='never'"
        )

    def load_state(self, state: Any) -> None:
        self.meanings.load(state.get("meanings", {}))
        self.before = {**state["before"]}
        self._has_init_score = state["init_score"]
        self._results.clear()
        for epoch, one in state["results"].items():
            self._results[epoch] = one["rounds"], [tuple(metric) for metric in one["metrics"]]
        if saved := state.get("parameters"):
            self.model.reset_parameter(saved)
        for name, rate in state["rates"].items():
            self.set_learning_rate(name, rate)

    def hold(self) -> None:
        """Save the rounds as they are now, even if callbacks put others back when the training ends."""
        self._held = rounds.trained_part(whole_text(self.model))

    def description(self) -> dict[str, str]:
        return self._description

    def inexact(self, params: Mapping[str, Any]) -> list[str]:
        found = [*rounds.inexact(self.parameters)]
        if self._has_positions and self.parameters["objective"] == "lambdarank":
            found.append("the biases of positions that lambdarank has learned are in no model's text")
        if self._has_init_score:
            found.append(
                "a Dataset has an init_score, its own or that of an earlier init_model, which LightGBM "
                "replaces at a resume: begin with a Dataset without"
            )
        return found + self._unsaved_memories

    @property
    def is_on_accelerator(self) -> bool:
        return self.parameters["device_type"] != "cpu"

    def takes_any_shape(self, name: str) -> bool:
        return True

    def _copied_weights(self) -> Snapshot:
        """Earlier trees stay as they are, so that their number says enough; not with dart."""
        return Snapshot(whole_text(self.model) if self.is_dart else self.model.current_iteration())

    def restore_weights(self, snapshot: Snapshot) -> None:
        """Drop the rounds that came later; those of earlier starts LightGBM cuts off by itself."""
        if isinstance(snapshot.weights, str):
            self.model.model_from_string(snapshot.weights)
            return
        left = None
        while left != (left := self.model.current_iteration()) and left > snapshot.weights:
            self.model.rollback_one_iter()

    def weights_to_arrays(self, snapshot: Snapshot) -> list[tuple[str, Any]]:
        weights = snapshot.weights
        if isinstance(weights, str):
            return [("model", _array(weights.encode()))]
        return [("rounds", _array(str(weights).encode()))]

    def weights_from_arrays(self, pairs: Iterable[tuple[str, Any]]) -> Snapshot:
        [(name, array)] = pairs
        return Snapshot(text_of(array) if name == "model" else int(text_of(array)))

    def suffixes(self, weights_only: bool) -> tuple[str, ...]:
        return (TEXT,)

    def saving(self, weights_only: bool) -> BoosterSave:
        return BoosterSave(self.model)

    def load_file(self, path: str) -> Any:
        return load(path)


@dataclass(frozen=True)
class BoosterSave:
    """Writes a booster to a file, all of its rounds.

    Args:
        model: the Booster.
    """

    model: Any

    def capture(self) -> Callable[[str], object]:
        """Take the model now, write it later."""
        return Content(whole_text(self.model).encode())

    def write(self, path: str) -> None:
        """Write it while training waits."""
        self.capture()(path)


class RoundControl(Control):
    """LightGBM's loop.

    Attributes:
        position: where a run goes on.
    """

    dispatchers = ("lightgbm.basic", "lightgbm.callback", "lightgbm.engine", "lightgbm.sklearn")
    trains_by_rounds = True
    position = START

    def resume_at(self, position: Position = START) -> None:
        self.position = position


def load(path: str) -> Any:
    """The booster of a file that a run saved.

    Raises:
        DamagedFile: it is not what a run saved.
    """
    import lightgbm

    try:
        try:
            return lightgbm.Booster(model_file=path)
        except ValueError:  # of parameters that LightGBM cannot read again, as ignore_column="name:a"
            with open(path, encoding="utf-8") as file:
                return lightgbm.Booster(model_str=rounds.without_parameters(file.read()))
    except lightgbm.basic.LightGBMError as error:
        raise DamagedFile(f"{path} is damaged: {str(error).splitlines()[-1]}", path=path) from error


def check_is_ours(state: Any) -> None:
    """Refuse what another framework has saved.

    Raises:
        RunChanged: it is not a state of a :class:`BoosterTraining`.
    """
    if not {"weights", "rates", "before"} <= set(state):
        raise RunChanged("what was trained here was no Booster of LightGBM's: take another folder.")


def whole_text(model: Any) -> str:
    """All rounds, also those after the best, as they are written after they were read, too.

    Of a tree that has one leaf LightGBM writes the weight only if it has just grown it.
    """
    text = str(model.model_to_string(num_iteration=-1))
    if not rounds.has_single_leaves(text):
        return text
    return rounds.with_parameters(_read_again(model, text), of=text)


def trees(model: Any) -> str:
    """The trees in a model's text, as they are written after they were read."""
    return rounds.trees_of(_read_again(model, model.model_to_string(num_iteration=-1)))


def _parameters(model: Any) -> dict[str, str]:
    return rounds.parameters_of(model.model_to_string(num_iteration=1))


def _read_again(model: Any, text: str) -> str:
    return str(type(model)(model_str=rounds.without_parameters(text)).model_to_string(num_iteration=-1))


def text_of(array: Any) -> str:
    """The inverse of what makes arrays of texts, for storage."""
    return str(array.tobytes().decode())


def _array(raw: bytes) -> Any:
    import numpy as np

    return np.frombuffer(raw, "uint8")
