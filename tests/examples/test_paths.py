"""Hosts differ in how they hand a mounted app its path; what it sees below the mount is the same."""

from __future__ import annotations

from hypothesis import given, strategies as st

from trigflow.web.asgi import local_path, mount_prefix

MARK = "/e/abcdefgh/"
segments = st.text("abcde", min_size=1, max_size=4)
prefixes = st.lists(segments, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))
below = st.sampled_from([f"{MARK}token", "/probe/nonce", "/healthz", "/e/other", "/nothing"])
slashes = st.sampled_from(["", "/"])


@given(prefixes, below, slashes)
def test_a_whole_path_loses_its_prefix(prefix: str, path: str, slash: str) -> None:
    whole = prefix + path + slash
    scope = {"path": whole, "raw_path": whole.encode(), "root_path": prefix}
    assert (local_path(scope, MARK), mount_prefix(scope, path)) == (path, prefix)


@given(prefixes, below, slashes)
def test_a_path_that_the_host_cut_stays_and_the_prefix_is_found(prefix: str, path: str, slash: str) -> None:
    scope = {"path": path + slash, "raw_path": (prefix + path).encode(), "root_path": ""}
    assert (local_path(scope, MARK), mount_prefix(scope, path)) == (path, prefix)


@given(prefixes)
def test_an_endpoint_is_never_cut_whatever_the_prefix_is(prefix: str) -> None:
    path = f"{MARK}token"
    assert local_path({"path": path, "root_path": "/e"}, MARK) == path
    assert local_path({"path": path, "root_path": prefix}, MARK) == path


@given(prefixes.filter(bool))
def test_a_prefix_ends_at_a_slash(prefix: str) -> None:
    path = f"{prefix}more/healthz"
    assert local_path({"path": path, "root_path": prefix}, MARK) == path
