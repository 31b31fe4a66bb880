"""What has to be done at providers: one sentence a row of the table, then properties over all of them."""

from collections.abc import Sequence

from hypothesis import given, strategies as st

from trigflow.core.plan import (
    Actual,
    Identity,
    KeyFact,
    Known,
    Listed,
    Means,
    Step,
    Wanted,
    plan,
    renewal_at,
    retirement_at,
)

NOW = 1_000_000_000
ONE: Identity = ("github.webhook", "repo:acme/web", "github")
names = st.sampled_from(["issues", "push", "star", "release"])
events = st.lists(names, unique=True).map(lambda found: tuple(sorted(found)))


def planned(
    wanted: tuple[str, ...] | None, known: Known | None, listed: Listed | None, **means: object
) -> Sequence[Step]:
    want = None if wanted is None else Wanted(ONE, wanted)
    return plan(want, known, listed, Means(**means), now=NOW)  # type: ignore[arg-type]


def one(wanted: tuple[str, ...] | None, known: Known | None, listed: Listed | None, **means: object) -> Step:
    (step,) = planned(wanted, known, listed, **means)
    return step


def test_what_is_wanted_and_nowhere_is_created() -> None:
    step = one(("issues",), None, None)
    assert (step.action, step.missing) == ("create", ("issues",))


def test_a_row_without_a_finished_registration_is_created() -> None:
    assert one(("issues",), Known(ONE, (), finished=False), Listed(None)).action == "create"


def test_ours_from_a_registration_that_did_not_finish_is_adopted() -> None:
    step = one(("issues", "push"), Known(ONE, (), finished=False), Listed(Actual(("issues",))))
    assert (step.action, step.missing) == ("adopt", ("push",))


def test_an_unfinished_one_whose_secret_was_told_once_is_made_anew() -> None:
    step = one(("issues",), Known(ONE, (), finished=False), Listed(Actual(("issues",))), keeps_secret=False)
    assert step.action == "recreate"


def test_what_is_gone_at_the_provider_is_made_anew() -> None:
    assert one(("issues",), Known(ONE, ("issues",), finished=True), Listed(None)).action == "recreate"


def test_what_was_switched_off_or_moved_is_updated_though_its_events_are_right() -> None:
    known = Known(ONE, ("issues",), finished=True)
    off = one(("issues",), known, Listed(Actual(("issues",), active=False)))
    moved = one(("issues",), known, Listed(Actual(("issues",), url_is_current=False)))
    assert (off.action, moved.action) == ("update", "update")
    assert "switched off" in off.reason
    assert "URL" in moved.reason


def test_another_of_ours_than_the_store_knows_is_adopted_or_made_anew() -> None:
    known, other = Known(ONE, ("issues",), finished=True), Listed(Actual(("issues",), is_known=False))
    assert one(("issues",), known, other).action == "adopt"
    assert one(("issues",), known, other, keeps_secret=False).action == "recreate"


def test_the_provider_is_believed_more_than_the_store() -> None:
    step = one(("issues",), Known(ONE, ("issues",), finished=True), Listed(Actual(("push",))))
    assert (step.action, step.missing, step.orphaned) == ("update", ("issues",), ("push",))


def test_the_store_is_believed_where_the_provider_was_not_asked() -> None:
    assert one(("issues",), Known(ONE, ("issues",), finished=True), None).action == "none"
    assert one(("issues", "push"), Known(ONE, ("issues",), finished=True), None).missing == ("push",)


def test_what_nobody_wants_is_removed() -> None:
    step = one(None, Known(ONE, ("issues",), finished=True), None)
    assert (step.action, step.orphaned) == ("remove", ("issues",))


def test_without_credentials_a_person_is_asked_and_told_why() -> None:
    step = one(("issues",), Known(ONE, (), finished=False), None, automatic=False, why_not="set GITHUB_TOKEN")
    assert (step.action, step.reason) == ("manual", "set GITHUB_TOKEN")


def test_a_subscription_by_hand_is_done_once_a_delivery_has_come() -> None:
    known = Known(ONE, (), finished=False, confirmed=True)
    assert one(("issues",), known, None, automatic=False).action == "none"


def test_nobody_can_remove_by_hand_but_a_person() -> None:
    known = Known(ONE, ("issues",), finished=False, confirmed=True)
    assert one(None, known, None, automatic=False, why_not="no token").action == "manual"


def test_strays_with_our_mark_are_swept_and_others_counted() -> None:
    listed = Listed(Actual(("issues",)), strays=2, others=3)
    steps = planned(("issues",), Known(ONE, ("issues",), finished=True), listed)
    assert [(step.action, step.others) for step in steps] == [("none", 3), ("sweep", 0)]


