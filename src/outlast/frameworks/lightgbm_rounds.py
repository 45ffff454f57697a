"""What a round of LightGBM's draws from, and what of it no model's text has. Imports no package.

What was measured, and is built upon (LightGBM 4.6 and 4.7): a model's text has its trees and its parameters,
but not where the random generators are, so that with sampling a resume would draw other rows and columns.
Each round is seeded by its number instead. A generator is made anew only where its seed, or for rows the
share, is another than before: so other values are set first, and then the right ones. The rows of a bag are
drawn in each round; they stay the same for ``bagging_freq`` rounds because their seed does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

_SHARES = ("bagging_fraction", "pos_bagging_fraction", "neg_bagging_fraction")
_SEEDS = ("bagging_seed", "feature_fraction_seed", "extra_seed")
_PRIME = 1_000_003  # so that seeds of neighbouring rounds and of neighbouring seeds differ
_NEARLY = 0.999999

_RATE = "learning_rate"
RATES = (_RATE, "shrinkage_rate", "eta")
_OTHER_NAMES = {"bagging_fraction_seed": "bagging_seed", "data_seed": "data_random_seed"}
# Of the parameters in a model's text: what changes no model, or is said otherwise.
_NOT_DESCRIBED = frozenset(
    {
        *("data", "early_stopping_min_delta", "early_stopping_round", "eval_at", "first_metric_only"),
        *(_RATE, "metric", "num_iterations", "num_threads", "saved_feature_importance_type"),
        *("snapshot_freq", "valid", "verbosity"),
    }
)


def trees_of(text: str) -> str:
    """The part of a model's text that has its trees."""
    return text.partition("tree_sizes=")[2].partition("end of trees")[0].strip()


def has_single_leaves(text: str) -> bool:
    """Whether a tree in a model's text is one leaf."""
    return "\nnum_leaves=1\n" in text


def trained_part(text: str) -> str:
    """A model's text without its objective and parameters, which come from the code of each start."""
    before, _, after = text.partition("\nparameters:")
    head, separator, trees = before.partition("\ntree_sizes=")
    kept = [line for line in head.splitlines() if not line.startswith("objective=")]
    return "\n".join(kept) + separator + trees + after.partition("end of parameters\n")[2]


def has_more(trees: str, others: str) -> bool:
    """Whether trees, as :func:`trees_of` gives them, are others and later ones."""
    mine, theirs = (one.partition("\n")[2] for one in (trees, others))  # behind their sizes
    return mine.startswith(theirs)


def checksum(trees: str) -> str:
    """Of trees, to tell two models apart; "" if there are none."""
    return hashlib.sha256(trees.encode()).hexdigest() if trees else ""


def parameters_of(text: str) -> dict[str, str]:
    """The parameters in a model's text, under LightGBM's first name for each."""
    lines = text.partition("parameters:")[2].partition("end of parameters")[0].splitlines()
    pairs = (line[1:-1].partition(": ") for line in lines if line.startswith("[") and line.endswith("]"))
    return {name: value for name, _, value in pairs}


def rate_of(given: Mapping[str, Any], parameters: Mapping[str, str]) -> float:
    """The learning rate; the text has only six digits of it.

    Args:
        given: parameters as the user named them.
        parameters: of the model's text.
    """
    return next((float(given[name]) for name in RATES if name in given), float(parameters[_RATE]))


def _exactly(value: str, given: Mapping[str, Any]) -> float:
    """A number of the model's text, of which the user may have given more digits, under whichever name."""
    numbers = (one for one in given.values() if isinstance(one, float))
    return next((one for one in numbers if f"{one:.6g}" == value), float(value))


def described(given: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, str]:
    """What tells trainings apart; of the seeds that LightGBM derives from ``seed``, that one alone."""
    seeds = {_OTHER_NAMES.get(name, name) for name in given}
    return {
        name: value
        for name, value in parameters.items()
        if name not in _NOT_DESCRIBED and (not name.endswith("_seed") or name in seeds)
    }


def draws(parameters: Mapping[str, str]) -> bool:
    """Whether rounds sample rows, columns or thresholds."""
    samples_rows = int(parameters["bagging_freq"]) > 0 and any(float(parameters[one]) < 1 for one in _SHARES)
    columns = (parameters["feature_fraction"], parameters["feature_fraction_bynode"])
    return samples_rows or parameters["extra_trees"] == "1" or any(float(one) < 1 for one in columns)


class Seeds:
    """Seeds each round by its number and by the user's own seeds.

    Args:
        given: parameters as the user named them.
        parameters: of the model's text, before any round is seeded.
    """

    def __init__(self, given: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        self._seeds = {name: int(parameters[name]) for name in _SEEDS}
        self._each = max(int(parameters["bagging_freq"]), 1)  # rounds that have the same rows
        self._shares = {
            name: _exactly(parameters[name], given)
            for name in _SHARES
            if int(parameters["bagging_freq"]) > 0 and float(parameters[name]) < 1
        }

    def take_back(self, model: Any) -> None:
        """Have the model's parameters be the user's own again."""
        model.reset_parameter(self._seeds)

    def give(self, model: Any, number: int) -> None:
        """Have a round of that number draw from its own seeds, whatever was drawn before."""
        shares = {name: float(model.params.get(name, share)) for name, share in self._shares.items()}
        seeds = {
            name: (seed * _PRIME + (number // self._each if name == "bagging_seed" else number) + 1) % 2**31
            for name, seed in self._seeds.items()
        }
        model.reset_parameter(
            {
                **{name: share * _NEARLY for name, share in shares.items()},
                **{n: s ^ 1 for n, s in seeds.items()},
            }
        )
        model.reset_parameter({**shares, **seeds})


def inexact(parameters: Mapping[str, str]) -> Iterator[str]:
    """What a resume cannot continue as it was, as the parameters tell, with a way out where there is one."""
    if parameters["boosting"] == "dart":
        yield "boosting='dart' drops no trees of earlier starts"
    if parameters["data_sample_strategy"] == "goss":
        yield "goss uses all rows for its first 1 / learning_rate rounds, and each start counts them anew"
    if parameters["use_quantized_grad"] == "1" and parameters["stochastic_rounding"] == "1":
        yield "use_quantized_grad rounds at random: pass stochastic_rounding=False"
    if parameters["linear_tree"] == "1":
        yield "linear_tree=True goes on with leaves that differ in their last digits"
    for name in ("cegb_penalty_feature_coupled", "cegb_penalty_feature_lazy"):
        if parameters[name]:
            yield f"{name}: no model's text has which features were paid for"
    if parameters["forcedsplits_filename"]:
        yield "forcedsplits_filename: each start computes the gains of forced splits otherwise"
    if parameters["objective"] == "rank_xendcg":
        yield "objective='rank_xendcg' draws random numbers, and no model's text has where they are"
