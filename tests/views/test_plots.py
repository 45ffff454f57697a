"""The picture of a history: what is drawn where, what is marked, and how it is written.

The figures are read through matplotlib's own objects; nobody compares pixels.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from outlast.core.metrics import Metrics
from outlast.exceptions import ArgumentError, FileError, MissingExtra, UnknownDirection
from outlast.views.plots import plot_history

NAN, INF = math.nan, math.inf

DIGITS = Metrics.from_columns(
    {
        "accuracy": [0.6, 0.9, 0.95, 0.99, 1.0, 1.0],
        "learning_rate": [0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025],
        "loss": [1.1, 0.3, 0.2, 0.1, 0.05, 0.02],
        "val_accuracy": [0.8, 0.9, 0.95, 0.97, 0.96, 0.96],
        "val_loss": [0.4, 0.3, 0.2, 0.1, 0.15, 0.16],
    }
)


def legend(axes: Any) -> list[str]:
    box = axes.get_legend()
    return [text.get_text() for text in box.get_texts()] if box else []


def line(axes: Any, label: str) -> Any:
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return found


def points(axes: Any, label: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in line(axes, label).get_xydata()]


def texts(picture: Any) -> list[str]:
    return [text.get_text() for text in picture.texts]


def drawn(picture: Any) -> Any:
    """Draw it in memory: warnings (missing glyphs, bad limits) are errors here."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(picture)
    canvas.draw()
    return canvas.get_renderer()


def test_losses_stand_on_top_then_accuracy_then_the_rate_on_a_log_axis():
    picture = plot_history(DIGITS)
    assert [axes.get_ylabel() for axes in picture.axes] == ["loss", "accuracy", "learning rate"]
    assert [axes.get_yscale() for axes in picture.axes] == ["linear", "linear", "log"]
    assert [axes.get_xlabel() for axes in picture.axes] == ["", "", "epoch"]
    bottoms = [axes.get_position().y0 for axes in picture.axes]
    assert bottoms == sorted(bottoms, reverse=True)


def test_epochs_are_counted_from_one_on_one_axis():
    picture = plot_history(DIGITS)
    assert points(picture.axes[0], "loss")[0] == (1, 1.1)
    assert points(picture.axes[0], "val_loss")[-1] == (6, 0.16)
    assert {axes.get_xlim() for axes in picture.axes} == {(0.5, 6.5)}
    assert list(picture.axes[-1].get_xticks()) == [1, 2, 3, 4, 5, 6]


def test_the_best_epoch_is_marked_with_its_value():
    top = plot_history(DIGITS).axes[0]
    assert points(top, "best (epoch 4)") == [(4, 0.1)]
    assert [text.get_text() for text in top.texts] == ["0.1"]


def test_the_best_is_marked_where_it_is_judged():
    picture = plot_history(DIGITS, monitor="val_accuracy")
    assert points(picture.axes[1], "best (epoch 4)") == [(4, 0.97)]
    assert "best (epoch 4)" not in legend(picture.axes[0])
    assert texts(picture)[0] == "val_accuracy was best at epoch 4: 0.97"


def test_the_best_epoch_can_be_given():
    top = plot_history(DIGITS, best=1).axes[0]
    assert points(top, "best (epoch 2)") == [(2, 0.3)]


def test_the_stop_is_marked_through_all_panels_and_told_on_top():
    picture = plot_history(DIGITS, stopped=5)
    assert legend(picture.axes[0]) == ["loss", "val_loss", "best (epoch 4)", "stopped after epoch 6"]
    assert legend(picture.axes[1]) == ["accuracy", "val_accuracy"]
    for axes in picture.axes:
        dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert [list(line.get_xdata()) for line in dashed] == [[6, 6]]


def test_without_a_stop_the_last_epoch_is_no_more_than_that():
    assert legend(plot_history(DIGITS).axes[0])[-1] == "last epoch 6"


