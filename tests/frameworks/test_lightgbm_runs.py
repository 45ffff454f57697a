"""Runs in LightGBM's own loop: they go on exactly, or say what is not exact."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from tests.frameworks.lightgbm_trainings import (
    BINARY,
    HELD_OUT,
    KINDS,
    TRAINED,
    Left,
    Stops,
    X,
    Y,
    data,
    in_a_run,
    leaving,
    text,
    train,
    trees,
)

import outlast
from outlast.exceptions import (
    DamagedFile,
    RunChanged,
    UsageError,
)
from outlast.frameworks.lightgbm import callbacks, resume_arguments

pytestmark = [
    pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated"),  # the oldest has no other
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),  # of the oldest
]

RANKED = {"objective": "lambdarank", "bagging_by_query": True, "bagging_freq": 2, "bagging_fraction": 0.5}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_left_ends_with_the_same_bytes(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, run = in_a_run(tmp_path / "whole", **KINDS[kind])
    for after in (4, 7):
        in_a_run(tmp_path / "left", after, **KINDS[kind])
    found, other = in_a_run(tmp_path / "left", **KINDS[kind])
    assert text(found) == text(whole)
    assert (found.best_iteration, found.best_score) == (whole.best_iteration, whole.best_score)
    assert other.history.rows == run.history.rows
    assert text(other.load_best()) == text(run.load_best())
    said = capsys.readouterr().out
    assert "resumed" in said and "would not be exact" not in said
    assert "not checked: LightGBM takes the rounds of one resume point alone" in said


def test_rows_are_sampled_by_query_exactly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rank(folder: str, after: int | None = None) -> Any:
        run = outlast.Run(tmp_path / folder, leaving(after))
        trained_on = data(TRAINED, group=[10] * 20)
        return lgb.train(BINARY | RANKED, trained_on, 12, callbacks=callbacks(run), **resume_arguments(run))

    whole = rank("whole")
    with pytest.raises(Left):
        rank("left", 6)
    assert text(rank("left")) == text(whole)
    assert "would not be exact" not in capsys.readouterr().out


def test_rounds_that_find_no_split_count(tmp_path: Path) -> None:
    settings = {"bagging_freq": 1, "bagging_fraction": 0.05, "rounds": 20}
    whole, run = in_a_run(tmp_path / "whole", **settings)
    for after in (5, 12):
        in_a_run(tmp_path / "left", after, **settings)
    found, other = in_a_run(tmp_path / "left", **settings)
    assert 1 < whole.num_trees() < 16
    assert (text(found), other.history.rows) == (text(whole), run.history.rows)
    assert len(run.history.rows) == 20


def test_the_best_round_is_the_right_one_behind_rounds_that_found_no_split(tmp_path: Path) -> None:
    settings = {"bagging_freq": 1, "bagging_fraction": 0.05, "rounds": 40}
    seen: list[Any] = []

    class Keep(outlast.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(self.model.predict(X, num_iteration=-1))

    stopping = outlast.EarlyStopping(patience=99)
    booster = train(outlast.Run(tmp_path / "run", [Keep(), stopping]), **settings)
    assert booster.best_iteration < stopping.best_epoch + 1
    np.testing.assert_array_equal(booster.predict(X), seen[stopping.best_epoch])


def test_without_sampling_a_run_gives_lightgbms_own_model(tmp_path: Path) -> None:
    assert text(train(outlast.Run(tmp_path / "run"))) == text(train())
    rate = outlast.LearningRateScheduler(lambda epoch, rate: rate)
    assert text(train(rate)) == text(train())


def once_alone(env: Any) -> None:
    if env.iteration == 2:
        env.model.reset_parameter({"num_leaves": 3, "lambda_l2": 0.1 + 0.2, "monotone_constraints": [1] * 6})


def rate_of_the_round(env: Any) -> None:
    env.model.reset_parameter({"eta": 0.3 * 0.9**env.iteration})


def columns_from_a_round_on(env: Any) -> None:
    env.model.reset_parameter({"feature_fraction": 0.5 if 3 < env.iteration < 6 else 1.0})


for one in (once_alone, rate_of_the_round, columns_from_a_round_on):
    one.before_iteration = True  # type: ignore[attr-defined]


def own_objective(predicted: Any, given: Any) -> Any:
    share = 1 / (1 + np.exp(-predicted))
    return share - given.get_label(), share * (1 - share)


SETTING: dict[str, dict[str, Any]] = {
    "once": {"more": [once_alone], "feature_fraction": 0.5},
    "the rate in each round": {"more": [rate_of_the_round], "learning_rate": 0.2, "extra_trees": True},
    "what samples": {"more": [columns_from_a_round_on]},
    "an objective of one's own": {
        **{"objective": own_objective, "metric": "binary_error", "feature_fraction": 0.5}
    },
}


@pytest.mark.parametrize("kind", SETTING)
def test_what_code_sets_while_it_trains_goes_on_exactly(tmp_path: Path, kind: str) -> None:
    def once(folder: str, after: int | None = None) -> Any:
        return train(outlast.Run(tmp_path / folder, leaving(after)), **SETTING[kind])

    whole = once("whole")
    for after in (4, 7):
        with pytest.raises(Left):
            once("left", after)
    assert text(once("left")) == text(whole)
    assert text(once("left")) == text(whole)


def test_columns_that_a_callback_of_ours_sets_are_drawn_exactly(tmp_path: Path) -> None:
    class Columns(outlast.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.model.reset_parameter({"feature_fraction": 0.5 if epoch > 2 else 1.0})

    def once(folder: str, after: int | None = None) -> Any:
        return train(outlast.Run(tmp_path / folder, [Columns(), leaving(after)]))

    whole = once("whole")
    with pytest.raises(Left):
        once("left", 5)
    assert text(once("left")) == text(whole)


def test_rounds_after_a_finished_start_draw_as_those_after_the_training(tmp_path: Path) -> None:
    def once() -> Any:
        kept = {"keep_training_booster": True}
        booster = train(outlast.Run(tmp_path / "run"), rounds=4, feature_fraction=0.5, options=kept)
        booster.update()
        return booster

    assert trees(once()) == trees(once())


def test_a_seed_is_given_in_no_round_that_draws_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lgb.Booster, "reset_parameter", None)
    train(outlast.Run(tmp_path / "run"), bagging_fraction=0.5)  # bagging_freq is 0


@pytest.mark.parametrize("seed", ["seed", "bagging_seed", "feature_fraction_seed", "extra_seed"])
def test_another_seed_of_the_user_gives_another_model(tmp_path: Path, seed: str) -> None:
    settings = {
        **{"bagging_seed": {"bagging_freq": 1, "bagging_fraction": 0.6}},
        **{"feature_fraction_seed": {"feature_fraction": 0.5}, "extra_seed": {"extra_trees": True}},
    }.get(seed, KINDS["all"])
    found = [
        trees(train(outlast.Run(tmp_path / f"run{value}"), rounds=3, **{**settings, seed: value}))
        for value in (1, 2)
    ]
    assert found[0] != found[1]


def test_rounds_draw_otherwise_from_each_other(tmp_path: Path) -> None:
    run = outlast.Run(tmp_path / "run")
    booster = train(run, rounds=6, feature_fraction=0.2, learning_rate=1e-6)
    assert len({tree["tree_structure"]["split_feature"] for tree in booster.dump_model()["tree_info"]}) > 2


@pytest.mark.parametrize("number", [0, 1, 4])
def test_a_seed_of_the_user_that_is_that_of_a_round_makes_no_difference(tmp_path: Path, number: int) -> None:
    """LightGBM keeps its generator where the seed is the same as before."""
    from outlast.frameworks import lightgbm_rounds as rounds

    class Given:
        def __init__(self) -> None:
            self.params: dict[str, Any] = {}
            self.given: list[dict[str, Any]] = []

        def reset_parameter(self, values: dict[str, Any]) -> None:
            self.given.append(values)

    plain = {one: "1" for one in ("bagging_fraction", "pos_bagging_fraction", "neg_bagging_fraction")}
    model = Given()
    seeds = {one: "7" for one in ("bagging_seed", "feature_fraction_seed", "extra_seed")}
    drawing = {
        "bagging_freq": "0",
        "extra_trees": "1",
        "feature_fraction": "1",
        "feature_fraction_bynode": "1",
    }
    now = {**plain, **seeds, **drawing}
    rounds.Seeds(now).give(model, number, now)
    for name in seeds:
        assert model.given[0][name] != model.given[1][name] != 7


@pytest.mark.parametrize("name", ["bagging_fraction", "subsample"])
def test_a_share_keeps_all_its_digits(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[Any] = []
    reset = lgb.Booster.reset_parameter

    def look(model: Any, values: dict[str, Any]) -> Any:
        set_to.append(values["bagging_fraction"])
        return reset(model, values)

    monkeypatch.setattr(lgb.Booster, "reset_parameter", look)
    others = {"lambda_l2": 0.6123456543}  # the same in six digits
    train(outlast.Run(tmp_path / "run"), rounds=2, bagging_freq=1, **others, **{name: 0.6123456789})
    assert set_to[1::2] == [0.6123456789] * 3


def test_the_rows_of_a_bag_stay_for_as_many_rounds_as_were_asked_for(tmp_path: Path) -> None:
    booster = train(outlast.Run(tmp_path / "run"), rounds=9, bagging_freq=3, bagging_fraction=0.5)
    rows = [tree["tree_structure"]["internal_count"] for tree in booster.dump_model()["tree_info"]]
    assert [len({*rows[at : at + 3]}) for at in (0, 3, 6)] == [1, 1, 1]
    assert len({*rows}) > 1


def test_a_finished_run_gives_its_booster_back_and_goes_on_with_more_rounds(tmp_path: Path) -> None:
    def once(rounds: int, folder: str = "run") -> Any:
        stopping = outlast.EarlyStopping(patience=50, restore_best_weights=True)
        return train(outlast.Run(tmp_path / folder, stopping), rounds=rounds, **KINDS["columns"])

    first = once(5)
    again = once(5)
    assert text(again) == text(first)
    assert (again.best_iteration, again.best_score) == (first.best_iteration, first.best_score)
    more, whole = once(9), once(9, "whole")
    assert text(more) == text(whole)
    assert (more.best_iteration, more.best_score) == (whole.best_iteration, whole.best_score)


@pytest.mark.parametrize("boosting", ["gbdt", "dart"])
@pytest.mark.parametrize("restores", [False, True])
def test_a_run_that_stopped_early_has_its_best_round_in_each_start(
    tmp_path: Path, boosting: str, restores: bool
) -> None:
    def once() -> Any:
        stopping = outlast.EarlyStopping(patience=3, restore_best_weights=restores)
        run = outlast.Run(tmp_path / "run", stopping)
        return train(run, rounds=40, learning_rate=0.9, boosting=boosting), stopping

    (first, _), (again, stopping) = once(), once()
    assert text(again) == text(first)
    assert again.best_iteration == again.num_trees() == stopping.best_epoch + 1
    assert again.best_score == first.best_score
    assert again.best_score["theirs"]["binary_logloss"] == stopping.best


def test_a_finished_run_without_a_best_round_has_all_and_names_none(tmp_path: Path) -> None:
    first, again = (train(outlast.Run(tmp_path / "run"), rounds=4) for _ in range(2))
    assert (again.num_trees(), again.best_iteration) == (4, first.best_iteration)
    assert again.best_score == first.best_score
    kept = train(outlast.Run(tmp_path / "run"), rounds=4, options={"keep_training_booster": True})
    assert (trees(kept), kept.current_iteration()) == (trees(first), 4)
    kept.update()


def test_a_best_round_of_an_earlier_start_is_cut_to(tmp_path: Path) -> None:
    def once(folder: str, after: int | None = None) -> Any:
        stopping = outlast.EarlyStopping(patience=4, restore_best_weights=True)
        run = outlast.Run(tmp_path / folder, [stopping, leaving(after)])
        return train(run, rounds=40, learning_rate=0.9), stopping

    whole, stopping = once("whole")
    with pytest.raises(Left):
        once("left", stopping.best_epoch + 3)
    found, _ = once("left")
    assert text(found) == text(whole)
    assert found.best_score == whole.best_score


@pytest.mark.parametrize("form", ["booster", "kept booster", "path", "str", "estimator"])
def test_a_model_to_go_on_from_is_not_counted(tmp_path: Path, form: str) -> None:
    before = train(rounds=3, options={"keep_training_booster": form == "kept booster"})
    before.save_model(tmp_path / "before.txt")
    classifier = lgb.LGBMClassifier(**BINARY, n_estimators=3, min_child_samples=5)
    forms = {
        **{"path": tmp_path / "before.txt", "str": str(tmp_path / "before.txt")},
        "estimator": classifier.fit(X[TRAINED], Y[TRAINED]),
    }

    def go_on(folder: str, after: int | None = None) -> Any:
        run = outlast.Run(tmp_path / folder, [outlast.EarlyStopping(patience=50), leaving(after)])
        given = resume_arguments(run, init_model=forms.get(form, before))
        return train(run, rounds=6, options=given, **KINDS["rows that stay"]), run

    whole, run = go_on("whole")
    with pytest.raises(Left):
        go_on("left", 3)
    found, other = go_on("left")
    assert (text(found), len(run.history.rows), len(other.history.rows)) == (text(whole), 6, 6)
    assert whole.best_iteration == found.best_iteration == other.best.epoch + 4
    again, _ = go_on("left")
    assert text(again) == text(whole)


def test_another_model_to_go_on_from_is_refused(tmp_path: Path) -> None:
    first, second = train(rounds=3), train(rounds=3, learning_rate=0.3)

    def go_on(*base: Any, folder: str = "run") -> Any:
        run = outlast.Run(tmp_path / folder, leaving(2))
        given = resume_arguments(run, *base)
        return train(run, rounds=6, options=given)

    for folder, base in {"run": [first], "plain": []}.items():
        with pytest.raises(Left):
            go_on(*base, folder=folder)
    with pytest.raises(RunChanged, match=r"was begun on another init_model, of 3 rounds"):
        go_on(second)
    with pytest.raises(
        RunChanged, match=r"on a model of 3 rounds, and now init_model is missing.*run, init_mo"
    ):
        go_on()
    with pytest.raises(RunChanged, match=r"was begun without init_model, and now there is one"):
        go_on(first, folder="plain")


def test_an_init_model_of_ones_own_in_place_of_that_of_the_run_is_refused(tmp_path: Path) -> None:
    in_a_run(tmp_path / "run", 4)
    other = train(rounds=4, learning_rate=0.3)
    with pytest.raises(RunChanged, match=r"init_model is another model\. Pass lgb\.train"):
        in_a_run(tmp_path / "run", options={"init_model": other})


def test_to_forget_the_arguments_of_a_resume_is_an_error_with_the_line_to_write(tmp_path: Path) -> None:
    in_a_run(tmp_path / "run", 4)
    line = r"lgb\.train\(\.\.\., callbacks=.*, \*\*outlast\.frameworks\.lightgbm\.resume_arguments\(run\)\)"
    with pytest.raises(UsageError, match=f"^The rounds that the run has saved are missing.*Pass {line}"):
        in_a_run(tmp_path / "run", options={"init_model": None})
    found, _ = in_a_run(tmp_path / "run")
    assert text(found) == text(in_a_run(tmp_path / "whole")[0])


def test_a_run_that_goes_back_before_a_loss_that_was_nan_takes_a_second_call(tmp_path: Path) -> None:
    def once(rate: float, nan_at: int | None = None) -> Any:
        left = iter(range(20))
        run = outlast.Run(tmp_path / "run", outlast.TerminateOnNaN(), accept_changes=["learning_rate"])
        return lgb.train(
            {**BINARY, "metric": "None", "learning_rate": rate},
            trained_on := data(TRAINED),
            12,
            valid_sets=[trained_on],
            feval=lambda predicted, given: ("own", float("nan") if next(left) == nan_at else 0.5, False),
            callbacks=callbacks(run),
            **resume_arguments(run),
        )

    assert once(0.1, nan_at=4).num_trees() == 5
    with pytest.raises(
        UsageError, match=r"has gone back to the resume point before: make the same call again"
    ):
        once(0.05)
    assert once(0.05).num_trees() == 12


def test_one_run_for_a_training_and_for_a_longer_one(tmp_path: Path) -> None:
    run = outlast.Run(tmp_path / "run", outlast.EarlyStopping(patience=50))
    train(run, rounds=4)
    more = train(run, rounds=9)
    assert (text(more), len(run.history.rows)) == (text(train(rounds=9)), 9)


def test_an_error_in_the_middle_and_the_same_call_again_in_one_process(tmp_path: Path) -> None:
    lives = [True]

    def fail(epoch: int, logs: Any) -> None:
        if epoch == 3 and lives:
            lives.pop()
            raise Left

    run = outlast.Run(tmp_path / "left", outlast.LambdaCallback(on_epoch_end=fail))
    with pytest.raises(Left):
        train(run, **KINDS["all"])
    left = train(run, **KINDS["all"])
    assert text(left) == text(train(outlast.Run(tmp_path / "whole"), **KINDS["all"]))
    assert len(run.history.rows) == 12


def test_an_error_of_another_callback_and_the_same_cell_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run's last save is not on the disk yet, when the second looks."""
    from outlast.run.folder_store import FolderStore

    commit = FolderStore._carry_out

    def slow(*args: Any) -> Any:
        time.sleep(0.1)
        return commit(*args)

    monkeypatch.setattr(FolderStore, "_carry_out", slow)
    lives = [True]

    def fail(env: Any) -> None:
        if env.iteration == 2 and lives:
            lives.pop()
            raise Left

    runs = [outlast.Run(tmp_path / "run", save_every=1) for _ in range(2)]
    with pytest.raises(Left):
        train(runs[0], rounds=4, more=[fail])
    assert text(train(runs[1], rounds=4, more=[fail])) == text(train(rounds=4))


