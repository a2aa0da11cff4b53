"""Owns a scene: one property of one agency, sold directly and through one OTA; called by the journey and e2e tests.

What it looks at it looks at from outside: the public API, and what the OTA simulator was told.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from deploy.local.journey_client import (
    PATIENCE_S,
    Agency,
    NotYet,
    Reply,
    Unexpected,
    closed_nights,
    new_trace_id,
    nights_of,
    until,
)
from tests.e2e.infra.ota_simulator import Night, OtaSimulator, Value

Stay = tuple[date, date]


@dataclass(frozen=True)
class Scene:
    """A property, and its listing `listing_id` at the OTA, which sends revisions to `inbound_url`."""

    agency: Agency
    ota: OtaSimulator
    property_id: str
    connection_id: str
    inbound_url: str
    listing_id: str
    created: Reply

    async def sell(self, stay: Stay, code: str, **fields: Any) -> str:
        """The OTA sells a stay and tells us; the trace id of that request. Raises `Unexpected`."""
        return await self._revise(code, check_in=stay[0], check_out=stay[1], **fields)

    async def withdraw(self, code: str) -> str:
        """The OTA cancels what it sold; the trace id of that request. Raises `Unexpected`."""
        return await self._revise(code, status="cancelled")

    async def reservation(self, code: str, status: str, patience_s: float = PATIENCE_S) -> Any:
        """The reservation the OTA knows as `code`, once it has that status; raises `Unexpected`."""

        async def look() -> Any:
            found = [
                item
                for item in await self.agency.bookings(self.property_id)
                if item.get("ota_reservation_code") == code
            ]
            if len(found) != 1 or found[0]["status"] != status:
                raise NotYet(f"{[(item['status'], item['check_in'], item['check_out']) for item in found]}")
            return found[0]

        return await until(look, f"the reservation {code} to be {status}", patience_s)

    async def availability(self, stay: Stay, *, min_version: int | None = None) -> Any:
        """The answer for exactly these nights; raises `Unexpected` for a refusal."""
        return (await self.agency.availability(self.property_id, stay, min_version=min_version)).expect(200)

    async def shown(
        self, stay: Stay, *, closed: set[date], kind: str | None = None, patience_s: float = PATIENCE_S
    ) -> Reply:
        """The first answer from availability's own memory in which just these nights of the stay are closed.

        With `kind` only ranges of that kind count. Raises `Unexpected`.
        """

        async def look() -> Reply:
            reply = await self.agency.availability(self.property_id, stay)
            answer = reply.expect(200)
            if answer["source"] != "cache" or closed_nights(answer["ranges"], kind) != closed:
                raise NotYet(f"{answer['ranges']} at version {answer['inventory_version']} from {answer['source']}")
            return reply

        nights = ", ".join(map(str, sorted(closed))) or "none"
        return await until(look, f"availability to show closed {kind or ''}: {nights}", patience_s)

    async def told(self, stay: Stay, value: Value, version: int = 0, patience_s: float = PATIENCE_S) -> Night:
        """What the OTA was told last of these nights, once all are `value`; raises `Unexpected`.

        With a version, once the OTA was told everything up to it: what it holds already it is not told again.
        """
        wanted = sorted(nights_of(stay))

        def look() -> Night | None:
            nights = [self.ota.night(self.listing_id, night) for night in wanted]
            believed = [night for night in nights if night is not None]
            if len(believed) < len(wanted) or any(night.value != value for night in believed):
                return None
            return max(believed, key=lambda night: night.at)

        if version:
            await until(partial(self._require_told_up_to, version), f"the OTA told up to version {version}", patience_s)
        try:
            return await self.ota.wait_for(look, patience_s, f"{self.listing_id} {value} from {stay[0]} to {stay[1]}")
        except AssertionError as error:
            raise Unexpected(f"expected the OTA to be told, came: {error}") from error

    async def _require_told_up_to(self, version: int) -> None:
        listings = await self.agency.listings(self.connection_id)
        (told,) = [item.get("pushed_version", 0) for item in listings if item["ota_listing_id"] == self.listing_id]
        if told < version:
            raise NotYet(f"version {told}")

    async def _revise(self, code: str, **fields: Any) -> str:
        trace_id = new_trace_id()
        reply = await self.ota.send_revision(
            self.inbound_url,
            ota_listing_id=self.listing_id,
            ota_reservation_code=code,
            headers={"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"},
            **fields,
        )
        if reply.status != 202:
            raise Unexpected(f"the OTA's revision: expected 202, came {reply.status}: {reply.body}")
        return trace_id


async def open_scene(agency: Agency, ota: OtaSimulator, **profile: Any) -> Scene:
    """A new property, connected to the OTA and listed there; raises `Unexpected`."""
    created = await agency.create_property(**profile)
    property_id = str(created.expect(201)["id"])
    connection = await agency.connect(ota.endpoint_url, ota.secret)
    listing_id = f"listing-{uuid.uuid4().hex[:12]}"
    (await agency.map_listing(connection["id"], property_id, listing_id)).expect(201)
    return Scene(agency, ota, property_id, connection["id"], connection["inbound_url"], listing_id, created)


def new_code() -> str:
    """A reservation code as an OTA would give it."""
    return f"OTA-{uuid.uuid4().hex[:10].upper()}"
