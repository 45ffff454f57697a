"""What a loop with JAX can be given, and what it is told when that cannot work."""

from __future__ import annotations

import dataclasses
import gc
import os
import re
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import outlast
from outlast import ArgumentError, CapabilityError, OutlastWarning, Run, RunChanged, UsageError
from outlast.frameworks import jax_tree

jnp.zeros(1).block_until_ready()  # the backend starts now, not in a test


def state(width: int = 8, **more: Any) -> dict[str, Any]:
    params = {"w": jnp.ones((4, width)), "b": jnp.zeros(width)}
    return {"params": params, "opt": optax.adam(0.1).init(params), **more}


def trained(state: Any) -> Any:
    """A step: all floats become others."""
    return jax.tree.map(lambda x: x + 1 if jnp.issubdtype(x.dtype, jnp.floating) else x, state)


donating = jax.jit(trained, donate_argnums=0)


def train(run: Run, epochs: int, step: Callable[[Any], Any] = trained, until: int | None = None) -> Run:
    for epoch in run.epochs(epochs):
        for _ in run.batches(range(3)):
            run.state = step(run.state)
        if epoch == until:
            break
        run.log(val_loss=1 / (epoch + 1))
    return run


def numbers(tree: Any) -> list[Any]:
    return [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(tree)]


# What a state may be.


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"params": jnp.ones(2), "name": "net"}, r"state\['name'\] is a str"),
        ({"params": jnp.ones(2), "rows": np.array(["a"])}, r"state\['rows'\] is a ndarray of dtype <U1"),
        (
            {"w": jax.ShapeDtypeStruct((2,), "float32")},
            r"state\['w'\] is a ShapeDtypeStruct.* Pass real arrays",
        ),
        ({}, "this dict has no leaf"),
        ({"params": None}, "this dict has no leaf"),
        ({"act": jnp.tanh}, r"this dict has no array: state\['act'\] is a .* passed as model="),
        (jnp.tanh, "state must be a pytree of arrays, .* passed as model="),
        ({"params": jnp.ones(2), "z": 1j}, r"state\['z'\] is a complex"),
        (object(), "state must be a pytree of arrays, .* but is a builtins.object"),
        ({"a": {"b": [jnp.ones(1), {3}]}}, r"state\['a'\]\['b'\]\[1\] is a set"),
    ],
)
def test_a_leaf_that_cannot_be_stored_is_named_at_once(given: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Run(None, state=given)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"state": {"w": jnp.ones(1)}, "optimizer": []}, "state= and optimizer= do not go together"),
        ({"state": {"w": jnp.ones(1)}, "model": object()}, "state= and model= do not go together"),
        ({"weights": lambda s: s}, "weights= belongs to state="),
        ({"learning_rate": 0.1}, "learning_rate= belongs to state="),
        ({"state": {"w": jnp.ones(1)}, "learning_rate": optax.constant_schedule(1.0)}, "is a function"),
        ({"state": {"w": jnp.ones(1)}, "learning_rate": "fast"}, "learning_rate must be a number"),
        ({"state": {"w": jnp.ones(1)}, "weights": ["w"]}, "weights must be a function of the state"),
        (
            {"state": {"w": jnp.ones(1)}, "weights": lambda s: s["v"]},
            "weights failed .* KeyError: 'v'.*state",
        ),
        (
            {"state": {"w": jnp.ones(1)}, "weights": lambda s: {"v": s["w"] * 2}},
            "not in the state.*not compute",
        ),
        ({"state": {"w": jnp.ones(1)}, "weights": lambda s: {}}, "weights gave nothing"),
        ({"model": {"w": jnp.ones(1)}}, "With JAX, pass state="),
    ],
)
def test_arguments_that_do_not_go_together_say_what_does(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Run(None, **arguments)


def test_a_module_of_pytorch_is_told_to_be_passed_as_model() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ArgumentError, match=r"torch.*Linear. .* passed as model="):
        Run(None, state=torch.nn.Linear(1, 1))


def test_a_run_without_a_state_has_none(folder: Path) -> None:
    run = Run(None, adapter=outlast.testing.FakeAdapter())
    with pytest.raises(UsageError, match="was made without state="):
        _ = run.state


# Which leaves are weights.


def kept(run: Run) -> dict[str, Any]:
    return dict(run.training.copy_weights().weights)


def test_weights_are_found_by_the_names_that_libraries_use() -> None:
    from flax.training.train_state import TrainState

    params = {"Dense_0": {"kernel": jnp.ones(2)}}
    linen = TrainState.create(apply_fn=None, params=params, tx=optax.adam(0.1))
    assert [*kept(Run(None, state=linen))] == ["Dense_0.kernel"]
    with_stats = {"params": params, "batch_stats": {"mean": jnp.ones(1)}, "opt": jnp.ones(1)}
    assert [*kept(Run(None, state=with_stats))] == ["batch_stats.mean", "params.Dense_0.kernel"]
    assert [*kept(Run(None, state={"a": jnp.ones(1), "b": [2.0]}))] == ["a", "b.0"]
    assert [*kept(Run(None, state=jnp.ones(3)))] == ["weights"]


