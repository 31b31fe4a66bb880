"""What the environment says of one account, and what people see of it."""

from __future__ import annotations

from hypothesis import given, strategies as st

from trigflow import ApiKey, Credentials, Field

names = st.sampled_from("abcdef")
fields = st.lists(
    st.builds(
        lambda name, required: Field(name, name.upper(), name, required=required), names, st.booleans()
    ),
    unique_by=lambda field: field.name,
)
environments = st.dictionaries(names.map(str.upper) | st.just("KEY"), st.sampled_from(["", "x", "y z"]))


@given(fields, environments)
def test_an_account_of_many_fields_is_whole_or_not_there(more: list[Field], environ: dict[str, str]) -> None:
    found = ApiKey("KEY", *more).from_environment(environ)
    given_values = {"token": environ.get("KEY", ""), **{one.name: environ.get(one.env, "") for one in more}}
    needed = ["token", *(one.name for one in more if one.required)]
    if all(given_values[name] for name in needed):
        assert dict(found or {}) == {name: value for name, value in given_values.items() if value}
    else:
        assert found is None


@given(fields, environments)
def test_an_account_of_which_nothing_is_set_is_not_there(more: list[Field], environ: dict[str, str]) -> None:
    key = ApiKey("KEY")
    key.fields = tuple(more)
    found = key.from_environment(environ)
    assert found is None or any(found.values())


@given(st.dictionaries(names, st.text(min_size=4, alphabet="0123456789")))
def test_credentials_show_their_names_alone(values: dict[str, str]) -> None:
    told = repr(Credentials(values))
    assert not any(value in told for value in values.values())
    assert all(name in told for name in values)