# LightGBM writes these parameters, and cannot read them again.
BY_NAME = {"header": True, "label_column": "name:y", "ignore_column": "name:x1,x2"}


@pytest.mark.parametrize("gain", [0, 1e4], ids=["", "trees of one leaf"])
def test_columns_by_name_can_go_on_and_be_read(tmp_path: Path, gain: float) -> None:
    path = tmp_path / "data.csv"
    np.savetxt(path, np.column_stack([Y, X]), delimiter=",", header="y,x0,x1,x2,x3,x4,x5", comments="")

    def once(folder: str, after: int | None = None) -> Any:
        best = outlast.ModelCheckpoint(monitor="loss", save_best_only=True)
        run = outlast.Run(tmp_path / folder, [best, leaving(after)])
        trained_on = lgb.Dataset(path, params=BY_NAME)
        settings = {**BINARY, **BY_NAME, "min_gain_to_split": gain}
        given = {"callbacks": callbacks(run), **resume_arguments(run)}
        return lgb.train(settings, trained_on, 8, valid_sets=[trained_on], **given), run

    whole, run = once("whole")
    with pytest.raises(Left):
        once("left", 4)
    found, other = once("left")
    assert text(found) == text(whole)
    assert trees(other.load_best()) == trees(run.load_best()) != ""


