"""Filters on payloads: JSON-able mappings, compiled once, asked for every event.

    as written --compile_filter--> Matcher --matches--> yes or no
                                           --explain--> the false clause

The language is described in docs/filters.md. Refused when compiled: whatever can't
be read. Never refused when asked: a clause that does not understand a value is false.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, cast

import attrs

from trigflow.core.filter_clauses import Clause, every
from trigflow.core.filter_grammar import is_mapping, read_filter
from trigflow.core.filter_values import MISSING, Equality, Mismatch, Missing, Place, Reads, is_array

__all__ = [
    "MISSING",
    "Equality",
    "Filter",
    "Matcher",
    "Mismatch",
    "Missing",
    "all_of",
    "compile_filter",
]

Filter: TypeAlias = Mapping[str, object]


@attrs.frozen(eq=False)
class Matcher:
    """A compiled filter.

    source: the filter as written, a copy of its own; not to be changed.
    clause: what it was compiled to.
    """

    source: Filter
    clause: Clause = attrs.field(repr=False)

    def matches(self, payload: object) -> bool:
        """Tell whether a payload, JSON as decoded, meets the filter."""
        return self.clause.holds(payload)

    def explain(self, payload: object) -> Mismatch | None:
        """Return the first clause that is false, or None if the payload matches."""
        return self.clause.explain(payload, ())

    @property
    def equalities(self) -> tuple[Equality, ...]:
        """Conditions that every matching payload meets; an index may look for them."""
        return self.clause.equalities

    @property
    def reads(self) -> Reads:
        """What of a payload it looks at; the rest need not be decoded."""
        return self.clause.reads


def compile_filter(filter: Filter | None, *, where: str) -> Matcher:  # noqa: A002 - the word of the language
    """Compile a filter; None and {} match everything.

    where: what the filter belongs to, such as "job triage, filter"; named in errors.
    Raises SetupError with the path inside the filter and what to write instead.
    """
    written: Filter = {} if filter is None else filter
    clause = read_filter(Place(where), written)
    return Matcher(cast("Filter", _copied(written)), clause)


def all_of(*matchers: Matcher) -> Matcher:
    """Return one matcher that matches what all of these do; nothing given: everything."""
    narrowing = [matcher for matcher in matchers if matcher.source]
    if len(narrowing) == 1:
        return narrowing[0]
    if not narrowing:
        return compile_filter(None, where="")
    source = {"$and": [matcher.source for matcher in narrowing]}
    return Matcher(source, every([matcher.clause for matcher in narrowing]))


def _copied(written: object) -> object:
    """Copy a filter that was read, so its depth is bounded, into plain dicts and lists."""
    if is_mapping(written):
        return {key: _copied(value) for key, value in written.items()}
    return [_copied(value) for value in written] if is_array(written) else written
