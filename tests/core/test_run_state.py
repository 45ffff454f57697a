"""The schema of a resume point: it comes back as it was, and nonsense is refused."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from outlast.core.decision import Action, Decision, Reason
from outlast.core.run_state import START, Moment, Position, RunState


def test_an_epochs_end_comes_after_each_of_its_batches_and_before_the_next_epoch() -> None:
    order = [START, Position(0, 0), Position(0, 7), Position(0), Position(1, 0), Position(1)]
    assert sorted(reversed(order)) == order
    assert Position(0, 7) <= Position(0, 7) < Position(0)
    assert Position(1) > Position(0) and not Position(0) > Position(0)
    assert not Position(0) < Position(0)
    assert max(Position(2, 3), Position(2)) == Position(2)


@pytest.mark.parametrize(
    ("position", "epoch"), [(START, 0), (Position(0), 1), (Position(4, 0), 4), (Position(4, 9), 4)]
)
def test_training_goes_on_in_the_epoch_that_is_not_at_its_end(position: Position, epoch: int) -> None:
    assert position.next_epoch == epoch


def test_users_see_a_tuple() -> None:
    assert (START.as_tuple(), Position(3, 4).as_tuple()) == ((-1, None), (3, 4))


STOP = Decision("Run", Action.STOP, Reason.ASKED, 3, values={"text": "enough"})
STATE = RunState(
    position=Position(3, 2),
    epochs=9,
    finished=True,
    stops=(STOP,),
    extra={"mine": [1, {"two": None}]},
    settings={"seed": 1},
    contents={"callbacks": {"EarlyStopping": {"state": {"wait": 2}, "snapshots": {}}}, "random": (1,)},
)


@pytest.mark.parametrize("state", [RunState(), STATE, RunState(Position(0), epochs=None)])
def test_a_state_comes_back_as_it_was(state: RunState) -> None:
    assert RunState.from_state(state.to_state()) == state


def test_a_new_state_is_before_the_first_epoch_and_not_finished() -> None:
    new = RunState()
    assert (new.position, new.epochs, new.finished, new.stops) == (START, None, False, ())
    assert (new.extra, new.settings, new.contents, new.callbacks) == ({}, {}, {}, {})


def test_a_state_does_not_change_once_it_is_made() -> None:
    with pytest.raises(FrozenInstanceError):
        STATE.finished = False  # type: ignore[misc]


def test_what_callbacks_remember_is_found_by_their_keys() -> None:
    assert STATE.callbacks == {"EarlyStopping": {"wait": 2}}


@pytest.mark.parametrize(
    "change",
    [
        {"position": 3},
        {"position": [1]},
        {"position": ["1", None]},
        {"position": [1, 2.5]},
        {"epochs": "9"},
        {"stops": [{"callback": "Run"}]},
        {"stops": None},
        {"extra": 3},
        {"settings": None},
    ],
    ids=repr,
)
def test_nonsense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        RunState.from_state({**STATE.to_state(), **change})


@pytest.mark.parametrize("missing", RunState().to_state())
def test_a_state_that_lacks_something_is_refused(missing: str) -> None:
    state = STATE.to_state()
    del state[missing]
    with pytest.raises(LookupError):
        RunState.from_state(state)


def test_moments_are_four_in_the_order_in_which_they_come() -> None:
    names = ["OPEN", "TRAIN_BEGIN", "EPOCH_BEGIN", "FIRST_BATCH"]
    assert [moment.name for moment in Moment] == names


INSIDE: dict[str, Any] = {
    **{"counts": [2], "count": 2, "start": {}, "random": {}, "generators": []},
    "means": {"means": {}, "values": {}, "of_validations": []},
}


@pytest.mark.parametrize("inside", [{}, {"inside": None}, {"inside": INSIDE}], ids=str)
def test_a_run_of_an_earlier_version_lacks_what_the_loop_did_not_save_then(inside: dict[str, Any]) -> None:
    import numpy as np

    batches = {"count": 0, "later": 0, "first": np.zeros(0, np.uint32)}
    loop = {"loaders": [], "validation_loaders": [], "batches": batches, "sizes": {}, **inside}
    empty: dict[str, Any] = {name: {} for name in ("training", "callbacks", "attributes", "parts")}
    settings = {"callbacks": {}, "learning_rate": {}}
    state = RunState(settings=settings, contents={**empty, "data": [], "loop": loop}).to_state()
    found = RunState.of_a_run(state).contents["loop"]
    assert (found["passes"], found["draws"]) == (None, None)
    assert found["inside"] == (inside.get("inside") and {**INSIDE, "indices": None})