def test_code_of_a_model_in_a_static_field_is_not_taken_for_its_weights() -> None:
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class State:
        tree: Any
        model: Any = dataclasses.field(metadata={"static": True})

    assert [*kept(Run(None, state=State({"w": jnp.ones(1)}, len)))] == ["tree.w"]


def test_weights_of_a_model_of_equinox_or_nnx_are_found_in_a_tuple() -> None:
    import equinox as eqx
    from flax import nnx

    layer = eqx.nn.Linear(2, 1, key=jax.random.key(0))
    assert [*kept(Run(None, state=(layer, optax.adam(0.1).init(layer))))] == ["weight", "bias"]
    module = nnx.Sequential(nnx.Linear(2, 1, rngs=nnx.Rngs(0)), nnx.Dropout(0.1, rngs=nnx.Rngs(1)))
    optimizer = nnx.Optimizer(module, optax.adam(0.1), wrt=nnx.Param)
    assert [*kept(Run(None, state=(module, optimizer)))] == ["layers.0.bias", "layers.0.kernel"]
    assert [*kept(Run(None, state=module))] == ["layers.0.bias", "layers.0.kernel"]


def test_weights_may_be_the_same_array_as_an_average_of_them_or_a_number() -> None:
    shared = {"w": jnp.ones(2)}
    run = Run(
        None, state={"params": shared, "ema": shared, "n": 1, "m": 1}, weights=lambda s: (s["ema"], s["m"])
    )
    run.state = {**run.state, "params": {"w": jnp.zeros(2)}, "m": 2}
    assert [*kept(run)] == ["0.w", "1"]
    snapshot = run.training.copy_weights()
    run.state = {"params": shared, "ema": {"w": jnp.zeros(2)}, "n": 5, "m": 5}
    run.training.restore_weights(snapshot)
    assert numbers(run.state) == [[1.0, 1.0], 2, 5, [1.0, 1.0]]


def test_names_that_would_be_the_same_in_a_file_are_written_in_full() -> None:
    run = Run(None, state={"a": {"b": jnp.ones(1)}, "a.b": jnp.ones(1)})
    assert [*kept(run)] == ["['a']['b']", "['a.b']"]


# What is put back.


def test_a_resumed_state_is_as_it_was_saved_types_included(folder: Path) -> None:
    def made() -> Any:
        return {
            "weak": jnp.full((2, 3), 0.5),
            "scalar": jnp.asarray(2),
            "strong": jnp.ones(2),
            "half": jnp.ones(2, jnp.bfloat16),
            "tiny": jnp.ones(2, jnp.float8_e4m3fn),
            "key": jax.random.split(jax.random.key(3, impl="rbg"), 2),
            "old_key": jax.random.PRNGKey(0),
            "numpy": np.ones(2),
            "fortran": np.asfortranarray(np.ones((2, 3))),
            "number": np.float32(1.5),
            "nan": float("nan"),
            "on": True,
            "none": None,
            "empty": jnp.zeros((0, 3)),
        }

    def step(state: Any) -> Any:
        new = {name: one * 3 for name, one in state.items() if name not in ("key", "on", "none", "nan")}
        return {**state, **new, "key": jax.vmap(lambda k: jax.random.split(k)[0])(state["key"])}

    first = train(Run(folder, state=made()), 2, step)
    second = train(Run(folder, state=made()), 2, step)
    for name, one in first.state.items():
        other = second.state[name]
        assert type(one) is type(other), name
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None), name
        assert getattr(one, "weak_type", None) == getattr(other, "weak_type", None), name
        if name not in ("key", "nan", "none"):
            assert np.asarray(one).tobytes("A") == np.asarray(other).tobytes("A"), name
    assert np.array_equal(*(jax.random.key_data(run.state["key"]) for run in (first, second)))
    assert second.state["fortran"].flags.f_contiguous
    second.state["numpy"] += 1  # NumPy's are writable, and their own


def test_what_is_put_back_shares_no_memory_with_anything(folder: Path) -> None:
    """One buffer takes the copies of all saves: an array that shared it would change at the next."""
    run = Run(folder, state=state())
    for epoch in run.epochs(4):
        run.state = donating(run.state)
        assert run.state["params"]["w"][0, 0] == epoch + 2