@given(events, events, st.booleans(), st.booleans())
def test_missing_and_orphaned_are_the_two_differences(
    wanted: tuple[str, ...], has: tuple[str, ...], active: bool, listed: bool
) -> None:
    actual = Listed(Actual(has, active)) if listed else None
    step = one(wanted, Known(ONE, has, finished=True), actual)
    assert set(step.missing) == set(wanted) - set(has)
    assert set(step.orphaned) == set(has) - set(wanted)
    assert (step.action == "none") == (set(wanted) == set(has) and (active or not listed))


@given(events, st.booleans(), st.none() | st.builds(Listed, st.none() | st.builds(Actual, events)))
def test_carrying_out_a_plan_leaves_nothing_to_do(
    wanted: tuple[str, ...], finished: bool, listed: Listed | None
) -> None:
    step = one(wanted, Known(ONE, ("push",), finished), listed)
    assert step.desired == wanted
    after = Listed(Actual(step.desired)) if listed is not None else None
    assert one(wanted, Known(ONE, step.desired, finished=True), after).action == "none"


def actions(steps: Sequence[Step]) -> list[str]:
    return [step.action for step in steps]


HELD = Listed(Actual(("issues",)))


def leased(**facts: object) -> Known:
    return Known(ONE, ("issues",), finished=True, **facts)  # type: ignore[arg-type]


def test_a_lease_is_renewed_after_its_part_and_made_anew_once_it_has_run_out() -> None:
    def at(since: int, until: int) -> list[str]:
        row = leased(leased_at=NOW + since, lease_until=NOW + until)
        return actions(planned(("issues",), row, None, renews_after=0.5))

    assert at(-49, 51) == ["none"]
    assert at(-50, 50) == ["renew"]
    assert at(-100, 0) == ["recreate"]


def test_a_lease_that_a_source_does_not_renew_is_left_alone() -> None:
    row = leased(leased_at=0, lease_until=1)
    assert actions(planned(("issues",), row, HELD)) == ["none"]


def test_missing_events_and_an_old_lease_are_seen_to_in_one_plan() -> None:
    row = leased(leased_at=NOW - 60, lease_until=NOW + 40)
    steps = planned(("issues", "push"), row, HELD, renews_after=0.5)
    assert actions(steps) == ["renew", "update"]  # what works stays, should the update be refused
    assert steps[0].desired == row.registered


def test_a_new_key_is_made_when_asked_for_and_only_where_that_is_possible() -> None:
    row = leased(asked="rotate", keys=(KeyFact(1, 0),))
    assert actions(planned(("issues",), row, HELD, rotation="tell")) == ["rotate"]
    assert actions(planned(("issues",), row, HELD, rotation="no")) == ["none"]


def test_an_old_key_outlives_the_first_use_of_the_new_one_and_the_senders_retries() -> None:
    def at(created: int, used: int | None) -> list[str]:
        row = leased(keys=(KeyFact(2, NOW + created, used and NOW + used), KeyFact(1, 0)))
        return actions(planned(("issues",), row, HELD, rotation="tell", retries_for=100))

    assert at(-100, -50) == ["retire"]
    assert at(-99, -50) == ["none"]
    assert at(-1000, None) == ["none"]
    assert at(-1000, 1) == ["none"]


def test_a_webhook_that_was_replaced_under_the_same_key_is_stopped_at_once() -> None:
    row = leased(keys=(KeyFact(1, NOW - 5, has_webhook=True),))
    assert actions(planned(("issues",), row, HELD, retries_for=1000)) == ["retire"]


def test_an_account_of_an_app_needs_nothing_at_the_provider() -> None:
    assert actions(planned(("issues",), None, None, covered=True)) == ["create"]
    assert actions(planned(("issues",), leased(), None, covered=True)) == ["none"]
    assert actions(planned(None, leased(), None, covered=True, automatic=False)) == ["remove"]


times = st.integers(-200, 200).map(lambda some: NOW + some)


@given(times, times, st.floats(0.01, 0.99))
def test_a_lease_is_renewed_within_its_life(one_end: int, other: int, after: float) -> None:
    since, until = sorted((one_end, other))
    at = renewal_at(leased(leased_at=since, lease_until=until), after)
    assert at is not None
    assert since <= at <= until


@given(st.lists(st.tuples(times, st.none() | times), min_size=2, max_size=4), st.integers(0, 300))
def test_no_key_is_retired_before_the_new_one_was_seen_to_work(
    keys: list[tuple[int, int | None]], retries_for: int
) -> None:
    facts = tuple(KeyFact(len(keys) - n, created, used) for n, (created, used) in enumerate(keys))
    at = retirement_at(leased(keys=facts), retries_for)
    created, used = keys[0]
    if used is None:
        assert at is None
    else:
        assert at is not None
        assert at >= used
        assert at - created >= retries_for
