"""Which way is better, and by how much."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from outlast.core.monitor import Direction, Mode, Monitor, direction_of, mode_problem, with_hint
from outlast.exceptions import ArgumentError, UnknownDirection

INF, NAN = math.inf, math.nan

DOWN = """
    loss losses error errors err mae mse rmse mape msle msd nll bce ce crossentropy entropy hinge kl kld
    divergence perplexity ppl logloss logcosh huber poisson wer cer fid distance regret
"""
UP = """
    accuracy acc auc auroc auprc aucpr roc precision recall sensitivity specificity f1 f2 fbeta fscore iou
    miou jaccard dice r2 correlation corr pearson spearman kendall mcc kappa similarity map ndcg mrr bleu
    rouge meteor psnr ssim tpr tnr
"""


@pytest.mark.parametrize("word", DOWN.split())
def test_these_words_go_down(word: str) -> None:
    assert direction_of(word) == "min"


@pytest.mark.parametrize("word", UP.split())
def test_these_words_go_up(word: str) -> None:
    assert direction_of(word) == "max"


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("val_loss", "min"),
        ("val_decoder_accuracy", "max"),
        ("accuracy_loss", "min"),
        ("loss_of_accuracy", None),
        ("mean_absolute_error", "min"),
        ("word_error_rate", "min"),
        ("val/f1-score", "max"),
        ("valLoss", "min"),
        ("BinaryAccuracy", "max"),
        ("MSE", "min"),
        ("AUC", "max"),
        ("top 5 acc", "max"),
        ("temperature", None),
        ("learning_rate", None),
        ("lossy", None),
        ("mse2", None),
        ("", None),
    ],
)
def test_the_known_words_decide_if_no_other_may_turn_them(name: str, direction: str | None) -> None:
    assert direction_of(name) == direction


# Names that people use: scikit-learn's scorers, classes and defaults of torchmetrics, Keras, Lightning,
# Hugging Face, XGBoost, LightGBM, Ultralytics, and what issues and scripts monitor.
GOES_DOWN = """
    val_loss train_loss_step train_loss_epoch test/loss train.loss validation_loss avg_val_loss epoch_loss
    total_loss reconstruction_loss kl_loss dice_loss val_dice_loss jaccard_distance focal_loss triplet_loss
    accuracy_loss mean_squared_error root_mean_squared_error mean_squared_logarithmic_error
    mean_absolute_percentage_error MeanSquaredError MeanAbsoluteError WordErrorRate CalibrationError
    HammingDistance KLDivergence Perplexity log_loss logcosh categorical_hinge squared_hinge kl_divergence
    binary_crossentropy sparse_categorical_crossentropy cross_entropy nll eval_loss eval_wer eval_cer
    eval_perplexity rmse rmsle mae mape logloss error error@0.7 merror mlogloss binary_logloss binary_error
    multi_logloss multi_error huber poisson loss(train)
"""
GOES_UP = """
    val_accuracy val_acc valid_acc train/acc_epoch balanced_accuracy top_k_accuracy top_1_acc top-5-accuracy
    class_0_accuracy val_sparse_top_k_categorical_accuracy average_precision f1 f1_micro f1_weighted
    precision_macro recall_samples jaccard_micro roc_auc roc_auc_ovr roc_auc_ovo_weighted r2 BinaryAccuracy
    MulticlassF1Score MulticlassAUROC CohenKappa MatthewsCorrCoef PearsonCorrCoef JaccardIndex BLEUScore
    R2Score Dice cosine_similarity auc_1 val_auc_2 precision_at_recall sensitivity_at_specificity f1_score
    fbeta_score eval_accuracy eval_f1 eval_bleu eval_rouge1 eval_rougeL eval_matthews_correlation
    eval_pearson eval_spearmanr auc aucpr ndcg map ndcg@10 map@5 ndcg@10- IoU mIoU mAP val_dice_coef
    dice_coeff iou_score recall@5 recall_at_1 mrr acc@1 val_f1-score psnr ssim mean_average_precision
"""
IS_ASKED_FOR = """
    val_neg_mean_squared_error neg_log_loss neg_brier_score neg_max_error neg_root_mean_squared_error
    negative_loss minus_loss inverse_loss -loss val_-loss 1/loss loss_reduction loss_improvement loss_scale
    loss_weight loss_ratio loss_std loss_score loss-val_loss val_loss_minus_train_loss val_train_loss_ratio
    error_free_rate error_reduction error_tolerance error_recovery accuracy_gap accuracy_drop accuracy_std
    accuracy_decrease accuracy_regression accuracy_cost acc_diff loss_of_accuracy 1-auc val_1-auc
    100-accuracy 1_class_auc one_minus_auc delta_auc ΔAUC excess_error unexplained_error attack_accuracy
    forgetting_accuracy non_accuracy d2_log_loss_score d2_absolute_error_score brier_score fid_score
    log_likelihood negative_log_likelihood neg_elbo reward eval_runtime eval_samples_per_second
    false_positives true_positives learning_rate loss_scheduler entropy_bonus lossless gamma-nloglik
    validation_0-auc