def at_a_page(array: Any) -> Any:
    """A copy in memory that begins as JAX's own does, so that JAX would use it as it is."""
    memory = np.zeros(array.nbytes + 4096, "uint8")
    start = -memory.ctypes.data % 4096
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.parametrize(
    "leaf",
    [
        jnp.zeros(4096),
        jax.device_put(jnp.zeros(4096), jax.devices()[0]),
        jnp.full(4096, 0.0),
        jax.random.key(0),
        np.zeros(4096),
    ],
    ids=["array", "committed", "weak", "key", "numpy"],
)
def test_a_leaf_that_is_restored_is_not_the_memory_that_it_came_from(leaf: Any) -> None:
    kind = jax_tree.kind_of(leaf)
    saved = at_a_page(jax_tree.stored(leaf, kind))
    restored = jax_tree.restored(saved, kind, jax_tree.Place.of(leaf))
    before = jax_tree.stored(restored, kind).copy()
    saved += 1
    assert np.array_equal(jax_tree.stored(restored, kind), before)


@pytest.mark.parametrize("step", [trained, donating])
def test_what_is_copied_survives_a_donation(step: Any) -> None:
    """On a CPU it is the array's own memory, which JAX does not promise to outlive a donation."""
    run = Run(None, state={"params": {"w": jnp.ones(1000)}})
    run.training.state()
    run.state = step(run.state)  # shows whether it donates
    snapshot = run.training.copy_weights()
    for _ in range(3):
        run.state = donating(run.state)
    assert snapshot.weights["w"].tolist() == [2.0] * 1000


def test_a_step_that_does_not_donate_costs_no_copy_of_the_weights() -> None:
    run = Run(None, state={"params": {"w": jnp.ones(1000)}})
    run.training.state()
    run.state = trained(run.state)
    copied = run.training.copy_weights().weights["w"]
    assert np.shares_memory(copied, np.asarray(run.state["params"]["w"]))


def test_a_step_that_donates_goes_on_in_place_after_a_save() -> None:
    run = Run(None, state={"params": {"w": jnp.ones(1000)}})
    run.training.state()
    run.state = donating(run.state)
    snapshot, place = run.training.copy_weights(), run.state["params"]["w"].unsafe_buffer_pointer()
    run.state = donating(run.state)
    assert run.state["params"]["w"].unsafe_buffer_pointer() == place
    assert snapshot.weights["w"][0] == 2


def test_a_number_that_a_step_makes_an_array_of_fits_the_number(folder: Path) -> None:
    train(Run(folder, state=state(step=0)), 2, lambda s: {**trained({**s, "step": jnp.asarray(s["step"])})})
    run = Run(folder, state=state(step=0))
    assert isinstance(run.state["step"], jax.Array)


def test_a_type_that_a_step_changes_is_no_change_of_the_script(folder: Path) -> None:
    def made() -> Any:
        return {"params": {"w": jnp.ones(2, jnp.bfloat16)}}

    train(Run(folder, state=made()), 2, lambda s: {"params": {"w": s["params"]["w"].astype("float32")}})
    assert Run(folder, state=made()).state["params"]["w"].dtype == "float32"
    with pytest.raises(RunChanged, match=r"float32 \(2,\) in the run, float16 \(2,\) in this code"):
        Run(folder, state={"params": {"w": jnp.ones(2, jnp.float16)}})


@pytest.mark.parametrize(
    ("other", "texts"),
    [
        (
            state(16),
            [
                r"state\['opt'\]\[0\].mu\['b'\], state\['opt'\]\[0\].nu\['b'\], state\['params'\]\['b'\]: "
                r"float32 \(8,\) in the run, float32 \(16,\) in this code",
                r"float32 \(4, 8\) in the run, float32 \(4, 16\) in this code",
            ],
        ),
        (state(ema=1.0), [r"state\['ema'\]: only in this code"]),
        ({"params": state()["params"]}, [r"state\['opt'\]\[0\].count, .* and 2 more: only in the run"]),
    ],
)
def test_another_state_is_refused_by_the_names_of_its_leaves(
    folder: Path, other: Any, texts: list[str]
) -> None:
    train(Run(folder, state=state()), 1)
    with pytest.raises(RunChanged, match="the state is another one") as caught:
        Run(folder, state=other)
    for text in texts:
        assert re.search(text, str(caught.value)), str(caught.value)


def test_other_weights_of_the_same_state_are_refused(folder: Path) -> None:
    given = {"params": {"w": jnp.ones(1)}, "ema": {"w": jnp.ones(1)}}
    train(Run(folder, state=given), 1)
    with pytest.raises(RunChanged, match=r"weights are state\['params'\]\['w'\] in the run, state\['ema'\]"):
        Run(folder, state=given, weights=lambda s: s["ema"])


def test_another_kind_of_key_is_refused(folder: Path) -> None:
    train(Run(folder, state=state(key=jax.random.key(0))), 1, lambda s: {**trained({**s, "key": s["key"]})})
    with pytest.raises(RunChanged, match=r"key<threefry2x32> \(\) in the run, key<rbg> \(\) in this code"):
        Run(folder, state=state(key=jax.random.key(0, impl="rbg")))


