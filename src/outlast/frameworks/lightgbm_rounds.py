"""What a round of LightGBM's draws from, and what of it no model's text has. Does not import LightGBM.

What was measured, and is built upon (LightGBM 4.6 and 4.7): a model's text has its trees and its parameters,
but not where the random generators are, so that with sampling a resume would draw other rows and columns.
Each round is seeded by its number instead. A generator is made anew only where its seed, or for rows the
share, is another than before: so other values are set first, and then the right ones. The rows of a bag are
drawn in each round; they stay the same for ``bagging_freq`` rounds because their seed does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from outlast.frameworks.driven import round_seed

# LightGBM's names of a parameter of which the model's text has too few digits.
_RATE = "learning_rate"
_NAMES = {
    _RATE: (_RATE, "shrinkage_rate", "eta"),
    "bagging_fraction": ("bagging_fraction", "sub_row", "subsample", "bagging"),
    "pos_bagging_fraction": ("pos_bagging_fraction", "pos_sub_row", "pos_subsample", "pos_bagging"),
    "neg_bagging_fraction": ("neg_bagging_fraction", "neg_sub_row", "neg_subsample", "neg_bagging"),
}
RATES = _NAMES[_RATE]
_SHARES = tuple(name for name in _NAMES if name != _RATE)
_SEEDS = ("bagging_seed", "feature_fraction_seed", "extra_seed")
_NEARLY = 0.999999
_PARAMETERS, _END_OF_PARAMETERS = "\nparameters:", "end of parameters\n"
_NEARLY_ALL = 1 - 1e-9
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


def without_parameters(text: str) -> str:
    """A model's text without its parameters: some of them LightGBM writes, and cannot read again."""
    before, _, after = text.partition(_PARAMETERS)
    return before + after.partition(_END_OF_PARAMETERS)[2]


def with_parameters(text: str, of: str) -> str:
    """A model's text that has none, with those of another text."""
    parameters = of.partition(_PARAMETERS)[2].partition(_END_OF_PARAMETERS)[0]
    before, line, after = text.rpartition("\npandas_categorical:")
    return f"{before}{_PARAMETERS}{parameters}{_END_OF_PARAMETERS}{line}{after}"


def trained_part(text: str) -> str:
    """A model's text without its objective and parameters, which come from the code of each start."""
    head, separator, trees = without_parameters(text).partition("\ntree_sizes=")
    kept = [line for line in head.splitlines() if not line.startswith("objective=")]
    return "\n".join(kept) + separator + trees


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


def rate_of(
    given: Mapping[str, Any], begun_with: Mapping[str, str], now: Callable[[], Mapping[str, str]]
) -> float:
    """The learning rate.

    Args:
        given: parameters as the user named them.
        begun_with: parameters of the model's text, which has only six digits.
        now: gives those of the text as it is now, which tells which of two names counts.
    """
    found = [given[name] for name in RATES if name in given]
    if len(found) > 1:
        return exactly(_RATE, given, now())
    return float(found[0] if found else begun_with[_RATE])


def exactly(name: str, given: Mapping[str, Any], parameters: Mapping[str, str]) -> float:
    """A number of the model's text, of which the user may have given more digits, under whichever name."""
    found = (float(given[one]) for one in _NAMES[name] if one in given)
    value = parameters[name]
    return next((one for one in found if f"{one:.6g}" == value), float(value))


def changed(given: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, but for the rate, that are not as they were given."""
    return {
        name: plain
        for name, value in now.items()
        if name not in RATES and ((plain := _plain(value)) != _plain(given.get(name)) or name not in given)
    }


def _plain(value: Any) -> Any:
    """A parameter as a number, a text, or a list of these."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, (list, tuple, set)):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


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
        parameters: of the model's text, before any round is seeded.
    """

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._seeds = {name: int(parameters[name]) for name in _SEEDS}
        self._has_given = self._drew_columns = False

    def give(self, model: Any, number: int | None, parameters: Mapping[str, str]) -> None:
        """Have a round of that number draw from its own seeds, whatever was drawn before.

        Args:
            model: the Booster.
            number: from 0; None after the last one, where the seeds are the user's own again.
            parameters: of the model's text now; without sampling there is nothing to do.
        """
        before, self._drew_columns = self._drew_columns, float(parameters["feature_fraction"]) < 1
        if before and not self._drew_columns:
            for share in (_NEARLY_ALL, 1):  # else LightGBM goes on with the columns that were drawn last
                _reset(model, {"feature_fraction": share})
        if not draws(parameters) and not (self._has_given and number is None):
            return
        self._has_given = True
        each = int(parameters["bagging_freq"])  # rounds that have the same rows
        shares = {
            name: exactly(name, model.params, parameters)
            for name in _SHARES
            if each > 0 and float(parameters[name]) < 1
        }
        seeds = self._seeds
        if number is not None:
            of_rows = number // max(each, 1)
            seeds = {
                name: round_seed(seed, of_rows if name == "bagging_seed" else number)
                for name, seed in seeds.items()
            }
        nearly = {name: share * _NEARLY for name, share in shares.items()}
        _reset(model, {**nearly, **{name: seed ^ 1 for name, seed in seeds.items()}})
        _reset(model, {**shares, **seeds})


def _reset(model: Any, parameters: Mapping[str, Any]) -> None:
    """Set parameters, and leave ``params`` as it is: there is what the user has set."""
    own = {**model.params}
    model.reset_parameter(parameters)
    model.params.clear()
    model.params.update(own)


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
