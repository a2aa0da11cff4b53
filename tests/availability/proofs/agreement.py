"""Owns the end check of every cache proof: cache, cache rebuilt from the topics, and ledger hold the same.

Digests are compared at equal versions, property by property, and the versions with those in the database itself. What
the caches answer is compared with what the writers know, too: a digest cannot say that an answer is right.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.local.journey_client import Agency, NotYet, closed_nights, until
from tests.availability.conftest import DIGESTS
from tests.availability.proofs.stage import OneReplica, Stage
from tests.availability.proofs.traffic import WINDOW, Place
from tests.availability.proofs.watch import STAYED

PATIENCE_S = 30.0
# A look asks for everything.
LOOK_EVERY_S = 0.1
PAGE = 500
# What ended before the window a cache may have forgotten.
DAYS_BEFORE_TODAY = 2

_UNSENT = "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND quarantined IS NULL"
_VERSIONS = """
SELECT version.property_id::text, version.inventory_version FROM inventory_versions AS version
JOIN properties AS owner ON owner.id = version.property_id WHERE owner.deleted_at IS NULL"""

Digests = dict[str, tuple[int, str]]


class Disagreement(Exception):
    """Somebody holds something else than the ledger."""


def differences(ledger: Digests, held: Mapping[str, Digests]) -> list[str]:
    """Who holds which property otherwise than the ledger, in words; a property that one of them lacks counts."""
    return [
        f"{name} holds {property_id} as {digests.get(property_id)}, the ledger as {ledger.get(property_id)}"
        for name, digests in held.items()
        for property_id in sorted(ledger.keys() | digests.keys())
        if digests.get(property_id) != ledger.get(property_id)
    ]


async def digests(stage: Stage, url: str) -> Digests:
    """(version, digest) of every property as booking or a replica answers them, page by page."""
    after = datetime.now(UTC).date() - timedelta(days=DAYS_BEFORE_TODAY)
    params = {"after": str(after), "limit": str(PAGE)}
    found: Digests = {}
    async with stage.service(url) as api:
        while True:
            answer: Any = (await api.request("GET", DIGESTS, params=params)).expect(200)
            found |= {item["property_id"]: (item["inventory_version"], item["digest"]) for item in answer["items"]}
            if answer.get("next_cursor") is None:
                return found
            params["cursor"] = answer["next_cursor"]


async def require_equal(stage: Stage, replicas: Iterable[OneReplica], patience_s: float = PATIENCE_S) -> Digests:
    """The digests of ledger and replicas once they are equal; raises `Disagreement` when they do not become so."""
    chosen = list(replicas)
    ledger: Digests = {}
    found = ["nothing was compared"]

    async def look() -> None:
        nonlocal ledger, found
        if unsent := await stage.ledger.fetchval(_UNSENT):
            found = [f"{unsent} events are not sent yet"]
            await asyncio.sleep(LOOK_EVERY_S)
            raise NotYet(found[0])
        ledger = await digests(stage, stage.booking_url)
        found = differences(ledger, {replica.name: await digests(stage, replica.url) for replica in chosen})
        versions = {row[0]: row[1] for row in await stage.ledger.fetch(_VERSIONS)}
        if versions != {property_id: version for property_id, (version, _) in ledger.items()}:
            found.append("booking's digests are of other versions than its database holds")
        if found:
            await asyncio.sleep(LOOK_EVERY_S)
            raise NotYet(f"{len(found)} differences")

    try:
        await until(look, "equal digests", patience_s)
    except Exception as error:
        raise Disagreement(f"{len(found)} differences: " + "; ".join(found[:5])) from error
    return ledger


async def require_agreement(
    stage: Stage,
    agency: Agency,
    places: Iterable[Place],
    replicas: Iterable[OneReplica] | None = None,
    **environment: str,
) -> None:
    """What must hold after every fault: replicas = one rebuilt from the topics just now = ledger = what writers know.

    `environment` is that of the rebuilt replica. Raises `Disagreement`.
    """
    chosen = list(stage.replicas if replicas is None else replicas)
    await require_equal(stage, chosen)
    async with stage.replica(f"rebuilt-{uuid.uuid4().hex[:6]}", **environment) as rebuilt:
        await require_equal(stage, [*chosen, rebuilt])
        await require_answers(stage, agency, places, [*chosen, rebuilt])


async def require_answers(
    stage: Stage, agency: Agency, places: Iterable[Place], replicas: Iterable[OneReplica]
) -> None:
    """Every replica answers for each property what its writer knows; raises `Disagreement`."""
    chosen = list(places)
    for replica in replicas:
        async with stage.agency(replica.url, agency.id) as client:
            for place in chosen:
                answer = (await client.availability(place.property_id, WINDOW)).expect(200)
                closed = {night for kind in STAYED for night in closed_nights(answer["ranges"], kind)}
                if answer["inventory_version"] < place.version or closed != place.closed[-1]:
                    known = f"version {place.version}, {sorted(map(str, place.closed[-1]))}"
                    raise Disagreement(f"{replica.name} answers {answer}, {place.property_id} is at {known}")