def test_64_bits_are_refused_where_jax_would_cut_them(folder: Path) -> None:
    program = (
        "import jax, jax.numpy as jnp, outlast\n"
        f"run = outlast.Run({str(folder)!r}, state={{'w': jnp.ones(2, 'float64')}})\n"
        "for epoch in run.epochs(1): run.state = {'w': run.state['w'] / 3}\n"
    )
    subprocess.run([sys.executable, "-c", program], env={**env(), "JAX_ENABLE_X64": "1"}, check=True)
    with pytest.raises(RunChanged, match=r"float64 .* set jax_enable_x64"):
        Run(folder, state={"w": np.ones(2)})
        Run(folder, state={"w": jnp.ones(2)})


def test_a_setting_of_jax_that_differs_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(Run(folder, state=state()), 1)
    with jax.default_matmul_precision("highest"):
        train(Run(folder, state=state()), 2)
    assert "jax_default_matmul_precision changed from None to 'highest'" in capsys.readouterr().out


def test_a_function_in_the_state_is_the_scripts_and_another_one_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def step(state: Any) -> Any:
        return {**state, "params": state["params"] + 1}

    train(Run(folder, state={"params": jnp.ones(1), "act": jnp.tanh}), 1, step)
    run = train(Run(folder, state={"params": jnp.ones(1), "act": jnp.sin}), 2, step)
    assert run.state["act"] is jnp.sin and run.state["params"] == 7
    assert "state['act'] changed from" in capsys.readouterr().out


def test_another_optimizer_with_the_same_arrays_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(Run(folder, state=state()), 1)
    other = {**state(), "opt": optax.adamw(0.1).init(state()["params"])}
    train(Run(folder, state=other), 2)
    assert "the classes in the state changed from ScaleByAdamState" in capsys.readouterr().out


def test_arrays_go_back_to_their_devices(folder: Path) -> None:
    device = jax.devices()[0]
    committed = jax.device_put(jnp.ones(2), device)
    weak, key = (jax.device_put(one, device) for one in (jnp.full(2, 1.0), jax.random.key(0)))
    given = {"params": committed, "free": jnp.ones(2), "weak": weak, "key": key}

    def step(state: Any) -> Any:
        return {**trained({**state, "key": jnp.zeros(1)}), "key": jax.random.split(state["key"])[0]}

    train(Run(folder, state=given), 1, step)
    run = Run(folder, state=given)
    put = {name: one.committed for name, one in run.state.items()}
    assert put == {"params": True, "free": False, "weak": True, "key": True}
    assert run.state["params"].sharding == committed.sharding


# What a loop must do.


def test_a_state_that_was_donated_and_not_set_is_named(folder: Path) -> None:
    run = Run(folder, state=state())
    with pytest.raises(UsageError, match=r"run.state\['opt'\].* was donated to a step and is deleted"):
        for _ in run.epochs(2):
            donating(run.state)


def test_a_state_that_an_earlier_training_has_donated_is_named_where_it_is_passed() -> None:
    """As in a notebook: the cell with the loop is run again, and not the one that makes the state."""
    given = state()
    donating(given)
    with pytest.raises(UsageError, match=r"make the state that is passed to the Run anew"):
        Run(None, state=given)


def test_a_loop_that_never_sets_the_state_is_warned_after_an_epoch(folder: Path) -> None:
    run, own = Run(folder, state=state()), state()
    with pytest.warns(OutlastWarning, match=r"run.state did not change: .* set"):
        for _ in run.epochs(3):
            own = trained(own)


@pytest.mark.parametrize("every", [1, 2])
def test_a_state_that_is_set_once_an_epoch_is_warned_of_inside_it(folder: Path, every: int) -> None:
    run = Run(folder, state=state(), save_every=every)
    with pytest.warns(OutlastWarning, match="a resume would skip them") as caught:
        for _ in run.epochs(2):
            own = run.state
            for _ in run.batches(range(3)):
                own = trained(own)
            run.state = own
    assert len(caught) == 1


def test_a_state_of_another_structure_is_refused_where_it_is_set() -> None:
    run = Run(None, state=state())
    told = r"^Set run.state to what the step returns: .* set to a tuple of another .* without .* with state"
    with pytest.raises(UsageError, match=told):
        run.state = (run.state, 0.5)
    assert run.state["params"]["w"].shape == (4, 8)
    run.training.state()  # at a save; then it is looked at again
    with pytest.raises(UsageError, match=r"with state\['new'\]"):
        run.state = {**run.state, "new": jnp.ones(1)}


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ({"w": 1.0, "h": None}, {"w": 1.0, "h": 2.0}, r"state\['h'\] was None, and is not now"),
        ({"w": 1.0, "h": {"x": 2.0}}, {"w": 1.0, "h": None}, r"state\['h'\]\['x'\] is None now"),
    ],
)
def test_none_that_becomes_an_array_or_the_reverse_is_told_to_start_with_zeros(
    before: Any, after: Any, text: str
) -> None:
    run = Run(None, state=before)
    with pytest.raises(UsageError, match=f"{text}.* zeros of that shape"):
        run.state = after