CELL = """
run = outlast.Run(folder, outlast.EarlyStopping(patience=50))
found.append(train(run, rounds=rounds))
"""


def test_a_cell_that_is_run_again_gets_its_booster_back(tmp_path: Path) -> None:
    found: list[Any] = []
    names = {"outlast": outlast, "train": train, "found": found, "folder": tmp_path / "run", "rounds": 4}
    for names["rounds"] in (4, 4, 6):
        exec(compile(CELL, "<cell>", "exec"), names)
    assert text(found[0]) == text(found[1])
    assert [one.num_trees() for one in found] == [one.best_iteration for one in found]
    assert text(found[2]) == text(train(outlast.EarlyStopping(patience=50), rounds=6))


def test_an_estimator_goes_on(tmp_path: Path) -> None:
    def once(folder: str, after: int | None = None) -> Any:
        run = outlast.Run(tmp_path / folder, [outlast.EarlyStopping(patience=50), leaving(after)])
        classifier = lgb.LGBMClassifier(n_estimators=8, subsample=0.6, subsample_freq=1, **BINARY)
        sets = [(X[HELD_OUT], Y[HELD_OUT])]
        given = resume_arguments(run)
        return classifier.fit(X[TRAINED], Y[TRAINED], eval_set=sets, callbacks=callbacks(run), **given)

    whole = once("whole")
    with pytest.raises(Left):
        once("left", 3)
    found = once("left")
    assert text(found.booster_) == text(whole.booster_)
    assert (found.best_iteration_, found.best_score_) == (whole.best_iteration_, whole.best_score_)
    assert found.n_estimators_ == whole.n_estimators_


