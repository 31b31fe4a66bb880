"""An app as it is written: start one, check it, list its jobs and settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import attrs
from cyclopts import Parameter

from trigflow.cli.opening import AsJson, PublicUrl, StorePath, TargetName, inspected, set_up
from trigflow.cli.registrations import show_plan, told_step
from trigflow.cli.screen import say, show_fields, show_json, show_table, styled
from trigflow.cli.targets import TargetError
from trigflow.core.durations import shown_duration
from trigflow.core.errors import SetupError
from trigflow.core.jobs import Job, Listening
from trigflow.core.settings import Resolved, resolve

MASK = "***"
GROUP = "trigflow.integrations"
TEMPLATES = {"app.py": "app.py.txt", "test_app.py": "test_app.py.txt", ".gitignore": "gitignore.txt"}


def init(folder: Path = Path()) -> None:
    """Write a small app and its test into a folder; nothing that is there is overwritten."""
    from importlib.resources import files

    there = [name for name in TEMPLATES if name != ".gitignore" and (folder / name).exists()]
    if there:
        raise SetupError(f"{folder / there[0]} is there already; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    for name, template in TEMPLATES.items():
        if not (folder / name).exists():
            text = (files("trigflow.cli") / "templates" / template).read_text(encoding="utf-8")
            (folder / name).write_text(text, encoding="utf-8")
            say("wrote ", styled(str(folder / name), "bold"))
    inside = "" if folder == Path() else f"cd {folder} && "
    say(f"\ntest it     {inside}pytest")
    say(f"see it      {inside}trigflow dev, and beside it: trigflow deliver github.issues:opened")
    say("for real    set REPO in app.py and GITHUB_TOKEN in the environment, then: trigflow dev --tunnel")


async def check(
    target: TargetName = None, *, store: StorePath = None, url: PublicUrl = None, as_json: AsJson = False
) -> None:
    """Build the app, structure the examples into its annotations, and plan without asking providers.

    Nothing is written: where the app has no store yet, one in memory stands in.
    """
    async with inspected(target, store, url, writes=False) as app:
        steps = await app.plan(offline=True)
    if as_json:
        show_json({"jobs": [_job(job) for job in app.jobs.values()], "plan": [told_step(s) for s in steps]})
        return
    say(
        styled("ok", "green"),
        f"  {len(app.jobs)} job{'' if len(app.jobs) == 1 else 's'}: {', '.join(app.jobs)}",
    )
    show_plan(steps)


def jobs(target: TargetName = None, *, as_json: AsJson = False) -> None:
    """Show the jobs of an app and what they listen to."""
    found = [_job(job) for job in set_up(target, None).jobs.values()]
    if as_json:
        show_json(found)
        return
    show_table(
        ("job", "listens to", "of", "filter", "enabled"),
        (
            (
                job["id"],
                "\n".join(str(one["name"]) for one in job["triggers"]),
                "\n".join(f"{one['source']} {one['key'] or one['dynamic']}" for one in job["triggers"]),
                "\n".join("yes" if one["filter"] or job["filter"] else "" for one in job["triggers"]),
                "yes" if job["enabled"] else "no",
            )
            for job in found
        ),
        empty="no jobs",
    )


def settings(
    target: TargetName = None,
    *,
    new_key: Annotated[
        bool, Parameter(negative="", help="Print a new secret key, and nothing else.")
    ] = False,
    store: StorePath = None,
    url: PublicUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show each setting and where it comes from; secrets are masked."""
    if new_key:
        from trigflow.runtime.sealing.vault import Vault

        print(Vault.new_key())
        return
    found = _settings(resolved(target, store, url))
    if as_json:
        show_json(found)
        return
    show_table(
        ("setting", "value", "from", "what it is"),
        ((one["name"], one["value"] or "", one["origin"], one["help"]) for one in found),
        empty="",
    )


def version(*, as_json: AsJson = False) -> None:
    """Show the versions of what trigflow runs on, and the installed integrations."""
    import platform
    from importlib.metadata import entry_points

    import apsw

    from trigflow import __version__

    integrations = {
        point.name: point.dist.version if point.dist else None for point in entry_points(group=GROUP)
    }
    found = {
        "trigflow": __version__,
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "integrations": integrations,
    }
    if as_json:
        show_json(found)
        return
    names = ", ".join(f"{name} {number or ''}".strip() for name, number in sorted(integrations.items()))
    show_fields({**found, "integrations": names or "none"})


def resolved(target: str | None, store: str | None, url: str | None = None) -> Resolved:
    """Return an app's settings; those of the environment where no app is named and none is here."""
    try:
        return set_up(target, store, url).resolved()
    except TargetError:
        if target is not None:
            raise
        import os

        return resolve({"store": store, "url": url}, os.environ)


def _settings(resolved: Resolved) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for field in attrs.fields(type(resolved.settings)):
        value = getattr(resolved.settings, field.name)
        if isinstance(value, timedelta):
            value = shown_duration(value)
        hidden = field.metadata["secret"] and value is not None
        found.append(
            {
                "name": field.name,
                "value": MASK if hidden else value,
                "origin": resolved.origins[field.name],
                "variable": f"TRIGFLOW_{field.name.upper()}",
                "help": field.metadata["help"],
            }
        )
    return found


def _job(job: Job) -> dict[str, Any]:
    options = job.options
    return {
        "id": job.id,
        "name": job.name,
        "enabled": options.enabled,
        "filter": options.filter,
        "retries": options.retry.times,
        "timeout": None if options.timeout is None else options.timeout.total_seconds(),
        "version": options.version,
        "triggers": [_trigger(listens) for listens in job.listens],
    }


def _trigger(listens: Listening) -> Mapping[str, Any]:
    trigger = listens.trigger
    return {
        "name": trigger.name,
        "event": trigger.specification.name,
        "source": trigger.source.id,
        "key": None if listens.dynamic else trigger.source.key_of(trigger.params),
        "dynamic": listens.dynamic.id if listens.dynamic else None,
        "filter": trigger.filter,
    }