def test_a_state_that_is_set_while_jax_traces_is_named_where_it_is_set() -> None:
    run = Run(None, state={"w": jnp.ones(1)})

    @jax.jit
    def step(x: Any) -> None:
        run.state = {"w": run.state["w"] + x}

    with pytest.raises(UsageError, match=r"state\['w'\] has no value yet: .* JAX traces"):
        step(1.0)
    assert run.state["w"].tolist() == [1.0]


def test_an_array_that_leaks_from_a_trace_into_a_module_is_named_at_the_save() -> None:
    given = {"w": jnp.ones(1)}
    run = Run(None, state=given)
    jax.jit(lambda x: given.update(w=x))(1.0)
    with pytest.raises(UsageError, match=r"state\['w'\] has no value yet"):
        run.training.state()


def own_variable(folder: Path, end: int, *, reads: bool = False, given: Any = None) -> Any:
    """Trains a variable of the script's, which ``run.state`` is set to; ends in the middle of an epoch."""
    own = {"w": jnp.zeros(3)}
    run = Run(folder, state=own, save_every=2)
    for epoch in run.epochs(4):
        if reads:
            own = run.state
        for batch in run.batches(range(5)):
            own = {"w": own["w"] * 0.5 + batch}
            run.state = own
            if (epoch, batch) == (end, 2):
                return own
    return own


@pytest.mark.parametrize("end", [0, 2])
def test_a_state_of_the_scripts_that_is_trained_after_a_resume_is_refused(folder: Path, end: int) -> None:
    own_variable(folder, end)
    with pytest.raises(UsageError, match=r"without having been read since the resume. .* state = run.state"):
        own_variable(folder, 9)
    with pytest.raises(UsageError, match="without having been read"):  # nothing was lost by the first
        own_variable(folder, 9)
    resumed = own_variable(folder, 9, reads=True)
    assert resumed["w"].tolist() == own_variable(folder.with_name("other"), 9)["w"].tolist()


def test_a_state_that_was_read_before_a_check_has_put_another_in_is_refused(folder: Path) -> None:
    """It is that of the newest save, and the check goes back to the one before."""
    train(Run(folder, state={"w": jnp.zeros(3)}), 4, until=3)
    run = Run(folder, state={"w": jnp.zeros(3)})
    own = run.state
    with pytest.raises(UsageError, match=r"Or read it in each epoch"):
        for _ in run.epochs(4):
            own = trained(own)
            run.state = own


def test_a_loop_that_reads_its_state_once_an_epoch_is_told_to_start_again_after_a_check(folder: Path) -> None:
    drawn = iter(range(100))  # nobody saves it

    def train(until: int | None) -> Any:
        run = Run(folder, state={"w": jnp.zeros(3)}, save_every=2)
        for epoch in run.epochs(3):
            own = run.state
            for batch in run.batches(range(6)):
                own = {"w": own["w"] + next(drawn)}
                run.state = own
                if (epoch, batch) == (1, until):
                    run.flush()
                    return None
        return run.history

    train(4)
    with pytest.warns(outlast.OutlastWarning, match="is not what was saved"):  # noqa: SIM117
        with pytest.raises(UsageError, match="Start the same command again: it goes on from what was saved"):
            train(None)
    assert train(None) is not None  # as the error says


@pytest.mark.parametrize(("set_every", "save_every"), [(3, 4), (2, 3), (1, 2), (2, 4), (3, 3)])
def test_a_save_after_a_batch_that_has_not_set_the_state_is_named(
    folder: Path, set_every: int, save_every: int
) -> None:
    with warnings.catch_warnings(record=True, action="always") as caught:
        run = Run(folder, state=state(), learning_rate=0.1, save_every=save_every)
        for _ in run.epochs(2):
            own = run.state
            assert run.learning_rate
            for batch in run.batches(range(12)):
                own = trained(own)
                if batch % set_every == set_every - 1:
                    run.state = own
    is_late = save_every % set_every != 0
    assert [str(one.message).partition(",")[0] for one in caught] == (
        ["run.state was not set in the batch that is saved now"] if is_late else []
    )


def test_modules_that_are_changed_in_place_need_not_be_read(folder: Path) -> None:
    from flax import nnx

    def make_and_train(epochs: int, until: int | None) -> Any:
        model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
        run = Run(folder, state={"model": model}, save_every=1)
        for epoch in run.epochs(epochs):
            for batch in run.batches(range(3)):
                model.kernel[...] = model.kernel[...] + 1
                run.state = {"model": model}  # not needed, but the same
                if (epoch, batch) == (until, 1):
                    break
            if epoch == until:
                break
        return model.kernel[...] - nnx.Linear(2, 1, rngs=nnx.Rngs(0)).kernel[...]

    make_and_train(4, 2)
    assert make_and_train(4, None).round().tolist() == [[12.0], [12.0]]