def test_save_every_counts_rounds(tmp_path: Path) -> None:
    committed: list[Any] = []
    run = outlast.Run(
        tmp_path / "run",
        outlast.LambdaCallback(on_epoch_end=lambda *_: (run.flush(), committed.append(run.committed))),
        save_every=4,
    )
    train(run, rounds=10)
    assert committed == [None] * 4 + [(3, None)] * 4 + [(7, None)] * 2
    assert run.committed == (9, None)
    assert len(run.history.rows) == 10


def test_a_signal_ends_after_the_round_with_a_save_there(tmp_path: Path) -> None:
    import signal

    def interrupt(epoch: int, logs: Any) -> None:
        if epoch == 5:
            signal.raise_signal(signal.SIGINT)

    run = outlast.Run(tmp_path / "run", outlast.LambdaCallback(on_epoch_end=interrupt), save_every=100)
    with pytest.raises(KeyboardInterrupt):
        train(run, rounds=10)
    assert (run.committed, run.status) == ((5, None), "interrupted")


def test_who_else_stops_the_training_finishes_the_run(tmp_path: Path) -> None:
    run = outlast.Run(tmp_path / "run", outlast.EarlyStopping(patience=50, restore_best_weights=True))
    train(run, more=[Stops(7)])
    assert (run.finished, len(run.history.rows)) == (True, 3)
    assert "stopped" in str(run.stopped)


