"""Which triggers an event starts, found without asking each of them.

Pure: built once from all triggers, then only read.

    topic --> group --> trie of paths --> value found there --> smaller group --> ...
                +-> always: entries that no equality singles out

Each entry waits at the value of its most selective equality. A group that is still
large is divided again by what is left of its entries' equalities, so that cost
follows matches, not entries. Entries whose filters ask for no equality ($gt, $regex,
$not, ... alone) are asked for every event of their topic.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import reduce
from itertools import chain, islice
from typing import Generic, TypeVar

import attrs
import msgspec

from trigflow.core.filter_values import Reads, is_array, is_object, read_together
from trigflow.core.filters import Equality, Matcher, Mismatch
from trigflow.core.views import View, view_of

T = TypeVar("T")

SMALL = 4  # entries of a group that are asked one by one
LEVELS = 3  # how often a group is divided
FEW_VALUES = 4  # values of an equality that divides further: an entry is kept once for each

Equalities = Mapping[int, Sequence[Equality]]  # by the position of the entry


@attrs.define(eq=False)
class _Node:
    """A step of a path: where it goes on, and who waits for which value here."""

    children: dict[str, _Node] = attrs.field(factory=dict[str, "_Node"])
    groups: dict[object, _Group] = attrs.field(factory=dict[object, "_Group"])


class _Group(msgspec.Struct, frozen=True, eq=False):
    """Entries, by position: those to ask always, and the way to the others."""

    always: Sequence[int]
    root: _Node | None = None


class _Topic(msgspec.Struct, Generic[T], frozen=True, eq=False):
    entries: Sequence[tuple[Matcher, T]]
    group: _Group
    view: View


class Index(Generic[T]):
    """Triggers by topic and by what their filters ask for."""

    __slots__ = ("_topics",)

    def __init__(self, entries: Iterable[tuple[Hashable, Matcher, T]]) -> None:
        """Take triples of topic, filter and what is to be found, in the order of results."""
        by_topic: dict[Hashable, list[tuple[Matcher, T]]] = defaultdict(list)
        for topic, matcher, found in entries:
            by_topic[topic].append((matcher, found))
        self._topics = {
            topic: _Topic(tuple(found), _divided(found), view_of(_read_by(found)))
            for topic, found in by_topic.items()
        }

    def count(self, topic: Hashable) -> int:
        """Return how many entries a topic has."""
        found = self._topics.get(topic)
        return 0 if found is None else len(found.entries)

    def view(self, topic: Hashable) -> View:
        """Return what decodes a payload as far as the filters of a topic look at it."""
        found = self._topics.get(topic)
        return _NOTHING if found is None else found.view

    def candidates(self, topic: Hashable, payload: object) -> Sequence[tuple[Matcher, T]]:
        """Return the entries that may match, every one that does among them, in the order given."""
        found = self._topics.get(topic)
        if found is None:
            return ()
        return [found.entries[position] for position in _positions(found.group, payload)]

    def match(self, topic: Hashable, payload: object) -> Sequence[T]:
        """Return what matches, in the order given."""
        return [found for matcher, found in self.candidates(topic, payload) if matcher.matches(payload)]

    def near(self, topic: Hashable, payload: object, *, limit: int) -> Sequence[tuple[T, Mismatch]]:
        """Return up to `limit` entries that do not match, each with its false clause.

        Candidates come first: they meet what is most particular about their filters.
        """
        found = self._topics.get(topic)
        if found is None:
            return ()
        first = _positions(found.group, payload)
        likely = frozenset(first)
        others = (position for position in range(len(found.entries)) if position not in likely)
        asked = (found.entries[position] for position in chain(first, others))
        explained = ((wanted, matcher.explain(payload)) for matcher, wanted in asked)
        return list(
            islice(((wanted, mismatch) for wanted, mismatch in explained if mismatch is not None), limit)
        )


_NOTHING = view_of({})


def _read_by(entries: Sequence[tuple[Matcher, object]]) -> Reads:
    nothing: Reads = {}
    return reduce(read_together, (matcher.reads for matcher, _ in entries), nothing)


def _divided(entries: Sequence[tuple[Matcher, object]]) -> _Group:
    return _group(
        range(len(entries)),
        {position: matcher.equalities for position, (matcher, _) in enumerate(entries)},
        0,
    )


def _group(positions: Sequence[int], equalities: Equalities, level: int) -> _Group:
    if len(positions) <= SMALL or level == LEVELS:
        return _Group(positions)
    chosen = _most_selective(positions, equalities)
    if not chosen:
        return _Group(positions)
    waiting: dict[tuple[str, ...], dict[object, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, equality in chosen.items():
        for value in equality.values:
            waiting[equality.path][value].append(position)
    left = {position: _left(equalities[position], equality) for position, equality in chosen.items()}
    root = _Node()
    for path, by_value in waiting.items():
        node = _node_at(root, path)
        node.groups = {value: _group(found, left, level + 1) for value, found in by_value.items()}
    return _Group([position for position in positions if position not in chosen], root)


def _left(equalities: Sequence[Equality], used: Equality) -> Sequence[Equality]:
    return [one for one in equalities if one is not used and len(one.values) <= FEW_VALUES]


def _most_selective(positions: Sequence[int], equalities: Equalities) -> Mapping[int, Equality]:
    """Choose an equality for each entry that has one: the one whose values fewest others share.

    Among equals the path that most entries know: fewer paths are to be walked then.
    """
    every = [one for position in positions for one in equalities[position]]
    sharing = Counter((one.path, value) for one in every for value in one.values)
    known = Counter(one.path for one in every)

    def crowd(one: Equality) -> tuple[int, int]:
        return max(sharing[one.path, value] for value in one.values), -known[one.path]

    return {position: min(equalities[position], key=crowd) for position in positions if equalities[position]}


def _node_at(root: _Node, path: Sequence[str]) -> _Node:
    node = root
    for key in path:
        node = node.children.setdefault(key, _Node())
    return node


def _positions(group: _Group, payload: object) -> Sequence[int]:
    if group.root is None:
        return group.always
    reached = {group: None}
    _reach(group.root, payload, payload, reached)
    if len(reached) == 1:
        return group.always
    # Through an array an entry may be reached by several of its values.
    return sorted({position for one in reached for position in one.always})


def _reach(node: _Node, value: object, payload: object, reached: dict[_Group, None]) -> None:
    """Collect the groups that wait for what stands in `value`; walks as clauses do."""
    if is_object(value):
        _reach_fields(node, value, payload, reached)
    elif is_array(value):
        if node.children:
            for element in value:
                if is_object(element):
                    _reach_fields(node, element, payload, reached)
    elif (group := node.groups.get(value)) is not None and group not in reached:
        reached[group] = None
        if group.root is not None:
            _reach(group.root, payload, payload, reached)


def _reach_fields(
    node: _Node, value: dict[str, object], payload: object, reached: dict[_Group, None]
) -> None:
    children = node.children
    if len(value) < len(children):
        for key, inner in value.items():
            if key in children:
                _reach(children[key], inner, payload, reached)
        return
    for key, child in children.items():
        if key in value:
            _reach(child, value[key], payload, reached)
