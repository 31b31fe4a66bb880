"""What has to be done at providers: one sentence a row of the table, then properties over all of them."""

from hypothesis import given
from hypothesis import strategies as st

from trigflow.core.plan import Actual, Identity, Known, Listed, Means, Step, Wanted, plan

ONE: Identity = ("github.webhook", "repo:acme/web", "github")
names = st.sampled_from(["issues", "push", "star", "release"])
events = st.lists(names, unique=True).map(lambda found: tuple(sorted(found)))


def only(steps: object) -> Step:
    assert isinstance(steps, list)
    (step,) = steps
    assert isinstance(step, Step)
    return step


def one(wanted: tuple[str, ...] | None, known: Known | None, listed: Listed | None, **means: object) -> Step:
    return only(
        plan(
            [] if wanted is None else [Wanted(ONE, wanted)],
            [] if known is None else [known],
            {} if listed is None else {ONE: listed},
            {ONE: Means(**means)},  # type: ignore[arg-type]
        )
    )


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
    steps = plan([Wanted(ONE, ("issues",))], [Known(ONE, ("issues",), finished=True)], {ONE: listed}, {})
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


@given(st.lists(st.tuples(st.sampled_from("abc"), events), max_size=6), st.sets(st.sampled_from("abcd")))
def test_every_webhook_gets_exactly_one_step_in_a_stable_order(
    wanted: list[tuple[str, tuple[str, ...]]], rows: set[str]
) -> None:
    wants = {("s", key, "c"): Wanted(("s", key, "c"), told) for key, told in wanted}
    known = [Known(("s", key, "c"), ("push",), finished=True) for key in rows]
    steps = plan(wants.values(), known, {}, {})
    assert [step.identity for step in steps] == sorted({*wants, *(row.identity for row in known)})
    assert steps == plan(reversed(wants.values()), list(reversed(known)), {}, {})