@pytest.mark.parametrize(("check", "number"), [("never", 3), ("always", 0)])
def test_nothing_is_warned_of_where_an_epoch_had_no_batch_left(folder: Path, check: Any, number: int) -> None:
    """It was saved after its last batch, and goes on there: to end it, or to compare how it ended."""

    def run_until(end: tuple[int, int]) -> None:
        cut = outlast.ReduceLROnPlateau("val_loss", patience=0, min_delta=10)
        run = Run(folder, [cut], state=state(), learning_rate=0.1, save_every=1, check_resume=check)
        for epoch in run.epochs(4):
            done = 0
            while (epoch, done) != end and not done:
                for _ in run.batches(range(3)):
                    assert run.learning_rate
                    run.state = trained(run.state)
                done = 3
            if (epoch, done) == end:
                return
            run.log(val_loss=1.0)

    run_until((2 + (number == 0), number))
    with warnings.catch_warnings(record=True, action="always") as caught:
        run_until((9, 9))
    assert [str(one.message) for one in caught] == []
    assert len(outlast.open_run(folder).history.rows) == 4


def test_a_rate_that_the_loop_does_not_read_is_warned_of(folder: Path) -> None:
    cut = outlast.ReduceLROnPlateau("val_loss", patience=0, min_delta=10)
    with pytest.warns(OutlastWarning, match="did not read run.learning_rate"):
        train(Run(folder, [cut], state=state(), learning_rate=0.1), 3)

    def reading(state: Any) -> Any:
        assert run.learning_rate
        return trained(state)

    cut = outlast.ReduceLROnPlateau("val_loss", patience=0, min_delta=10)
    run = Run(None, [cut], state=state(), learning_rate=0.1)
    train(run, 3, reading)


def with_keys(saved_in: str) -> tuple[Any, Any, Any]:
    """A module of NNX, a generator of keys, and a state that has it there."""
    from flax import nnx

    class Model(nnx.Module):  # type: ignore[misc]
        def __init__(self, rngs: Any) -> None:
            self.weight, self.rngs = nnx.Param(jnp.ones(2)), rngs

    rngs = nnx.Rngs(7)
    model = Model(rngs if saved_in == "a module" else nnx.Rngs(8))
    return model, rngs, {"model": model} | ({"rngs": rngs} if saved_in == "the state" else {})


def drawing_step(model: Any, rngs: Any) -> None:
    model.weight[...] = model.weight[...] + rngs.normal((2,))


