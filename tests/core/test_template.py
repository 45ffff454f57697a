"""File names with fields: what they give, and what they refuse."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from outlast.core.saving import Template
from outlast.exceptions import ArgumentError, TemplateError

VALUES = {"epoch": 7, "batch": 30, "loss": 0.12345, "val/f1-score": 0.5, "top 5": 1.0, "tag": "a.b"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("best.keras", "best.keras"),
        ("m-{epoch}.keras", "m-7.keras"),
        ("{epoch:03d}-{loss:.2f}.keras", "007-0.12.keras"),
        ("e{epoch:02d}b{batch:04d}.weights.h5", "e07b0030.weights.h5"),
        ("{val/f1-score:.3f} {top 5:.0f}.pt", "0.500 1.pt"),
        ("runs/{epoch}/{tag}.pt", "runs/7/a.b.pt"),
        ("/abs/../{epoch}.pt", "/abs/../7.pt"),
        ("{{epoch}}-{epoch}.pt", "{epoch}-7.pt"),
        ("{epoch:>5}|{epoch:<5}|{loss:+.1e}", "    7|7    |+1.2e-01"),
        ("{epoch}{batch}", "730"),
        ("100%.keras", "100%.keras"),
        ("", ""),
    ],
)
def test_fields_are_filled_as_str_format_does(text: str, name: str) -> None:
    assert Template(text).fill(VALUES) == name


@pytest.mark.parametrize(
    "text",
    [
        "{}.keras",
        "{0}.keras",
        "{12}.keras",
        "{epoch.real}.keras",
        "{loss.__class__}.keras",
        "{epoch[0]}.keras",
        "{epoch]}.keras",
        "{epoch!r}.keras",
        "{epoch!s:>5}.keras",
        "{epoch:{batch}}.keras",
        "{epoch:{batch}d}.keras",
        "{epoch:/>9}.keras",
        "{epoch:\\>9}.keras",
        "{epoch:\0>9}.keras",
        "{epoch:256d}.keras",
        "{loss:.256f}.keras",
        "{loss:1.1000f}.keras",
        "{epoch:" + "9" * 5000 + "}.keras",
    ],
)
def test_a_field_that_could_read_or_do_more_is_refused_when_the_callback_is_made(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"has a field \{.*\} that is not allowed: a field is the name"):
        Template(text)


@pytest.mark.parametrize("text", ["{epoch:255d}", "{loss:.250f}"])
def test_a_width_that_fits_in_a_name_is_allowed(text: str) -> None:
    assert len(Template(text).fill(VALUES)) in (255, 252)


@pytest.mark.parametrize("text", ["{epoch", "epoch}", "{epoch:d", "a}b{c"])
def test_braces_that_do_not_match_are_refused(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Template(text)
    assert str(caught.value).startswith(f"The file name {text!r} is not a valid template: ")


def test_a_nul_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"The file name 'a\\x00b' has a NUL character"):
        Template("a\0b")


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("x" * 256, 256),
        ("runs/" + "x" * 300 + "/best.pt", 300),
        ("runs\\" + "x" * 300, 300),
        ("é" * 128, 256),
        ("{epoch}" + "x" * 256, 256),
    ],
)
def test_a_name_that_is_too_long_is_refused_with_its_length(text: str, length: int) -> None:
    with pytest.raises(ArgumentError) as caught:
        Template(text)
    assert f" is {length} bytes long; a name can have at most 255." in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["x" * 255, "/".join(["x" * 200] * 3), "é" * 127, "\udcff" * 255])
def test_the_longest_name_is_allowed(text: str) -> None:
    assert Template(text).fill({}) == text


def test_a_name_that_gets_too_long_or_a_nul_by_its_values_is_refused_when_it_is_filled() -> None:
    template = Template("{a}{b}.pt")
    with pytest.raises(TemplateError, match="is 256 bytes long"):
        template.fill({"a": "x" * 252, "b": "y"})
    with pytest.raises(TemplateError, match="NUL"):
        template.fill({"a": "x\0", "b": ""})


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("{tag}.pt", {"tag": "../x"}),
        ("{tag}.pt", {"tag": "/etc/x"}),
        ("{tag}.pt", {"tag": "a\\b"}),
        ("{tag}.pt", {"tag": np.str_("../x")}),
        ("{tag}.pt", {"tag": np.array("../x")}),
        ("{tag}.pt", {"tag": ["../x"]}),
        ("{epoch:c}.pt", {"epoch": ord("/")}),
        ("{tag}/best.pt", {"tag": ".."}),
        ("{tag}/best.pt", {"tag": "."}),
        ("{tag}/best.pt", {"tag": ""}),
        ("runs/{tag}/best.pt", {"tag": ".."}),
        ("runs/.{tag}/best.pt", {"tag": "."}),
        ("runs/{a}{b}/best.pt", {"a": ".", "b": "."}),
        ("runs/{tag}", {"tag": ".."}),
    ],
)
def test_a_value_that_would_lead_into_another_folder_is_refused(text: str, values: dict[str, Any]) -> None:
    with pytest.raises(TemplateError, match="would lead into another folder"):
        Template(text).fill(values)


@pytest.mark.parametrize(
    ("text", "values", "name"),
    [
        ("../{tag}.pt", {"tag": "x"}, "../x.pt"),
        ("./{tag}.pt", {"tag": ".."}, "./...pt"),
        ("a//{tag}.pt", {"tag": ""}, "a//.pt"),
        ("m-{tag}.pt", {"tag": ""}, "m-.pt"),
    ],
)
def test_what_the_user_wrote_himself_is_allowed(text: str, values: dict[str, Any], name: str) -> None:
    assert Template(text).fill(values) == name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{val_loss:.2f}.pt", "'val_loss' is not among epoch, loss. Did you mean 'loss'?"),
        ("{temperature}.pt", "'temperature' is not among epoch, loss."),
        ("{loss:d}.pt", "'loss' is 0.5: Unknown format code 'd'"),
        ("{epoch:q}.pt", "'epoch' is 7: Unknown format code 'q'"),
    ],
)
def test_a_field_that_cannot_be_filled_is_told_in_the_words_of_keras_with_the_metrics_there_are(
    text: str, reason: str
) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(text).fill({"epoch": 7, "loss": 0.5})
    start = f'Failed to format this callback filepath: "{text}". Reason: {reason}'
    assert str(caught.value).startswith(start)
    assert isinstance(caught.value, KeyError)


@pytest.mark.parametrize(
    ("text", "value"), [("{x:.2f}", np.zeros(2)), ("{x:c}", 1 << 80), ("{x:.2f}", "text"), ("{x:.2f}", None)]
)
def test_a_value_that_does_not_take_its_format_is_an_error_of_ours(text: str, value: Any) -> None:
    with pytest.raises(TemplateError, match="Reason: 'x' is "):
        Template(text).fill({"x": value})


def test_a_template_survives_a_pickle() -> None:
    assert pickle.loads(pickle.dumps(Template("m-{epoch:02d}.pt"))).fill({"epoch": 7}) == "m-07.pt"


@pytest.mark.parametrize(
    ("text", "fields"),
    [("best.pt", False), ("{{x}}.pt", False), ("", False), ("{epoch}", True), ("a{b}c{d}", True)],
)
def test_whether_a_name_has_fields_can_be_asked(text: str, fields: bool) -> None:
    assert Template(text).has_fields is fields


def test_a_template_knows_whether_it_has_fields() -> None:
    assert Template("a-{epoch}.keras").has_fields
    assert not Template("a.keras").has_fields
    assert not Template("a{{}}.keras").has_fields
