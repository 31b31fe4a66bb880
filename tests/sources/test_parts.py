"""Parts read what stands in a request, and never raise."""

import json as stdlib_json
from urllib.parse import urlencode

import attrs
import pytest
from hypothesis import given, strategies as st

from trigflow.core.errors import SetupError
from trigflow.core.http import Headers, Request
from trigflow.sources import parts
from trigflow.sources.derived import SORTED_FORM, either, unescaped
from trigflow.sources.parts import BODY, METHOD, URL, Part, form, header, json, kv, query

FORM_TYPE = Headers.of({"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})


def of_body(body: bytes, headers: Headers | None = None) -> Request:
    return Request("POST", "https://h.example/in", headers or Headers(), body)


def test_a_header_is_found_in_any_case_with_all_its_values() -> None:
    request = Request("POST", "u", Headers.of([("x-sig", "a"), ("X-SIG", "b"), ("x-sig2", "c")]))
    assert list(header("X-Sig").values(request)) == [b"a", b"b"]
    assert header("X-Sig") == header("x-sig")
    assert not header("X-None").values(request)


@given(st.lists(st.tuples(st.text(min_size=1), st.text())))
def test_query_and_form_fields_are_read_as_they_were_encoded(pairs: list[tuple[str, str]]) -> None:
    encoded = urlencode(pairs, encoding="utf-8", errors="surrogatepass")
    request = Request("POST", "u", FORM_TYPE, encoded.encode(), encoded)
    for name, _ in pairs:
        wanted = [value.encode("utf-8", "surrogatepass") for key, value in pairs if key == name]
        assert query(name).values(request) == wanted
        assert form(name).values(request) == wanted


def test_a_form_is_only_read_from_a_form() -> None:
    assert not form("a").values(of_body(b"a=1"))
    assert form("a").values(of_body(b"a=%ff+%2B", FORM_TYPE)) == [b"\xff +"]


def test_a_list_header_gives_every_value_of_a_key() -> None:
    request = Request("POST", "u", Headers.of({"Sig": "t=1, v1=a=,v0=z,v1=b"}))
    assert kv("Sig", "v1").values(request) == [b"a=", b"b"]
    assert kv("Sig", "t").values(request) == [b"1"]
    assert not kv("Sig", "v2").values(request)
    assert kv("Sig", "a", separator=";").values(Request("POST", "u", Headers.of({"Sig": "a=1;b=2"}))) == [
        b"1"
    ]


def test_body_url_and_method_are_taken_as_they_are() -> None:
    request = Request("POST", "https://h/ä?x=%2F", Headers(), b"\x00\xff")
    assert [list(part.values(request)) for part in (BODY, URL, METHOD)] == [
        [b"\x00\xff"],
        ["https://h/ä?x=%2F".encode()],
        [b"POST"],
    ]


PAYLOAD = {
    "webhook": {"id": "w1"},
    "n": 12345678901234567890,
    "yes": True,
    "none": None,
    "float": 1.5,
    "object": {},
    "dotted.key": {"@odata.etag": "e"},
    "value": [{"clientState": "a"}, {"clientState": "b"}],
    "some": [{"id": "a"}, {}],
    "empty": [],
    "[*]": "a key of that name",
    "0": "zero",
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("webhook.id", [b"w1"]),
        ("n", [b"12345678901234567890"]),
        ("yes", [b"true"]),
        ("none", []),
        ("float", []),
        ("object", []),
        ("missing.id", []),
        ('["dotted.key"]["@odata.etag"]', [b"e"]),
        ("value[*].clientState", [b"a", b"b"]),
        ("value[1].clientState", [b"b"]),
        ("value[2].clientState", []),
        ("some[*].id", []),
        ("empty[*].id", []),
        ("webhook[*]", []),
        ("[*]", []),
        ('["[*]"]', [b"a key of that name"]),
        ("0", [b"zero"]),
        ("value.0", []),
    ],
)
def test_a_path_leads_to_text_and_whole_numbers(path: str, found: list[bytes]) -> None:
    assert list(json(path).values(of_body(stdlib_json.dumps(PAYLOAD).encode()))) == found


@pytest.mark.parametrize(
    "path", ["", ".", ".a", "a.", "a..b", "a[", "a[x]", "a[-1]", 'a[""]', "a[*", "a.[0]", "a]b"]
)
def test_a_path_that_cannot_be_meant_is_refused_when_written(path: str) -> None:
    with pytest.raises(SetupError):
        json(path)


@given(
    st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cc", "Cs"]), min_size=1), st.text()
)
def test_any_key_without_quotes_can_be_quoted(key: str, value: str) -> None:
    found = json(f'["{key}"]').values(of_body(stdlib_json.dumps({key: value}).encode()))
    assert list(found) == [value.encode()]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'"\xff"',
        b"[" * 100_000,
        b"1" * 5_000,
        b'{"a":%s}' % (b"1" * 5_000),
        b"[1e999]",
        b"null",
    ],
)
def test_a_body_that_is_no_json_holds_nothing(body: bytes) -> None:
    assert not json("a").values(of_body(body))