@pytest.mark.parametrize("saved_in", ["nothing", "the state", "a module"])
def test_generators_of_keys_of_nnx_that_nobody_saves_are_named(
    folder: Path, saved_in: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model, rngs, state = with_keys(saved_in)
    run = Run(folder, state=state)
    for _ in run.epochs(1):
        for _ in run.batches(range(2)):
            drawing_step(model, rngs)
    told = "after a resume the script's own rngs starts over: put it into the state"
    assert (told in capsys.readouterr().out) == (saved_in == "nothing")


def test_a_flag_that_the_script_sets_in_an_epoch_is_warned_of(folder: Path) -> None:
    from flax import nnx

    model = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
    run = Run(folder, state={"model": model, "params": jnp.ones(1)})
    with pytest.warns(OutlastWarning, match="no array changed since the epoch before"):
        for epoch in run.epochs(3):
            run.state = {**run.state, "params": run.state["params"] + 1}
            if epoch == 1:
                model.eval()


# Rates.


def test_rates_of_optax_are_found_and_set_in_their_own_type() -> None:
    injected = optax.inject_hyperparams(optax.sgd)
    transform = optax.multi_transform(
        {"body": optax.chain(optax.clip(1.0), injected(0.1)), "head": injected(0.01)},
        {"w": "body", "b": "head"},
    )
    run = Run(None, state={"params": state()["params"], "opt": transform.init(state()["params"])})
    assert run.learning_rate == pytest.approx({"body": 0.1, "head": 0.01})
    run.learning_rate = {"head": 0.5}
    rate = run.state["opt"].inner_states["head"].inner_state.hyperparams["learning_rate"]
    assert (rate.dtype, float(rate)) == (jnp.float32, 0.5)
    half = optax.inject_hyperparams(optax.sgd, hyperparam_dtype=jnp.bfloat16)(learning_rate=0.5)
    short = Run(None, state={"params": jnp.ones(1), "opt": half.init(jnp.ones(1))})
    short.learning_rate = 0.25
    assert short.state["opt"].hyperparams["learning_rate"].dtype == jnp.bfloat16
    with pytest.raises(ArgumentError, match="no learning rate 'tail', but body, head"):
        run.learning_rate = {"tail": 1.0}


def test_a_loop_without_a_rate_is_told_where_a_rate_can_be() -> None:
    ways = r"pass learning_rate= beside state=, .* optax.inject_hyperparams"
    run = Run(None, [outlast.ReduceLROnPlateau()], state=state())
    with pytest.raises(UsageError, match=ways):
        run.learning_rate = 0.1
    with pytest.raises(outlast.CapabilityError, match=f"ReduceLROnPlateau needs .*: {ways}"):
        train(run, 1)


def test_a_rate_that_a_schedule_computes_cannot_be_set(folder: Path) -> None:
    transform = optax.inject_hyperparams(optax.sgd)(learning_rate=optax.cosine_decay_schedule(0.1, 10))
    given = {"params": state()["params"], "opt": transform.init(state()["params"])}
    run = Run(folder, [outlast.ReduceLROnPlateau()], state=given)
    with pytest.raises(outlast.CapabilityError, match="needs a learning rate that can be set"):
        train(run, 1)


def test_another_initial_rate_is_refused_unless_it_is_accepted(folder: Path) -> None:
    train(Run(folder, state=state(), learning_rate=0.1), 2)
    with pytest.raises(RunChanged, match=r"learning_rate changed from 0.1 to 0.2"):
        Run(folder, state=state(), learning_rate=0.2)
    run = Run(folder, state=state(), learning_rate=0.2, accept_changes=["learning_rate"])
    assert run.learning_rate == 0.2
    with pytest.raises(RunChanged, match=r"learning_rate changed from 0.1 to none"):
        Run(folder, state=state())


def test_a_rate_that_is_set_between_two_trainings_counts(folder: Path) -> None:
    run = Run(folder, state=state(), learning_rate=0.1)
    train(run, 1)
    run.learning_rate = 0.01
    rates = []
    for _ in run.epochs(2):
        run.state = trained(run.state)
        rates.append(run.learning_rate)
    assert rates == [0.01]
    assert Run(folder, state=state(), learning_rate=0.1).learning_rate == 0.01


# Several trainings.


def test_a_second_training_goes_on_from_the_training_state_and_not_from_the_best_weights(
    folder: Path,
) -> None:
    stopper = outlast.EarlyStopping("val_loss", mode="max", patience=5, restore_best_weights=True)
    run = train(Run(folder, [stopper], state=state()), 2)
    assert run.state["params"]["w"][0, 0] == 4  # of the first epoch, the best
    train(run, 3)
    assert stopper.best_epoch == 0
    last = outlast.open_run(folder)
    assert len(last.history.rows) == 3


def test_a_state_that_is_set_between_two_trainings_is_refused_by_name(folder: Path) -> None:
    run = train(Run(folder, state=state()), 1)
    run.state = trained(run.state)
    with pytest.raises(RunChanged, match="weights changed since the run ended in this process"):
        train(run, 2)


def test_a_run_keeps_no_state_but_the_last(folder: Path) -> None:
    given = state()
    first = weakref.ref(given["params"]["w"])
    run = Run(folder, state=given)
    del given
    for epoch in run.epochs(3):
        run.state = trained(run.state)
        if epoch:
            gc.collect()
            assert first() is None


def test_a_run_with_a_state_is_not_for_kerass_fit() -> None:
    with pytest.raises(UsageError, match="was made with state=, for a JAX loop"):
        Run(None, state=state()).set_model(object())


def test_a_state_that_is_set_before_the_loop_is_kept_and_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(Run(folder, state=state()), 3, until=2)
    run = Run(folder, state=state())
    run.state = {**run.state, "params": {"w": jnp.zeros((4, 8)), "b": jnp.zeros(8)}}
    train(run, 3)
    assert run.state["params"]["w"][0, 0] == 3
    assert "were set after the Run was made" in capsys.readouterr().out


def test_a_check_names_what_differs_by_its_path(folder: Path) -> None:
    def noisy(state: Any) -> Any:
        return {**trained(state), "params": jax.tree.map(lambda x: x + next(noise), state["params"])}

    noise = iter(range(1, 10**6))
    train(Run(folder, state=state()), 4, noisy, until=3)
    with pytest.warns(OutlastWarning, match=r"the weights: state\['params'\]\['b'\] \(8 of 8 numbers differ"):
        train(Run(folder, state=state()), 4, noisy)


# Files.


@pytest.mark.parametrize("name", ["best.safetensors", "best.npz"])
def test_the_best_weights_are_read_without_outlast(folder: Path, name: str) -> None:
    from safetensors.numpy import load_file

    run = train(Run(folder, [outlast.ModelCheckpoint(name, save_best_only=True)], state=state()), 2)
    read = load_file(folder / name) if name.endswith("safetensors") else dict(np.load(folder / name))
    assert read.keys() == {"w", "b"} and read["w"].tolist() == run.state["params"]["w"].tolist()
    assert read.keys() == outlast.open_run(folder).load_best().keys()
    best = run.load_best()
    assert jax.tree.structure(best) == jax.tree.structure(run.state["params"])
    assert numbers(best) == numbers(run.state["params"])


def test_bfloat16_is_kept_in_safetensors_and_refused_in_npz(folder: Path) -> None:
    given = {"params": {"w": jnp.ones(2, jnp.bfloat16)}}
    with pytest.raises(
        ArgumentError, match=r"with bfloat16 weights, the filepath .* must end in `.safetensors`"
    ):
        train(Run(folder / "a", [outlast.ModelCheckpoint("best.npz")], state=given), 1)
    run = train(Run(folder / "b", [outlast.ModelCheckpoint(save_best_only=True)], state=given), 1)
    assert run.load_best() is not None
    assert outlast.open_run(folder / "b").load_best()["w"].dtype.name == "bfloat16"


def test_a_file_of_other_arrays_is_not_taken_for_the_weights(folder: Path) -> None:
    run = train(Run(folder, [outlast.ModelCheckpoint(save_best_only=True)], state=state()), 1)
    other = Run(None, state={"params": {"v": jnp.ones(1)}})
    with pytest.raises(outlast.DamagedFile, match="has other arrays"):
        other.training.load_file(str(folder / "best.safetensors"))
    assert run.best is not None


def env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(outlast.__file__).parents[1])}


