"""Writes events.json, the catalogue beside this file, from GitHub's description of its webhooks.

    python -m trigflow_github.catalogue.condense api.github.com.json EXAMPLES

The description is `generated/api.github.com.json` of the npm package @octokit/openapi-webhooks;
EXAMPLES a folder of payloads named EVENT.*.json, such as @octokit/webhooks-examples has them.
Then run `trigflow_github.catalogue.generate`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import attrs

from trigflow_github.catalogue.choosing import Classes
from trigflow_github.catalogue.permissions import needs
from trigflow_github.catalogue.shapes import Shape, merged, of_schema, of_value

# The actions of a repository_dispatch are whatever its sender made up.
ANY_ACTION = ("repository_dispatch",)
KINDS = ("repository", "organization", "app")


@attrs.frozen
class Described:
    """What the description says of one event, over all of its actions."""

    name: str
    actions: tuple[str, ...]
    kinds: tuple[str, ...]
    summary: str
    shape: Shape
    seen: Shape | None


def described(description: Mapping[str, Any], examples: Mapping[str, Sequence[Any]]) -> Iterator[Described]:
    """Return the events by name."""
    schemas = description["components"]["schemas"]
    operations: dict[str, list[Any]] = {}
    for webhook in description["webhooks"].values():
        name = webhook["post"]["x-github"]["subcategory"].replace("-", "_")
        operations.setdefault(name, []).append(webhook["post"])
    for name, all_of_it in sorted(operations.items()):
        said = [_schema(one) for one in all_of_it]
        shapes = [of_schema(one, schemas) for one in said]
        seen = [of_value(one) for one in examples.get(name, ())]
        actions = sorted({action for one in said for action in _actions(one, schemas)})
        first = all_of_it[0]
        # A few operations leave the kinds out that others of the same event have.
        kinds = {kind for one in all_of_it for kind in one["x-github"]["supported-webhook-types"]}
        yield Described(
            name,
            () if name in ANY_ACTION else tuple(actions),
            tuple(kind for kind in KINDS if kind in kinds),
            first["summary"],
            reduce(merged, shapes + seen),
            reduce(merged, seen) if seen else None,
        )


def _schema(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    body: Mapping[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    return body


def _actions(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        yield from _actions(schemas[schema["$ref"].rpartition("/")[2]], schemas)
        return
    for one in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        yield from _actions(one, schemas)
    action = schema.get("properties", {}).get("action", {})
    yield from action.get("enum", ())


def title(summary: str) -> str:
    """Return the first sentence of a summary, as plain text: "Someone forks a repository."."""
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", summary.replace("\n", " "))
    first = re.split(r"(?<=\.)\s", text, maxsplit=1)[0].replace("`", "").replace('"', "'")
    first = first.removeprefix("This event occurs when ")
    return f"{first[0].upper()}{first[1:]}"


def catalogue(description: Mapping[str, Any], examples: Mapping[str, Sequence[Any]]) -> Mapping[str, Any]:
    """Return what events.json holds."""
    found = list(described(description, examples))
    classes = Classes.of(
        {one.name: one.shape for one in found},
        {one.name: one.seen for one in found if one.seen},
        {one.name: one.kinds for one in found},
    )
    return {
        "source": "@octokit/openapi-webhooks, generated/api.github.com.json; MIT, Copyright (c) 2020 Octokit",
        "events": {
            one.name: {
                "says": title(one.summary),
                "actions": list(one.actions),
                "any_action": one.name in ANY_ACTION,
                "kinds": list(one.kinds),
                "needs": [attrs.asdict(need) for need in needs(one.summary)],
                **classes.event(one.name),
            }
            for one in found
        },
        "classes": classes.made,
    }


def _examples(folder: Path) -> Mapping[str, Sequence[Any]]:
    found: dict[str, list[Any]] = {}
    for path in sorted(folder.glob("*.json")):
        found.setdefault(path.name.partition(".")[0], []).append(json.loads(path.read_bytes()))
    return found


def main(arguments: Iterable[str]) -> None:
    """Write the catalogue."""
    description, examples = map(Path, arguments)
    found = catalogue(json.loads(description.read_bytes()), _examples(examples))
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    (Path(__file__).parent / "events.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
