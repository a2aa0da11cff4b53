"""Owns waiting for quiescence, and the look at what must hold then; called at the end of the e2e tests.

Quiescence is read, never slept for: both outboxes empty, every group committed up to the ends, nothing a channel is
still to be told, no revision undecided, every replica at the ledger's versions, and nothing new since the look began.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from contracts.topics import BOOKING_RESERVATIONS, TOPICS
from deploy.local.journey_client import NotYet, Unexpected, until
from deploy.local.services import BOOKING
from tests.e2e.infra.running import TODAY, Running
from tests.e2e.infra.topic_reader import first_appearances

PATIENCE_S = 45.0
PAGE = 500
# availability's replicas read without a group; their versions are compared with the ledger's instead.
GROUPS = ("booking", "channel-sync")

_OUTBOX = """
SELECT coalesce(max(id), 0) AS last, count(*) FILTER (WHERE sent_at IS NULL AND quarantined IS NULL) AS unsent
FROM outbox"""
_UNTOLD = "SELECT count(*) FROM listings WHERE stale_since IS NOT NULL AND calendar_token IS NULL"
_UNDECIDED = "SELECT count(*) FROM inbound_revisions WHERE state = 'published'"
_OVERLAPS = """
SELECT count(*) FROM inventory_ranges AS one JOIN inventory_ranges AS other
  ON other.property_id = one.property_id AND other.id > one.id AND other.occupied && one.occupied
WHERE one.state = 'active' AND other.state = 'active'"""

Digests = dict[str, tuple[int, str]]


async def drain(running: Running, patience_s: float = PATIENCE_S) -> None:
    """Return once everything that was acknowledged has arrived everywhere; raises `Unexpected` naming what has not."""

    async def look() -> None:
        before = await _outboxes(running)
        for group in GROUPS:
            await _require_committed(running, group)
        if untold := await running.channel.fetchval(_UNTOLD):
            raise NotYet(f"{untold} listings are not told everything")
        if undecided := await running.channel.fetchval(_UNDECIDED):
            raise NotYet(f"{undecided} OTA revisions are not decided")
        await _require_replicas_at(running, await ledger_versions(running))
        if await _outboxes(running) != before:
            raise NotYet("something new was written meanwhile")

    await until(look, "quiescence", patience_s)


async def check_everything(running: Running) -> None:
    """Drain, then hold the invariants against everything the suite ever did: nights, events, order, caches."""
    await drain(running)
    assert await running.ledger.fetchval(_OVERLAPS) == 0, "two active ranges of one property overlap"
    events = await running.topics.events(BOOKING_RESERVATIONS.name)
    written = {str(row["event_id"]) for row in await running.ledger.fetch("SELECT event_id FROM outbox")}
    on_topic = {event.event_id for event in events}
    assert written - on_topic == set(), "committed changes whose event is not on the topic"
    assert on_topic - written == set(), "events of changes that were never committed"
    versions = await ledger_versions(running)
    expected = {property_id: list(range(1, version + 1)) for property_id, version in versions.items()}
    assert first_appearances(events) == expected, "versions do not appear in order, each once, without a gap"
    ledger = await digests(running, running.suite.url(BOOKING))
    for name, url in running.replicas.items():
        assert await digests(running, url) == ledger, f"{name} differs from the ledger"


async def ledger_versions(running: Running) -> dict[str, int]:
    """The inventory version of every property, from the database."""
    rows = await running.ledger.fetch(
        "SELECT version.property_id, version.inventory_version FROM inventory_versions AS version "
        "JOIN properties AS owner ON owner.id = version.property_id WHERE owner.deleted_at IS NULL"
    )
    return {str(row["property_id"]): row["inventory_version"] for row in rows}


async def digests(running: Running, base_url: str, page: int = PAGE) -> Digests:
    """(version, digest) of every property as booking or a replica of availability answers them, page by page."""
    # Two days back: what ended before that a cache may have forgotten.
    after = TODAY - timedelta(days=2)
    params: dict[str, str] = {"after": str(after), "limit": str(page)}
    found: Digests = {}
    async with running.service_api(base_url) as api:
        while True:
            answer: Any = (await api.request("GET", "/internal/properties/digests", params=params)).expect(200)
            found |= {item["property_id"]: (item["inventory_version"], item["digest"]) for item in answer["items"]}
            if answer.get("next_cursor") is None:
                return found
            params["cursor"] = answer["next_cursor"]


async def _outboxes(running: Running) -> list[int]:
    """The last id of each outbox; raises `NotYet` while one is not empty."""
    states = [await database.fetchrow(_OUTBOX) for database in (running.ledger, running.channel)]
    unsent = [state["unsent"] for state in states if state is not None]
    if any(unsent):
        raise NotYet(f"events not sent yet (booking, channel-sync): {unsent}")
    return [state["last"] for state in states if state is not None]


async def _require_committed(running: Running, group: str) -> None:
    """Raises `NotYet` until the group has committed the ends its topics have now."""
    names = [topic.name for topic in TOPICS if group in topic.consumers]
    ends = {place: end for place, end in (await running.topics.ends(names)).items() if end > 0}

    async def look() -> None:
        committed = await running.topics.committed(group)
        behind = {place: end - committed.get(place, 0) for place, end in ends.items() if committed.get(place, 0) < end}
        if behind:
            raise NotYet(f"{group} is behind: {behind}")

    try:
        await until(look, f"{group} to commit")
    except Unexpected as error:
        raise NotYet(str(error)) from error


async def _require_replicas_at(running: Running, versions: dict[str, int]) -> None:
    for name, url in running.replicas.items():
        held = {property_id: version for property_id, (version, _) in (await digests(running, url)).items()}
        if held != versions:
            differing = {key: (held.get(key), versions.get(key)) for key in held.keys() | versions.keys()}
            behind = {key: pair for key, pair in differing.items() if pair[0] != pair[1]}
            raise NotYet(f"{name} holds other versions than the ledger (held, ledger): {behind}")
