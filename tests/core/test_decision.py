"""A decision, in words and as JSON."""

from __future__ import annotations

import json
import math
import string
from typing import Any

import numpy as np
import pytest

from outlast.core.decision import Action, Decision, Reason


def decision(action: Action = Action.CONTINUE, reason: Reason = Reason.MISSING, **values: Any) -> Decision:
    return Decision("Some", action, reason, 2, values={"monitor": "loss", **values})


@pytest.mark.parametrize(
    ("action", "stop", "save"),
    [
        (Action.CONTINUE, False, False),
        (Action.STOP, True, False),
        (Action.SAVE, False, True),
        (Action.SKIP, False, False),
        (Action.REDUCE, False, False),
        (Action.DELETE, False, False),
        (Action.RESTORE, False, False),
    ],
)
def test_one_action_stops_and_one_saves(action: Action, stop: bool, save: bool) -> None:
    assert (decision(action).stop, decision(action).save) == (stop, save)


@pytest.mark.parametrize(
    ("action", "values", "what"),
    [
        (Action.CONTINUE, {}, "continues"),
        (Action.STOP, {}, "stops"),
        (Action.SAVE, {}, "saves the model"),
        (Action.SAVE, {"path": "best.keras"}, "saves best.keras"),
        (Action.SKIP, {}, "keeps the saved model"),
        (Action.DELETE, {}, "deletes a model"),
        (Action.DELETE, {"path": "old\x1b.keras"}, r"deletes old\x1b.keras"),
        (Action.REDUCE, {}, "cuts the learning rate"),
        (Action.REDUCE, {"learning_rate": {"sgd": 0.05}}, "cuts the learning rate to 0.05"),
        (
            Action.REDUCE,
            {"learning_rate": {"a": 0.5, "b": 1 / 3}},
            "cuts the learning rate to a 0.5, b 0.3333",
        ),
        (Action.RESTORE, {"best_epoch": 4}, "restores the weights of epoch 5"),
        (Action.RESTORE, {}, "restores the weights of epoch 1"),
    ],
)
def test_the_sentence_says_what_is_done(action: Action, values: dict[str, Any], what: str) -> None:
    sentence = decision(action, **values).sentence
    assert sentence == f"Epoch 3: Some {what}: loss is not among the metrics"


def test_a_batch_is_counted_from_1_too() -> None:
    at_batch = Decision("Some", Action.STOP, Reason.MISSING, 0, 7, {"monitor": "loss"})
    assert at_batch.sentence == "Epoch 1, batch 8: Some stops: loss is not among the metrics"
    at_first = Decision("Some", Action.STOP, Reason.MISSING, 0, 0, {"monitor": "loss"})
    assert at_first.sentence.startswith("Epoch 1, batch 1: ")


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        (None, None),
        ({}, None),
        ({"sgd": 0.5}, 0.5),
        ({"a": 0.5, "b": 0.25}, {"a": 0.5, "b": 0.25}),
    ],
)
def test_one_new_rate_is_a_float_and_several_have_names(rates: Any, expected: Any) -> None:
    values = {} if rates is None else {"learning_rate": rates}
    assert decision(Action.REDUCE, **values).learning_rate == expected


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.123456789, "0.123457"), (2.0, "2"), (1e-9, "1e-09"), (math.inf, "inf"), (3, "3"), (None, "None")],
)
def test_numbers_are_shown_with_six_digits(value: Any, shown: str) -> None:
    text = decision(reason=Reason.IMPROVED, previous=value, value=0.5).because
    assert text == f"loss improved from {shown} to 0.5"


@pytest.mark.parametrize(
    ("reason", "values", "text"),
    [
        (Reason.PATIENCE, {"best": 1.0, "wait": 1}, "loss has not improved on 1 for 1 epoch"),
        (Reason.PATIENCE, {"best": 1.0, "wait": 2}, "loss has not improved on 1 for 2 epochs"),
        (Reason.PATIENCE, {"best": 1.0, "wait": 11}, "loss has not improved on 1 for 11 epochs"),
        (Reason.EVERY_BATCHES, {"batches": 1}, "1 batch after the last save"),
        (Reason.EVERY_BATCHES, {"batches": 5}, "5 batches after the last save"),
        (Reason.ASKED, {"text": "enough"}, "enough"),
    ],
)
def test_one_is_not_many(reason: Reason, values: dict[str, Any], text: str) -> None:
    assert decision(reason=reason, **values).because == text


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_a_sentence_filled_from_plain_values(reason: Reason) -> None:
    fields = [name for _, name, _, _ in string.Formatter().parse(reason.value) if name is not None]
    assert all(name.isidentifier() for name in fields)
    filled = decision(reason=reason, **dict.fromkeys(fields, "v")).because
    assert "{" not in filled


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("action", Action)
def test_a_decision_comes_back_from_json(action: Action, reason: Reason) -> None:
    values = {"value": math.inf, "best": -math.inf, "wait": 2, "learning_rate": {"sgd": 0.5}, "path": None}
    before = Decision("EarlyStopping", action, reason, 3, 5, values)
    data = json.loads(json.dumps(before.to_json(), allow_nan=False))
    assert Decision.from_json(data) == before


