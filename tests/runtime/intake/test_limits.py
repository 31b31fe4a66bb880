"""How much is taken in: rates against a plain count, room against a plain sum."""

from hypothesis import assume, given, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trigflow.runtime.intake import limits
from trigflow.runtime.intake.limits import Rates, Room

steps = st.lists(st.sampled_from([0.0, 0.001, 0.1, 0.4, 1.0, 7.0]), min_size=1, max_size=60)


@given(steps, st.integers(1, 20), st.integers(1, 20))
def test_no_stretch_of_time_sees_more_than_the_burst_and_what_came_back(
    gaps: list[float], per_second: int, burst: int
) -> None:
    rates, now, passed = Rates(per_second=per_second, burst=burst), 100.0, []
    for gap in gaps:
        now += gap
        if not rates.wait("a", now=now):
            passed.append(now)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            allowed = burst + (passed[last] - passed[first]) * per_second
            assert last - first + 1 <= allowed + 0.011


@given(steps, st.integers(1, 20), st.integers(1, 20))
def test_whoever_waits_as_long_as_told_passes_and_a_little_sooner_does_not(
    gaps: list[float], per_second: int, burst: int
) -> None:
    rates, now = Rates(per_second=per_second, burst=burst), 100.0
    for gap in gaps:
        now += gap
        wait = rates.wait("a", now=now)
        if wait:
            assert wait <= 1 / per_second + 1e-9
            assert rates.wait("a", now=now + wait * 0.9)
            now += wait + 1e-6
            assert not rates.wait("a", now=now)


@given(st.integers(1, 50), st.integers(1, 50))
def test_a_whole_burst_passes_at_once_and_no_more(per_second: int, burst: int) -> None:
    rates = Rates(per_second=per_second, burst=burst)
    answers = [rates.wait("a", now=5.0) for _ in range(burst + 1)]
    assert not any(answers[:-1])
    assert answers[-1] > 0
    assert not rates.wait("b", now=5.0), "another endpoint has its own allowance"


def test_no_rate_is_no_limit() -> None:
    rates = Rates(per_second=0, burst=1)
    assert not any(rates.wait("a", now=0.0) for _ in range(1000))
    assert len(rates) == 0


def test_memory_stays_bounded_whatever_is_invented_and_nobody_gets_more_for_it() -> None:
    rates = Rates(per_second=10, burst=2)
    assert not rates.wait("limited", now=0.0)
    assert not rates.wait("limited", now=0.0)
    for number in range(5 * limits.MOST_KEYS):
        now = number / 1_000_000
        rates.wait(f"invented {number}", now=now)
        if number % 1000 == 0:
            assert rates.wait("limited", now=now) > 0
    assert len(rates) <= 5 * limits.MOST_KEYS + 1, "each of them is still in use"
    for number in range(15 * limits.MOST_KEYS):  # as if much later
        rates.wait(f"later {number}", now=1000 + number)
        assert len(rates) <= 10 * limits.MOST_KEYS + 2
    assert len(rates) <= limits.MOST_KEYS + 1


class RoomAgainstASum(RuleBasedStateMachine):
    """Requests come, grow and go; beside them a plain list of what each holds."""

    MOST_BYTES, MOST_REQUESTS = 100, 5

    def __init__(self) -> None:
        super().__init__()
        self.room = Room(most_bytes=self.MOST_BYTES, most_requests=self.MOST_REQUESTS)
        self.held: list[int] = []

    @rule(size=st.integers(0, 60))
    def enter(self, size: int) -> None:
        fits = len(self.held) < self.MOST_REQUESTS and sum(self.held) + size <= self.MOST_BYTES
        assert self.room.enter(size) is fits
        if fits:
            self.held.append(size)

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 4), size=st.integers(0, 60), back=st.booleans())
    def grow(self, which: int, size: int, back: bool) -> None:
        assume(which < len(self.held))
        fits = sum(self.held) + size <= self.MOST_BYTES
        assert self.room.grow(size) is fits
        if fits and back:
            self.room.shrink(size)
        elif fits:
            self.held[which] += size

    @precondition(lambda self: self.held)
    @rule()
    def leave(self) -> None:
        self.room.leave(self.held.pop())

    @invariant()
    def counts_are_right(self) -> None:
        assert (self.room.requests, self.room.bytes) == (len(self.held), sum(self.held))


TestRoom = RoomAgainstASum.TestCase
