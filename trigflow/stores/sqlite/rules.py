"""What must be so between the rows of a store, said as queries for what breaks it.

Every query returns the ids of what is wrong, and sees one moment of the store.
Foreign keys would say some of it, at the price of a look-up in every insert.
"""

from __future__ import annotations

import attrs

# Columns and indexes, each with its table.
SHAPES = (
    "SELECT s.name, c.name FROM sqlite_schema s, pragma_table_xinfo(s.name) c WHERE s.type = 'table' "
    "UNION ALL SELECT tbl_name, 'index ' || name FROM sqlite_schema WHERE type = 'index'"
)


@attrs.frozen
class Rule:
    """One thing that must be so.

    kind: a short stable name. what: follows a number. remedy: what to do.
    """

    kind: str
    what: str
    sql: str
    remedy: str


RULES: tuple[Rule, ...] = (
    Rule(
        "queued-without-run",
        "queued, of which there is no run",
        "SELECT run_id FROM queue WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = run_id)",
        "stop them with `trigflow runs cancel ID`",
    ),
    Rule(
        "finished-in-queue",
        "runs have ended and are still queued",
        "SELECT run_id FROM queue WHERE EXISTS (SELECT 1 FROM finishes WHERE finishes.run_id = queue.run_id)",
        "their tasks are kept, so little is done twice; report it, it is a mistake of trigflow",
    ),
    Rule(
        "lost-run",
        "runs have neither ended nor are they queued",
        "SELECT id FROM runs WHERE NOT EXISTS (SELECT 1 FROM finishes WHERE run_id = id) "
        "AND NOT EXISTS (SELECT 1 FROM queue WHERE run_id = id)",
        "start them anew with `trigflow replay DELIVERY --job JOB`",
    ),
    Rule(
        "run-without-event",
        "runs that have not ended have no event",
        "SELECT id FROM runs WHERE NOT EXISTS (SELECT 1 FROM finishes WHERE run_id = id) "
        "AND NOT EXISTS (SELECT 1 FROM events WHERE events.id = runs.event)",
        "stop them with `trigflow runs cancel ID`; the sender may be asked to send again",
    ),
    Rule(
        "run-without-payload",
        "queued runs have an event whose payload is no longer kept",
        "SELECT runs.id FROM queue JOIN runs ON runs.id = queue.run_id JOIN events ON events.id = runs.event "
        "LEFT JOIN deliveries ON deliveries.id = events.delivery_id "
        "WHERE events.payload IS NULL AND deliveries.body IS NULL",
        "they fail when they are taken up; the sender may be asked to send again",
    ),
    Rule(
        "finish-without-run",
        "ends are kept of runs that are not there",
        "SELECT run_id FROM finishes WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = run_id)",
        "harmless: nothing shows them",
    ),
    Rule(
        "task-without-run",
        "tasks are kept of runs that are not there",
        "SELECT DISTINCT run_id FROM tasks WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = run_id)",
        "harmless: nothing shows them",
    ),
    Rule(
        "attempt-without-run",
        "failed attempts are kept of runs that are not there",
        "SELECT DISTINCT run_id FROM attempts WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = run_id)",
        "harmless: nothing shows them",
    ),
    Rule(
        "event-without-dedupe",
        "events are not known by their provider's id, so that a redelivery would start them again",
        "SELECT id FROM events WHERE NOT EXISTS (SELECT 1 FROM dedupe "
        "WHERE dedupe.subscription_id = events.subscription_id "
        "AND dedupe.event_id = coalesce(events.dedupe_id, events.event_id))",
        "report it, it is a mistake of trigflow; a backup from before it is sound",
    ),
    Rule(
        "subscription-without-endpoint",
        "subscriptions have no endpoint",
        "SELECT id FROM subscriptions WHERE state <> 'removed' "
        "AND NOT EXISTS (SELECT 1 FROM endpoints WHERE endpoints.id = endpoint_id)",
        "restore a backup; what is sent to them is answered 404",
    ),
    Rule(
        "endpoint-without-subscription",
        "endpoints are open and belong to no subscription",
        "SELECT id FROM endpoints WHERE state <> 'removed' AND NOT EXISTS "
        "(SELECT 1 FROM subscriptions WHERE endpoint_id = endpoints.id AND state <> 'removed')",
        "harmless: what is sent to them starts nothing",
    ),
    Rule(
        "subscription-twice",
        "subscriptions are there twice",
        "SELECT min(id) FROM subscriptions WHERE state <> 'removed' GROUP BY source, key, connection "
        "HAVING count(*) > 1",
        "restore a backup",
    ),
    Rule(
        "subscriber-without-subscription",
        "subscribed at run time and have no subscription, so that nothing comes to them",
        "SELECT dynamic || ' ' || key FROM subscribers s WHERE NOT EXISTS "
        "(SELECT 1 FROM subscriptions WHERE state <> 'removed' "
        "AND source = s.source AND key = s.source_key AND connection = s.connection)",
        "have them subscribe again with `app.subscribe(…)`",
    ),
    Rule(
        "key-without-endpoint",
        "keys are kept of endpoints that are not there",
        "SELECT DISTINCT endpoint_id FROM keys WHERE NOT EXISTS "
        "(SELECT 1 FROM endpoints WHERE endpoints.id = endpoint_id)",
        "harmless: nothing uses them",
    ),
    Rule(
        "held-and-taken",
        "runs are held and a process has them, too",
        "SELECT run_id FROM queue WHERE held = 1 AND owner IS NOT NULL",
        "report it, it is a mistake of trigflow",
    ),
)