"""


@pytest.mark.parametrize("name", GOES_DOWN.split())
def test_names_that_people_use_and_that_go_down(name: str) -> None:
    assert direction_of(name) == "min"


@pytest.mark.parametrize("name", GOES_UP.split())
def test_names_that_people_use_and_that_go_up(name: str) -> None:
    assert direction_of(name) == "max"


@pytest.mark.parametrize("name", [*IS_ASKED_FOR.split(), "loss - val_loss", "accuracy (1 - error)"])
def test_a_word_or_sign_that_may_turn_the_direction_is_asked_for(name: str) -> None:
    assert direction_of(name) is None
    with pytest.raises(UnknownDirection, match="Pass mode='max' if higher is better, or mode='min'"):
        Monitor(name).direction()


# min_delta, mode of it, value, than, better when it should go down, better when up
BETTER: list[tuple[float, str, float, float | None, bool, bool]] = [
    (0.0, "abs", 0.5, 1.0, True, False),
    (0.0, "abs", 1.0, 0.5, False, True),
    (0.0, "abs", 1.0, 1.0, False, False),
    (0.0, "abs", 1.0 - 2**-40, 1.0, True, False),
    (0.0, "abs", 1.0 + 2**-40, 1.0, False, True),
    (0.25, "abs", 0.75, 1.0, False, False),
    (0.25, "abs", 0.7499, 1.0, True, False),
    (0.25, "abs", 1.25, 1.0, False, False),
    (0.25, "abs", 1.2501, 1.0, False, True),
    (0.25, "abs", 0.9, 1.0, False, False),
    (0.25, "abs", -1.25, -1.0, False, False),
    (0.25, "abs", -1.2501, -1.0, True, False),
    (0.5, "rel", 1.0, 2.0, False, False),
    (0.5, "rel", 0.999, 2.0, True, False),
    (0.5, "rel", 3.0, 2.0, False, False),
    (0.5, "rel", 3.001, 2.0, False, True),
    (0.5, "rel", -3.0, -2.0, False, False),
    (0.5, "rel", -3.001, -2.0, True, False),
    (0.5, "rel", -1.0, -2.0, False, False),
    (0.5, "rel", -0.999, -2.0, False, True),
    (0.5, "rel", 0.001, 0.0, False, True),
    (0.5, "rel", 5.0, INF, True, False),
    (0.5, "rel", 5.0, -INF, False, True),
    (0.0, "abs", 5.0, INF, True, False),
    (0.0, "abs", INF, INF, False, False),
    (0.0, "abs", -INF, 5.0, True, False),
    (0.0, "abs", 5.0, None, True, True),
    (0.0, "abs", INF, None, True, True),
    (9.0, "abs", 5.0, None, True, True),
    (9.0, "rel", 5.0, None, True, True),
    (0.0, "abs", NAN, None, False, False),
    (0.0, "abs", NAN, 1.0, False, False),
    (0.0, "abs", NAN, INF, False, False),
]


@pytest.mark.parametrize(("min_delta", "threshold_mode", "value", "than", "down", "up"), BETTER)
def test_better_is_strictly_more_than_min_delta_and_never_nan(
    min_delta: float, threshold_mode: Any, value: float, than: float | None, down: bool, up: bool
) -> None:
    monitor = Monitor("m", "auto", min_delta, threshold_mode)
    assert monitor.better(value, than, "min") is down
    assert monitor.better(value, than, "max") is up


def test_values_are_compared_in_float64() -> None:
    assert Monitor().better(0.99999999, 1.0, "min")
    assert Monitor().better(16777217.0, 16777216.0, "max")


def test_the_defaults_are_those_of_keras() -> None:
    monitor = Monitor()
    assert (monitor.name, monitor.mode, monitor.min_delta, monitor.threshold_mode) == (
        "val_loss", "auto", 0.0, "abs",
    )  # fmt: skip


@pytest.mark.parametrize(("given", "kept"), [(-0.5, 0.5), (0.5, 0.5), (1, 1.0), (np.float32(0.5), 0.5)])
def test_the_sign_of_min_delta_is_ignored(given: Any, kept: float) -> None:
    min_delta = Monitor(min_delta=given).min_delta
    assert (min_delta, type(min_delta)) == (kept, float)


@pytest.mark.parametrize("name", ["", None, 3, b"loss"])
def test_a_monitor_has_a_name(name: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        Monitor(name)
    assert str(caught.value) == f"monitor must be the name of a metric, such as 'val_loss', but is {name!r}."


def test_a_threshold_mode_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(ArgumentError) as caught:
        Monitor(threshold_mode="reel")  # type: ignore[arg-type]
    assert str(caught.value) == "threshold_mode must be 'abs' or 'rel', but is 'reel'. Did you mean 'rel'?"


def test_a_threshold_mode_that_is_no_word_is_refused_too() -> None:
    with pytest.raises(ArgumentError, match="threshold_mode must be 'abs' or 'rel', but is 3"):
        Monitor(threshold_mode=3)  # type: ignore[arg-type]


def test_a_min_delta_that_is_no_number_is_refused() -> None:
    with pytest.raises(ArgumentError, match="min_delta must be a number, but is 'small'"):
        Monitor(min_delta="small")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "mode", "told", "direction"),
    [
        ("val_loss", "max", "min", "max"),
        ("accuracy", "min", "max", "min"),
        ("val_loss", "auto", "max", "max"),
        ("accuracy", "auto", "min", "min"),
        ("temperature", "auto", "max", "max"),
        ("val_loss", "auto", None, "min"),
        ("accuracy", "auto", None, "max"),
        ("temperature", "min", None, "min"),
    ],
)
def test_the_mode_is_heard_first_then_the_framework_then_the_name(
    name: str, mode: Mode, told: Direction | None, direction: str
) -> None:
    assert Monitor(name, mode).direction(told) == direction


def unknown(**context: Any) -> str:
    with pytest.raises(UnknownDirection) as caught:
        Monitor("temperature").direction(**context)
    return str(caught.value)


def test_a_direction_that_nobody_knows_is_asked_for() -> None:
    text = unknown(who="EarlyStopping", available=["temperatures", "loss"])
    assert text.startswith("EarlyStopping monitors 'temperature', but ")
    assert "Pass mode='max' if higher is better, or mode='min'" in text
    assert text.endswith("Available metrics: temperatures, loss. Did you mean 'temperatures'?")


def test_the_question_is_short_where_nothing_else_is_known() -> None:
    text = unknown()
    assert text.startswith("A callback monitors 'temperature', but ")
    assert "Metrics" not in text
    assert text.endswith(".")


@pytest.mark.parametrize("mode", ["auto", "min", "max"])
def test_a_known_mode_is_no_problem(mode: str) -> None:
    assert mode_problem(mode, "EarlyStopping") is None


def test_an_unknown_mode_is_told_in_the_words_of_keras_and_with_the_nearest() -> None:
    assert mode_problem("mni", "EarlyStopping") == (
        "EarlyStopping mode 'mni' is unknown, fallback to auto mode. Did you mean 'min'?"
    )
    assert mode_problem(3, "ModelCheckpoint") == "ModelCheckpoint mode '3' is unknown, fallback to auto mode."


@pytest.mark.parametrize(
    ("monitor", "available", "meant"),
    [
        ("val_acc", ["loss", "accuracy", "val_loss", "val_accuracy"], "val_accuracy"),
        ("acc", ["loss", "accuracy"], "accuracy"),
        ("val_los", ["loss", "val_loss"], "val_loss"),
        ("validation_loss", ["loss", "val_loss"], "val_loss"),
    ],
)
def test_a_missing_metric_is_answered_with_the_one_that_was_meant(
    monitor: str, available: list[str], meant: str
) -> None:
    for warning in ("It is missing.", "It is missing"):
        assert with_hint(warning, monitor, available) == f"It is missing. Did you mean {meant!r}?"


@pytest.mark.parametrize(
    ("monitor", "available"), [("val_loss", ["loss", "accuracy"]), ("val_accuracy", ["accuracy"])]
)
def test_a_validation_metric_is_never_mistaken_for_one_of_training(
    monitor: str, available: list[str]
) -> None:
    hint = f" Nothing was validated: pass validation_data to fit, or call run.log({monitor}=...)."
    for warning in ("It is missing.", "It is missing"):
        assert with_hint(warning, monitor, available) == "It is missing." + hint


@pytest.mark.parametrize(("monitor", "available"), [("loss", []), ("iou", ["loss"])])
def test_where_no_metric_is_similar_there_is_no_hint(monitor: str, available: list[str]) -> None:
    for warning in ("It is missing.", "It is missing"):
        assert with_hint(warning, monitor, available) == warning


def test_a_name_that_is_there_is_no_hint_for_itself() -> None:
    with pytest.raises(UnknownDirection) as caught:
        Monitor("val_a_loss").direction(available=["val_a_loss", "val_b_loss"])
    assert "Did you mean" not in str(caught.value)
