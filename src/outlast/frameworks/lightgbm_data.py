"""The data of ``lgb.train`` as the user gave it, before LightGBM makes its own of it and lets it go.

LightGBM predicts the rounds of earlier starts for the data, so that only what it can predict for can be
trained on in a run. It looks at callbacks before it makes its data, and this is called there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from outlast.exceptions import RunChanged, UsageError
from outlast.frameworks.driven import frame_of

_BINARY = b"______LightGBM_Binary_File_Token______"
_CLASSES = ("num_class", "num_classes")


def refuse_what_cannot_go_on() -> None:
    """Refuse data, or a number of classes, with which a run could not go on, in ``lgb.train``.

    Raises:
        UsageError: LightGBM could not predict for the data in a later start.
        RunChanged: the run has another number of classes.
    """
    frame = frame_of("lightgbm.engine", "reduced_valid_sets")
    if frame is None:
        return
    seen = frame.f_locals
    _refuse_other_classes(seen["init_model"], seen["params"])
    for one in (seen["train_set"], *seen["reduced_valid_sets"]):
        if why := _why_not(one):
            raise UsageError(
                "A Run could not go on with this Dataset, because LightGBM has to predict for the data in "
                f"each later start: {why}."
            )


def _why_not(dataset: Any) -> str:
    whole = dataset if dataset.used_indices is None else dataset.reference
    data = whole.data
    if data is None or (whole is not dataset and whole.free_raw_data):
        return (
            "LightGBM has let the data go, as it does once a Dataset was used, or will, as with a subset. "
            "Make a new Dataset for each training, or pass free_raw_data=False where it is made first"
        )
    if isinstance(data, list):
        return "it is a list of arrays, for which LightGBM cannot predict. Pass one array, np.vstack(arrays)"
    if isinstance(data, (str, os.PathLike)) and _is_binary(data):
        return "it is a binary file, for which LightGBM cannot predict. Pass an array, or a text file"
    return ""


def _is_binary(path: Any) -> bool:
    if not os.path.isfile(path):  # LightGBM says so
        return False
    with open(path, "rb") as file:
        return file.read(len(_BINARY)) == _BINARY


def _refuse_other_classes(begun_with: Any, parameters: Mapping[str, Any]) -> None:
    if not hasattr(begun_with, "outlast_run"):
        return
    now = next((int(parameters[name]) for name in _CLASSES if name in parameters), 1)
    before = begun_with.num_model_per_iteration()
    if now != before:
        raise RunChanged(
            f"num_class changed from {before} to {now}: it would be another training. Go back to "
            f"num_class={before}, take another folder, or begin again with resume='never'."
        )
