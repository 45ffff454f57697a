"""Naming: what a resume would not bring back, by name, on the console."""

from __future__ import annotations

from typing import Any

from outlast.frameworks import loaders, random_state
from outlast.run import beforehand, parts, source
from outlast.run.generators import Firsts
from outlast.run.held import is_held
from outlast.run.hosted import Hosted
from outlast.run.script import starts_over
from outlast.run.structure import weights_of


class Naming(Hosted):
    """Looks for what is not saved, and says it once."""

    def _find_restructured(self, state: Any) -> None:
        self._restructured = (
            self._structure.changed(weights_of(state), self.training.takes_any_shape),
            self._structure_of_parts.changed(parts.made_of(self._parts)),
        )

    def _name_what_changed(self) -> str:
        """After an epoch: name what a resume would not bring back.

        Returns:
            A warning that is not given if a check shows that what changed makes no difference.
        """
        given = [*self._parts.values()]
        if self.training.is_amid_step(given):
            self._tell_once(
                "Accelerate sums gradients over the end of an epoch (a row of run.steps), and does not save "
                "of how many batches: prepare the loader too, accelerator.prepare(loader), which ends a step "
                "with it, or have gradient_accumulation_steps fit into the epoch, or into log_every"
            )
        taken_over = self.training.taken_over(given)
        for warning in (*self._restructured, taken_over, self.training.retrained()):
            if warning:
                self._warn(warning)
        return self.training.changed(self._parts)

    def _name_what_changed_inside(self) -> None:
        """After the first save inside an epoch: name what it does not hold, and the epoch's end may reset."""
        if self._has_looked_inside or self.folder is None:
            return
        self._has_looked_inside = True
        for problem in self._beside.changed_inside():
            self._say_inexact(problem)
        of_the_model = self.training.changed({}, inside=True)
        of_parts = self.training.changed(self._parts, inside=True)
        if of_the_model and not self._has_proved_exact():
            self._warn(of_the_model)
        if of_parts:  # no check sees what a part does not save before the epoch's end
            self._warn(of_parts)

    def _has_proved_exact(self) -> bool:
        """Whether a resume was identical already: what changes and is not saved made no difference."""
        return any(event.get("identical") for event in self._store.events("check"))

    def _inexact(self) -> list[str]:
        data = {"data": self.control.data(), "through_run": self._data.is_used}
        problems = beforehand.inexact(self, self._parts, {**(self.params or {}), **data})
        problems += self._data.inexact()
        known = self._given is not None or self._optimizer is not None  # [] says that there is none
        return problems + ([] if known else beforehand.lacking_optimizer(self.training, self._parts))

    def _tell_of_loader(self, problem: str) -> None:
        if self.folder is not None and self._check is None and problem not in self._told:  # a check will tell
            self._told.add(problem)
            self._say(f"outlast: resuming {self._shown} may not be exact: {problem}")

    def _look_at_script(self, *, inside: bool, loader: Any = None) -> None:
        """Name what the script carries on by itself, for it starts over where a resume goes on."""
        if self.folder is None:
            return
        goes_on_inside = self._every is not None or self._within is not None
        goes_on_amid_batches = goes_on_inside if inside else self._rows_wanted is not None
        self._loader_at_hand = loader
        with source.remembered():
            found = self._script.look(inside=inside, is_jax=self.training.is_value)
            problems = self._script.look_around() if goes_on_amid_batches else []
        self._loader_at_hand = None
        for is_inside in (False, True) if goes_on_inside else (False,):
            if text := starts_over([one for one in found if one.inside == is_inside]):
                self._say_of_run(text)
        for problem in problems:
            self._tell_once(problem)

    def _is_saved(self, value: Any, *, by_loader: bool = True) -> bool:
        """Whether a value is saved, or a piece of something that the run knows and speaks of elsewhere.

        Args:
            value: of the script.
            by_loader: the loader at hand is one of those.
        """
        known = [
            self,
            self._progress.extra,
            self.training,
            self.training.model,
            *self.training.optimizers.values(),
        ]
        if by_loader and self._loader_at_hand is not None:
            known += [found.holder for found in loaders.within(self._loader_at_hand)]
        if self._loop.holds(value) or random_state.has_keys_of(self.training.model, value):
            return True
        return is_held(value, [*known, *self._parts.values(), *self.callbacks])

    def _firsts(self) -> Firsts:
        """How the loaders were when the run was first started, as its events tell."""
        found = [(one.get("turn"), one.get("checksum")) for one in self._store.events("loader")]
        known = {
            turn: checksum
            for turn, checksum in reversed(found)  # the first start counts
            if isinstance(turn, int) and isinstance(checksum, int)  # anybody may have written the file
        }

        def record(turn: int, checksum: int) -> None:
            self._store.write_event("loader", {"turn": turn, "checksum": checksum})

        return Firsts(known, record)
