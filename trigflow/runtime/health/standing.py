"""How an open app is, as a whole and in each of its parts, and whether it can take anything now."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trigflow.runtime.forks import FORKED
from trigflow.runtime.health.supervise import Part, State, Supervision
from trigflow.runtime.health.watch import StoreWatch
from trigflow.runtime.ports import Clock


class Standing:
    """Keeps the state of one process's app; owns the supervision of its loops."""

    def __init__(
        self,
        clock: Clock,
        chance: Callable[[], float],
        *,
        executes: Callable[[], bool],
        watch: Callable[[], StoreWatch],
    ) -> None:
        """Begin as running. executes: tells whether runs are being executed here."""
        self.loops: Supervision = Supervision(clock, chance, on_failed=self.block)
        self._clock, self._executes, self._watch = clock, executes, watch
        self._state: State = "running"
        self._since, self._cause = clock.now(), ""
        self._may_be_blocked = False

    def parts(self) -> Sequence[Part]:
        """Tell how each part is."""
        loops = self.loops.parts()
        app = Part("app", self._state, self._since, self._cause)
        others = [part for name, part in loops.items() if name not in ("engine", "store")]
        return [app, self._store(loops.get("store")), self._engine(loops.get("engine")), *others]

    def _store(self, loop: Part | None) -> Part:
        """Return how the store is; while nobody watches it, that is not known."""
        if loop is not None and loop.state in ("restarting", "failed"):
            return loop
        return self._watch().part()

    def _engine(self, loop: Part | None) -> Part:
        if loop is None:
            return Part("engine", "off", self._since, "this process executes no runs; another one must")
        if loop.state == "running" and not self._executes():
            return Part("engine", "restarting", loop.since, loop.cause or "it is starting")
        return loop

    def drain(self) -> None:
        """Say that this process is about to end; nothing stops yet."""
        if self._state == "running":
            self._state, self._since, self._cause = "restarting", self._clock.now(), "it is shutting down"

    def forked(self) -> None:
        """Hear, in a child process, that nothing here may be used."""
        self._state, self._cause = "failed", FORKED
        self.block()

    def block(self) -> None:
        """Hear that something failed that is needed to take deliveries."""
        self._may_be_blocked = True

    @property
    def is_blocked(self) -> bool:
        """Tell whether runs can't be kept or executed for good; that may pass. Cheap while nothing failed."""
        if self._may_be_blocked:
            failed = self._state == "failed" or self.loops.failed("engine")
            self._may_be_blocked = failed or self._watch().silent
        return self._may_be_blocked