def test_a_stop_after_the_last_row_is_within_the_picture():
    assert plot_history(DIGITS, stopped=7).axes[0].get_xlim() == (0.5, 8.5)


def test_the_rate_falls_in_steps_between_two_epochs_and_its_cuts_are_marked():
    rate = plot_history(DIGITS).axes[2]
    assert points(rate, "cut after epoch") == [(2.5, 0.005), (4.5, 0.0025)]
    assert [text.get_text() for text in rate.texts] == ["2", "4"]
    steps = [(float(x), float(y)) for x, y in rate.lines[0].get_xydata()]
    assert steps[2:6] == [(1.5, 0.01), (2.5, 0.01), (2.5, 0.005), (3.5, 0.005)]
    assert [f"{tick:g}" for tick in rate.get_yticks()] == ["0.0025", "0.005", "0.01"]


def test_the_title_is_the_result_and_the_line_below_what_happened():
    assert texts(plot_history(DIGITS)) == [
        "val_loss was best at epoch 4: 0.1",
        "6 epochs · learning rate cut after epochs 2 and 4",
    ]
    assert texts(plot_history(DIGITS, title="Digits")) == [
        "Digits",
        "val_loss was best at epoch 4: 0.1 · 6 epochs · learning rate cut after epochs 2 and 4",
    ]


def test_a_schedule_of_many_cuts_is_drawn_without_marks():
    rates = [0.01 * 0.9**epoch for epoch in range(20)]
    picture = plot_history(Metrics.from_columns({"loss": [1.0] * 20, "learning_rate": rates}))
    assert legend(picture.axes[1]) == []
    assert texts(picture)[1] == "20 epochs"


ONE_CYCLE = [0.002, 0.006, 0.01, 0.008, 0.005, 0.002, 0.0001]


@pytest.mark.parametrize(
    ("rates", "marked"),
    [
        (ONE_CYCLE, []),
        ([0.5, 0.4, 0.3, 0.2], []),
        ([0.5, 0.4, 0.3, 0.3], [1, 2]),
        ([0.5, 0.4, 0.4, 0.3, 0.2, 0.2, 0.1], [1, 3, 4, 6]),
    ],
)
def test_a_rate_that_falls_three_epochs_in_a_row_follows_a_schedule_and_is_not_called_cut(rates, marked):
    picture = plot_history(Metrics.from_columns({"loss": [1.0] * len(rates), "learning_rate": rates}))
    axes = picture.axes[1]
    triangles = points(axes, "cut after epoch") if legend(axes) else []
    assert [x - 0.5 for x, _ in triangles] == marked
    assert ("cut after" in texts(picture)[1]) is bool(marked)


def test_several_rates_share_a_panel_under_their_own_names():
    metrics = Metrics.from_columns(
        {"loss": [1, 1], "learning_rate_body": [1e-4, 1e-5], "learning_rate_head": [1e-2, 1e-3]}
    )
    axes = plot_history(metrics).axes[1]
    assert legend(axes) == ["body", "head", "cut after epoch"]
    assert points(axes, "cut after epoch") == [(1.5, 1e-5), (1.5, 1e-3)]
    assert [text.get_text() for text in axes.texts] == ["1"]  # of both


def test_of_many_rates_the_first_are_named():
    metrics = Metrics.from_columns({f"learning_rate_{n}": [0.1] for n in range(12)})
    (axes,) = plot_history(metrics).axes
    assert legend(axes) == ["0", "1", "2", "3", "4", "and 7 more", "last epoch 1"]
    assert len({line.get_color() for line in axes.lines[:6]}) == 6


def test_a_rate_of_zero_gets_a_linear_axis():
    picture = plot_history(Metrics.from_columns({"loss": [1, 1], "learning_rate": [0.0, 0.1]}))
    assert picture.axes[1].get_yscale() == "linear"