@pytest.mark.parametrize("rounds", [3, 9])
def test_the_best_round_that_somebody_else_has_named_is_that_of_each_start(
    tmp_path: Path, rounds: int
) -> None:
    first, again = (train(outlast.Run(tmp_path / "run"), rounds=rounds, more=[Stops(7)]) for _ in range(2))
    assert (first.num_trees(), first.best_iteration) == (2, 2)
    assert (text(again), again.best_iteration, again.best_score) == (text(first), 2, first.best_score)


def test_what_others_say_of_a_round_that_is_none_does_not_count(tmp_path: Path) -> None:
    for _ in range(2):
        booster = train(outlast.Run(tmp_path / "run"), rounds=2, more=[Stops(7)])
        assert (booster.num_trees(), booster.best_iteration) == (2, 0)


def test_other_data_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    in_a_run(tmp_path / "run", 4)
    run = outlast.Run(tmp_path / "run")
    with pytest.raises(lgb.basic.LightGBMError, match="number of features"):
        lgb.train(BINARY, lgb.Dataset(X[:, :2], Y), 9, callbacks=callbacks(run), **resume_arguments(run))


def test_a_best_model_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "best.txt"
    path.write_text("tree\nversion=v4\n")
    with pytest.raises(DamagedFile, match=r"best\.txt is damaged"):
        outlast.frameworks.base.load_file(str(path))