def test_nan_comes_back_from_json() -> None:
    data = json.loads(json.dumps(decision(value=math.nan).to_json(), allow_nan=False))
    assert math.isnan(Decision.from_json(data).values["value"])


def test_the_json_of_a_decision_has_its_names_in_small_letters() -> None:
    assert decision(Action.STOP, Reason.PATIENCE, wait=2).to_json() == {
        "epoch": 2,
        "batch": None,
        "callback": "Some",
        "action": "stop",
        "reason": "patience",
        "values": {"monitor": "loss", "wait": 2},
    }


def test_a_decision_needs_no_batch_and_no_values() -> None:
    plain = Decision("Some", Action.CONTINUE, Reason.EVERY_EPOCH, 0)
    assert (plain.batch, plain.values, plain.because) == (None, {}, "every epoch is saved")


def test_a_deletion_names_the_file_and_the_reason() -> None:
    values = {"monitor": "val_loss", "value": 0.5, "path": "model-0001.keras"}
    decision = Decision("ModelCheckpoint", Action.DELETE, Reason.GAVE_WAY, 3, values=values)
    assert decision.sentence.startswith("Epoch 4: ModelCheckpoint deletes model-0001.keras: val_loss was 0.5")
    nameless = Decision(
        "ModelCheckpoint", Action.DELETE, Reason.GAVE_WAY, 3, values={**values, "path": "\x1b"}
    )
    assert "\\x1b" in nameless.sentence


STOP = Decision(
    "EarlyStopping", Action.STOP, Reason.PATIENCE, 1, values={"monitor": "loss", "best": 0.5, "wait": 1}
)


def test_a_decision_prints_as_its_sentence() -> None:
    assert str(STOP) == STOP.sentence
    assert f"{STOP}" == "Epoch 2: EarlyStopping stops: loss has not improved on 0.5 for 1 epoch"


def test_the_repr_of_a_decision_is_short_and_has_no_fields_of_sentences() -> None:
    assert repr(STOP) == "<Decision: Epoch 2, EarlyStopping: stop (patience)>"
    at_batch = Decision("\x1b", Action.SAVE, Reason.EVERY_BATCHES, 0, 7)  # with nothing to fill it from
    assert repr(at_batch) == r"<Decision: Epoch 1, batch 8, \x1b: save (every_batches)>"


def test_a_row_of_a_decision_is_flat_and_has_texts_for_enums() -> None:
    assert STOP.to_dict() == {
        "epoch": 1,
        "batch": None,
        "callback": "EarlyStopping",
        "action": "stop",
        "reason": "patience",
        "sentence": STOP.sentence,
        "monitor": "loss",
        "best": 0.5,
        "wait": 1,
    }


@pytest.mark.parametrize(
    ("rates", "columns"),
    [
        ({"adam": 0.01}, {"learning_rate": 0.01}),
        ({"a": 0.01, "b": 0.02}, {"learning_rate_a": 0.01, "learning_rate_b": 0.02}),
        ({}, {}),
    ],
)
def test_new_rates_are_columns_as_in_logs(rates: dict[str, float], columns: dict[str, float]) -> None:
    row = decision(Action.REDUCE, learning_rate=rates).to_dict()
    assert {name: value for name, value in row.items() if name.startswith("learning")} == columns
    assert decision(Action.REDUCE, learning_rate=rates).values["learning_rate"] == rates


def test_a_row_has_infinities_as_floats_and_numpys_numbers_as_pythons() -> None:
    row = decision(best=math.inf, wait=np.int64(3), copies=("best.pt",)).to_dict()
    assert (row["best"], row["wait"], type(row["wait"]), row["copies"]) == (math.inf, 3, int, ["best.pt"])


def test_decisions_become_a_table_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(one.to_dict() for one in (STOP, decision(Action.SAVE, best=0.25)))
    assert list(table["action"]) == ["stop", "save"]
    assert table["best"].dtype == float