def test_without_rate_or_validation_there_is_one_panel_with_one_curve():
    picture = plot_history(Metrics.from_columns({"loss": [3, 2, 1]}))
    assert len(picture.axes) == 1
    assert legend(picture.axes[0]) == ["loss", "best (epoch 3)", "last epoch 3"]
    assert picture.axes[0].xaxis.get_tick_params()["labelbottom"]


def test_losses_that_explode_get_a_log_axis():
    assert plot_history(Metrics.from_columns({"loss": [2, 2, 4e14]})).axes[0].get_yscale() == "log"


def test_what_is_not_finite_is_crossed_at_the_upper_edge_and_told_once():
    metrics = Metrics.from_columns({"loss": [1.0, NAN, INF, 2.0], "val_loss": [1.0, 1.0, NAN, 2.0]})
    axes = plot_history(metrics).axes[0]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[2, 3], [3]]
    assert legend(axes).count("NaN or infinite") == 1
    assert math.isnan(points(axes, "loss")[1][1])


def test_at_most_three_further_metrics_are_drawn_and_the_others_named():
    metrics = Metrics.from_columns({name: [1.0, 2.0] for name in ("a", "b", "c", "d", "e", "loss")})
    picture = plot_history(metrics)
    assert [axes.get_ylabel() for axes in picture.axes] == ["loss", "a", "b", "c"]
    assert texts(picture)[-1] == "not drawn: d, e"
    judged = plot_history(metrics, monitor="e", best=1)
    assert [axes.get_ylabel() for axes in judged.axes] == ["loss", "e", "a", "b"]


def test_names_are_neither_mathematics_nor_long_nor_hidden_nor_control_characters():
    name = "val_$x^2$_of_a_metric_with_a_name_that_never_ends_and_goes_on"
    metrics = Metrics.from_columns({name: [1.0], "_auc": [1.0], "a\x1b[31m$b$": [1.0]})
    picture = plot_history(metrics, monitor=name, best=0, title="costs $5 and $6")
    assert legend(picture.axes[0])[0] == "val_$x^2$_of_a_metric_with_a_name_tha..."
    assert legend(picture.axes[1]) == [" _auc"]
    assert legend(picture.axes[2]) == [r"a\x1b[31m$b$"]
    assert not any(text.get_parse_math() for axes in picture.axes for text in axes.get_legend().texts)
    assert not picture.texts[0].get_parse_math()
    drawn(picture)