def test_a_body_is_read_anew_for_each_request() -> None:
    for number in range(200):
        assert json("a").values(of_body(b'{"a":%d}' % number)) == [str(number).encode()]


finite = st.floats(allow_nan=False, allow_infinity=False)
# What is beside the path, as any JSON parser takes it.
asides = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(asides, st.dictionaries(st.sampled_from("abc"), asides, max_size=3), st.lists(asides, max_size=4))
def test_what_the_path_does_not_lead_to_does_not_matter(
    beside: object, value: dict[str, object], many: list[object]
) -> None:
    whole = {"x": beside, "at": value, "many": many, "y": beside}
    body = of_body(stdlib_json.dumps(whole).encode())
    wanted = value.get("a")
    expected = [] if not isinstance(wanted, str | int) else [_as_written(wanted)]
    assert list(json("at.a").values(body)) == expected
    second = many[1] if len(many) > 1 else None
    assert list(json("many[1]").values(body)) == (
        [_as_written(second)] if isinstance(second, str | int) else []
    )
    each = [_as_written(one) for one in many if isinstance(one, str | int)]
    assert list(json("many[*]").values(body)) == (each if len(each) == len(many) else [])


def _as_written(value: str | int) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return stdlib_json.dumps(value).encode()


def test_more_fields_than_anybody_sends_count_as_none() -> None:
    most = b"a=1&" * (parts.MOST_FIELDS - 1)
    for bomb, found in ((most + b"a=1", parts.MOST_FIELDS), (most + b"&a=1", 0), (most * 100, 0)):
        assert len(form("a").values(of_body(bomb, FORM_TYPE))) == found
        assert len(query("a").values(Request("POST", "u", Headers(), b"", bomb.decode()))) == found
        assert bool(SORTED_FORM.values(of_body(bomb, FORM_TYPE))) is bool(found)


def test_lists_of_large_bodies_are_not_looked_into() -> None:
    element = b'{"a":"1","b":"' + b"x" * 1000 + b'"}'
    count = parts.LARGEST_LISTS // (len(element) + 1)
    small, large = (b"[" + b",".join([element] * number) + b"]" for number in (count - 1, count + 1))
    assert len(json("[*].a").values(of_body(small))) == count - 1
    assert not json("[*].a").values(of_body(large))
    assert not json("[0].a").values(of_body(large))


def test_only_chosen_escapes_are_undone() -> None:
    request = Request("POST", "https://h/%3a%3A%2F%20%25%3F%zz", Headers())
    assert unescaped(URL).values(request) == [b"https://h/::/%20%25?%zz"]
    # Once: what an escape yields is not an escape again.
    assert unescaped(URL).values(Request("POST", "%253A", Headers())) == [b"%253A"]


def test_a_sorted_form_holds_each_distinct_value_once() -> None:
    assert list(SORTED_FORM.values(of_body(b"b=2&a=1&b=1&b=2&c=", FORM_TYPE))) == [b"a1b1b2c"]


def test_a_body_that_is_no_form_needs_its_hash_in_the_url() -> None:
    hashed = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
    body = b'{"property": "value", "boolean": true}'
    vouched = Request("POST", f"https://h/in?bodySHA256={hashed}", Headers(), body)
    assert list(SORTED_FORM.values(vouched)) == [b""]
    assert not SORTED_FORM.values(attrs.evolve(vouched, body=body + b" "))
    assert not SORTED_FORM.values(attrs.evolve(vouched, url="https://h/in"))
    # A signed JSON request, replayed as an empty form: the URL still says what the body was.
    assert not SORTED_FORM.values(attrs.evolve(vouched, body=b"", headers=FORM_TYPE))
    assert list(SORTED_FORM.values(Request("GET", "https://h/in", Headers()))) == [b""]


def test_the_first_part_that_is_there_is_read() -> None:
    part = either(form("payload"), BODY)
    assert part.values(of_body(b"payload=%7B%7D", FORM_TYPE)) == [b"{}"]
    assert list(part.values(of_body(b"{}"))) == [b"{}"]


ALL: list[Part] = [
    header("X"),
    query("a"),
    form("a"),
    kv("X", "t"),
    json("a[*].b"),
    BODY,
    URL,
    METHOD,
    unescaped(URL),
    SORTED_FORM,
    either(json("a"), form("a")),
]


contents = st.binary(max_size=20) | st.just(b"application/x-www-form-urlencoded")
requests = st.builds(
    Request,
    st.text(max_size=10),
    st.text(max_size=40),
    st.builds(Headers, st.lists(st.tuples(st.sampled_from([b"x", b"content-type"]), contents), max_size=3)),
    st.binary(max_size=60),
    st.text(max_size=40),
)


@given(requests)
def test_no_part_ever_raises(request: Request) -> None:
    for part in ALL:
        assert all(isinstance(found, bytes) for found in part.values(request))


def test_a_part_says_in_words_where_it_reads() -> None:
    assert [str(part) for part in ALL[:6]] == [
        "header X",
        "query parameter a",
        "form field a",
        "t in header X",
        "JSON a[*].b",
        "the body",
    ]