def test_a_run_with_jax_is_looked_at_without_jax(folder: Path) -> None:
    train(Run(folder, [outlast.ModelCheckpoint(save_best_only=True)], state=state()), 2)
    program = (
        "import sys, outlast\n"
        "from outlast.cli import main\n"
        f"for command in ('verify', 'show', 'ls'): assert not main([command, {str(folder)!r}]), command\n"
        f"assert outlast.open_run({str(folder)!r}).load_best()['w'].shape == (4, 8)\n"
        "assert 'jax' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], env=env(), check=True, stdout=subprocess.PIPE)


def test_best_weights_that_a_resume_has_read_are_restored_in_their_type(folder: Path) -> None:
    def made() -> tuple[Run, outlast.EarlyStopping]:
        stopper = outlast.EarlyStopping("val_loss", mode="max", patience=9, restore_best_weights=True)
        return Run(folder, [stopper], state={"params": {"w": jnp.ones(3, jnp.bfloat16), "n": 1}}), stopper

    def step(state: Any) -> Any:
        return {"params": {"w": state["params"]["w"] * 2, "n": state["params"]["n"] + 1}}

    train(made()[0], 4, step, until=2)
    run, stopper = made()
    train(run, 4, step)
    assert stopper.best_epoch == 0
    weights = run.state["params"]
    assert (weights["w"].dtype, weights["w"].tolist(), weights["n"]) == (jnp.bfloat16, [8.0] * 3, 4)
    assert type(weights["n"]) is int


def test_without_jax_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['jax'] = None\n"
        "import outlast\n"
        "try: outlast.Run(None, state={'w': 1.0})\n"
        "except outlast.MissingExtra as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=env(), capture_output=True, text=True, check=True
    )
    assert "state=" in done.stdout and "outlast[jax]" in done.stdout


def test_by_hand_a_list_of_callbacks_stops_cuts_and_restores(folder: Path) -> None:
    folder.mkdir()
    callbacks = outlast.CallbackList(
        [
            outlast.EarlyStopping("loss", patience=2, restore_best_weights=True),
            outlast.ReduceLROnPlateau("loss", patience=1, factor=0.1),
            outlast.ModelCheckpoint(folder / "best.npz", "loss", save_best_only=True),
        ],
        state=state(),
        learning_rate=0.5,
    )
    callbacks.on_train_begin()
    for epoch, loss in enumerate([2.0, 1.0, 3.0, 4.0, 5.0]):
        callbacks.state = trained(callbacks.state)
        callbacks.on_epoch_end(epoch, {"loss": loss})
        if callbacks.stop_training:
            break
    callbacks.on_train_end()
    assert (epoch, callbacks.learning_rate) == (3, pytest.approx(0.005))
    assert callbacks.state["params"]["w"][0, 0] == 3
    assert np.load(folder / "best.npz")["w"][0, 0] == 3


def test_nothing_is_warned_of_in_a_plain_training(folder: Path) -> None:
    with warnings.catch_warnings(record=True, action="always") as caught:
        train(Run(folder, [outlast.CSVLogger()], state=state(), save_every=1), 3)
    assert [str(one.message) for one in caught] == []


def test_a_typed_key_in_extra_is_refused_with_what_can_be_stored(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", state={"w": jnp.ones(1)})
    with pytest.raises(CapabilityError, match=r"extra/key: .*; store the numbers in it, jax.random.key_data"):
        for _ in run.epochs(1):
            run.state = {"w": run.state["w"] + 1}
            run.extra["key"] = jax.random.key(0)