LONG = "decoder_weighted_sparse_categorical_accuracy"
OVERLAPS = {
    "digits": (DIGITS, {"stopped": 5}),
    "one epoch": (Metrics.from_rows([DIGITS.rows[0]]), {}),
    "long names": (
        Metrics.from_columns({LONG: [1, 2], f"val_{LONG}": [1, 2], f"train_{LONG}": [2, NAN]}),
        {"stopped": 1, "monitor": f"val_{LONG}", "title": "x" * 200},
    ),
    "best in the upper right corner": (
        Metrics.from_columns({"val_accuracy": [k / 100 for k in range(100)]}),
        {},
    ),
    "best in the lower left corner": (
        Metrics.from_columns({"loss": [0.123456 + k for k in range(100)]}),
        {},
    ),
    "tiny differences": (Metrics.from_columns({"loss": [0.6931471, 0.6931472, 0.69314715]}), {}),
    "large numbers": (Metrics.from_columns({"loss": [-1.23e299, 1.17e299], "mae": [1e-300, 0]}), {}),
    "odd rates": (
        Metrics.from_columns({"loss": [1] * 5, "learning_rate": [0.00123456 * 0.7**k for k in range(5)]}),
        {},
    ),
    "many rates": (
        Metrics.from_columns({f"learning_rate_{LONG}_{n}": [0.1 / (n + 1)] * 3 for n in range(12)}),
        {},
    ),
    "cuts close together": (
        Metrics.from_columns(
            {"loss": [1] * 99, "learning_rate": [0.5 ** max(0, (k - 83) // 2) for k in range(99)]}
        ),
        {},
    ),
}


@pytest.mark.parametrize(("metrics", "options"), OVERLAPS.values(), ids=OVERLAPS.keys())
def test_no_text_leaves_the_picture_or_covers_another(metrics, options):
    picture = plot_history(metrics, **options)
    renderer = drawn(picture)
    page = picture.bbox
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in visible_texts(picture)]
    for text, box in boxes:
        assert page.x0 <= box.x0 <= box.x1 <= page.x1, text
        assert page.y0 <= box.y0 <= box.y1 <= page.y1, text
    for index, (text, box) in enumerate(boxes):
        for other, other_box in boxes[:index]:
            assert not box.overlaps(other_box), (text, other)


def visible_texts(picture: Any) -> list[Any]:
    """Headings, labels, marks, legends, and the ticks within their axes."""
    found = [text for text in picture.texts if text.get_text()]
    for axes in picture.axes:
        found += [axes.yaxis.label, *axes.texts]
        found += axes.get_legend().get_texts() if axes.get_legend() else []
        low, high = sorted(axes.get_ylim())
        for tick, place in zip(axes.yaxis.get_major_ticks(), axes.get_yticks(), strict=True):
            found += [tick.label1] if low <= place <= high else []
    last = picture.axes[-1]
    return [*found, last.xaxis.label, *last.get_xticklabels()]


@pytest.mark.parametrize(
    "metrics",
    [
        Metrics.from_csv(""),
        Metrics.from_csv("epoch,note\r\n0,text\r\n"),
        Metrics.from_columns({"loss": [NAN, INF, -INF]}),
        Metrics.from_columns({"learning_rate": [0.1]}),
        Metrics.from_columns({"loss": [5e-324, 1e200, 1e308], "learning_rate": [5e-324, 1e200, NAN]}),
        Metrics.from_columns({"loss": [3, 2, 5]}, [0, 1, 0]),
        Metrics.from_columns({"loss": [0.0] * 100_0}),
    ],
    ids=["empty", "text only", "never finite", "rate only", "extreme", "resumed", "flat"],
)
def test_odd_histories_are_drawn_without_a_warning(metrics):
    drawn(plot_history(metrics))


def test_a_history_without_numbers_says_so():
    picture = plot_history(Metrics.from_csv(""))
    assert texts(picture)[0] == "No epochs yet"
    assert [text.get_text() for text in picture.axes[0].texts] == ["no numbers to draw"]


def test_ten_thousand_epochs_are_thinned_but_keep_their_peaks():
    losses = [1.0] * 10_000
    losses[7_777], losses[3_333] = 9.0, 0.1
    metrics = Metrics.from_columns({"loss": losses, "learning_rate": [0.1] * 10_000})
    axes = plot_history(metrics).axes[0]
    ys = [y for _, y in points(axes, "loss")]
    assert len(ys) <= 2000
    assert (min(ys), max(ys)) == (0.1, 9.0)
    assert points(axes, "best (epoch 3334)") == [(3334, 0.1)]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "PNG"])
def test_the_picture_is_written_whole_in_the_format_of_its_suffix(tmp_path, suffix):
    path = tmp_path / f"history.{suffix}"
    assert plot_history(DIGITS, path) is None
    assert os.listdir(tmp_path) == [path.name]
    if suffix == "svg":
        assert ET.parse(path).getroot().tag.endswith("svg")
    elif suffix == "pdf":
        assert path.read_bytes().startswith(b"%PDF-")
        assert path.read_bytes().rstrip().endswith(b"%%EOF")
    else:
        from matplotlib.image import imread

        pixels = imread(path, format="png")
        assert pixels.shape[1] == 1280
        assert pixels[:, :, :3].min() < 0.2 < 0.99 < pixels[0, 0, :3].min()


