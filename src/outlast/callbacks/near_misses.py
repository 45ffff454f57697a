"""Near misses: callbacks of ours that a library was given as they are, and asks for hooks of its own."""

from __future__ import annotations

_ASKED = {  # the first hook that each asks for
    "on_init_end": ("Hugging Face's Trainer", "huggingface"),
    "setup": ("Lightning's Trainer", "lightning"),
    "state_key": ("Lightning's Trainer", "lightning"),
    "on_exception": ("Lightning's Trainer", "lightning"),
}


def near_miss(kind: str, hook: str) -> str:
    """How a library is given our callbacks, if the hook is one that it asks for; "" if it is none.

    Args:
        kind: the class of the callback.
        hook: that it has not.

    Example:
        >>> near_miss("EarlyStopping", "on_init_end")[:58]
        "Hugging Face's Trainer calls other hooks than EarlyStoppin"
    """
    if hook not in _ASKED:
        return ""
    library, module = _ASKED[hook]
    return (
        f"{library} calls other hooks than {kind} has: pass "
        f"Trainer(callbacks=outlast.frameworks.{module}.callbacks(...)), with the Run or the callbacks in "
        "place of the dots."
    )