def test_changed_parameters_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_a_run(tmp_path / "run", 4)
    capsys.readouterr()
    in_a_run(tmp_path / "run", 6, lambda_l2=2, num_leaves=5, scale_pos_weight=3, seed=4, extra_seed=9)
    said = capsys.readouterr().out
    for name in ("lambda_l2", "num_leaves", "scale_pos_weight", "seed", "extra_seed"):
        assert said.count(f"; {name} ") == 1, said
    assert "bagging_seed" not in said


def test_what_a_callback_sets_stays(tmp_path: Path) -> None:
    class Shallow(outlast.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                self.model.reset_parameter({"num_leaves": 2, "bagging_fraction": 0.6})

    rate = outlast.LearningRateScheduler(lambda epoch, rate: rate * 0.9)
    run = outlast.Run(tmp_path / "run", [Shallow(), rate])
    booster = train(run, rounds=6, bagging_freq=1, subsample=0.8)
    grown = booster.dump_model()["tree_info"]
    leaves = [tree["num_leaves"] for tree in grown]
    rows = [tree["tree_structure"]["internal_count"] for tree in grown]
    assert (min(leaves[:3]) > 2, leaves[3:]) == (True, [2, 2, 2])
    assert min(rows[:3]) > 140 > max(rows[3:])


def own(env: Any) -> None:
    """Remembers nothing."""


class Own:
    """Counts rounds."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, env: Any) -> None:
        self.count += 1

    def of(self, env: Any) -> None:
        self(env)


INEXACT: dict[str, tuple[dict[str, Any], str]] = {
    "dart": ({"boosting": "dart"}, "boosting='dart' drops no trees"),
    "goss": ({"data_sample_strategy": "goss", "learning_rate": 0.5}, "goss uses all rows"),
    "goss by its older name": ({"boosting": "goss"}, "goss uses all rows"),
    "quantized": ({"use_quantized_grad": True}, "pass stochastic_rounding=False"),
    "linear": ({"linear_tree": True, "objective": "l2"}, "linear_tree=True"),
    "coupled": ({"cegb_penalty_feature_coupled": [5.0] * 6}, "cegb_penalty_feature_coupled"),
    "lazy": ({"cegb_penalty_feature_lazy": [0.01] * 6}, "cegb_penalty_feature_lazy"),
    "xendcg": ({"objective": "rank_xendcg", "group": [10] * 20}, "rank_xendcg"),
    "positions": (
        {"objective": "lambdarank", "group": [10] * 20, "position": [*range(10)] * 20},
        "the biases of positions",
    ),
    "init_score": ({"init_score": np.linspace(-1, 1, 200)}, "a Dataset has an init_score"),
    "forced": ({"forcedsplits_filename": "forced.json"}, "forcedsplits_filename"),
}


@pytest.mark.parametrize("kind", INEXACT)
def test_what_is_not_exact_is_said_before_the_first_round_and_is_not(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("forced.json").write_text('{"feature": 3, "threshold": 0.5}')
    settings, named = INEXACT[kind]
    of_data = {name: settings[name] for name in ("group", "position", "init_score") if name in settings}
    settings = {name: value for name, value in settings.items() if name not in of_data}

    def once(folder: str, after: int | None = None) -> str:
        run = outlast.Run(folder, leaving(after))
        trained_on = data(TRAINED, **of_data)
        given = resume_arguments(run)
        return trees(lgb.train(BINARY | settings, trained_on, 12, callbacks=callbacks(run), **given))

    whole = once("whole")
    [line] = [line for line in capsys.readouterr().out.splitlines() if "would not be exact" in line]
    assert named in line
    with pytest.raises(Left):
        once("left", 6)
    found = once("left")
    [first, again] = [line for line in capsys.readouterr().out.splitlines() if "would not be exact" in line]
    assert (named in first, named in again) == (True, True)
    if kind != "goss by its older name":  # its first ten rounds are whole
        assert found != whole


def above(limit: Any) -> Any:
    """A metric that closes over something, and remembers nothing."""
    return lambda predicted, given: ("above", float(np.mean(predicted > limit)), True)


class Objective:
    """Counts its calls."""

    calls = 0

    def __call__(self, predicted: Any, given: Any) -> Any:
        self.calls += 1
        return own_objective(predicted, given)


def test_what_remembers_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(name: str, **given: Any) -> str:
        train(outlast.Run(tmp_path / name), rounds=2, **given)
        return capsys.readouterr().out

    silent = [own, lgb.log_evaluation(0), lgb.record_evaluation({}), Stops(7)]
    metrics = {"feval": [above(0.5)]}
    assert "would not be exact" not in said("silent", more=silent, objective=own_objective, options=metrics)
    told = "would not be exact: what {} remembers is not saved: "
    assert told.format("Own") + "use a callback of outlast" in said("callback", more=[Own()])
    assert told.format("of") in said("method", more=[Own().of])
    found = said("objective", objective=Objective(), metric="auc")
    assert told.format("Objective") + "compute from the arguments alone" in found
    assert told.format("<lambda>") in said("metric", options={"feval": above([0.5])})


def test_the_arguments_of_another_run_are_refused(tmp_path: Path) -> None:
    runs = [outlast.Run(tmp_path / name) for name in "ab"]
    train(runs[0], rounds=2)
    given = {"callbacks": callbacks(runs[1]), **resume_arguments(runs[0])}
    with pytest.raises(UsageError, match=r"init_model is that of another Run, in .*a: pass the same run"):
        lgb.train(BINARY, data(TRAINED), 4, **given)