def test_a_write_that_fails_leaves_the_old_picture_and_names_the_path(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def torn(self: Figure, name: str, **options: Any) -> None:
        Path(name).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    path = tmp_path / "history.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", torn)
    with pytest.raises(FileError, match=r"history\.png"):
        plot_history(DIGITS, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("path", ["history", "history.jpg", "history.png.gz", "png"])
def test_a_suffix_that_is_no_picture_is_refused_before_anything_is_read(path):
    with pytest.raises(ArgumentError, match=r"\.png, \.svg or \.pdf"):
        plot_history("no such file.csv", path)


def test_a_csv_of_kerass_own_csvlogger_becomes_a_picture(tmp_path):
    import keras

    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv", separator=";")
    logger.on_train_begin()
    for row in DIGITS.rows:
        logger.on_epoch_end(row.pop("epoch"), row)
    logger.on_train_end()
    picture = plot_history(tmp_path / "log.csv")
    assert points(picture.axes[0], "best (epoch 4)") == [(4, 0.1)]
    plot_history(str(tmp_path / "log.csv"), str(tmp_path / "log.png"))
    assert (tmp_path / "log.png").stat().st_size > 10_000


def test_what_fit_returns_the_model_dicts_and_runs_are_histories_too():
    import keras

    history = keras.callbacks.History()
    history.set_model(SimpleNamespace())
    history.on_train_begin()
    for epoch in (5, 6):
        history.on_epoch_end(epoch, {"loss": 8.0 - epoch})
    for source in (history, SimpleNamespace(history=history)):  # a model holds its History
        assert points(plot_history(source).axes[0], "loss") == [(6, 3), (7, 2)]
    columns = {"loss": [3.0, 2.0]}
    for source in (columns, SimpleNamespace(history=Metrics.from_columns(columns))):
        assert points(plot_history(source).axes[0], "loss") == [(1, 3), (2, 2)]


@pytest.mark.parametrize("source", [None, 3, [{"epoch": 0}], object()])
def test_what_is_no_history_is_refused_with_what_would_be_one(source):
    with pytest.raises(ArgumentError, match=rf"CSV.*{type(source).__name__}.*from_rows"):
        plot_history(source)


def test_a_file_that_is_missing_or_no_history_is_named(tmp_path):
    junk = tmp_path / "junk.csv"
    junk.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xff")
    for path, words in [
        (tmp_path / "none.csv", "No such file"),
        (junk, "epoch"),
        (tmp_path, "without history.csv"),
    ]:
        with pytest.raises(FileError, match=words) as raised:
            plot_history(path)
        assert str(path) in str(raised.value)
        assert raised.value.filename == str(path)


def test_a_wrong_best_or_monitor_is_told():
    with pytest.raises(ArgumentError, match="best=17"):
        plot_history(DIGITS, best=17)
    with pytest.raises(ArgumentError, match="Did you mean 'val_loss'"):
        plot_history(DIGITS, monitor="val_los")
    with pytest.raises(UnknownDirection, match="temperature"):
        plot_history(Metrics.from_columns({"temperature": [1, 2]}), monitor="temperature")


def test_without_matplotlib_the_pip_line_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r'pip install "outlast\[plot\]"'):
        plot_history(DIGITS)


def test_neither_pyplot_nor_numpy_is_needed_to_import_and_pyplot_never():
    code = (
        "import sys\n"
        "import outlast.views.plots as plots\n"
        "assert not {'matplotlib', 'numpy', 'pandas'} & set(sys.modules)\n"
        "plots.plot_history({'loss': [1.0]})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_folder_of_a_run_is_drawn_from_its_csv(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("epoch,loss\n0,0.5\n1,0.25\n")
    picture = plot_history(tmp_path)
    assert points(picture.axes[0], "loss") == [(1.0, 0.5), (2.0, 0.25)]


def test_a_folder_without_a_csv_is_answered_with_how_to_draw_a_run(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        plot_history(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is a folder without history.csv. If it is a run, draw what it recorded: "
        f"plot_history(outlast.open_run({str(tmp_path)!r}).history)."
    )
    assert caught.value.filename == str(tmp_path)
