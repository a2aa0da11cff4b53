"""Owns HTTP to others: booking's internal state, and the channels; called by service."""

from uuid import UUID

import aiohttp

from channel_sync.domain.pushes import ChannelAnswer, OutboundRequest, PropertyCalendar
from contracts.booking_http_v1 import PropertyState
from contracts.values import InventoryRange
from rules.calendar import StoredRange
from runtime.http_client import HttpClient, UpstreamUnavailable
from runtime.tokens import issue_service_token

NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


class ChannelUnreachable(Exception):
    """The channel could not be connected to: nothing was sent."""


class ChannelSilent(Exception):
    """The channel did not answer a request that may have reached it: what it did is unknown."""


class BookingClient:
    """Reads what booking's ledger says now."""

    def __init__(self, http: HttpClient, jwt_secret: str) -> None:
        self._http = http
        self._jwt_secret = jwt_secret

    async def property_calendar(self, property_id: UUID) -> PropertyCalendar | None:
        """The state of a property, None when booking knows none; raises `UpstreamUnavailable`."""
        token = issue_service_token(self._jwt_secret, "channel-sync")
        answer = await self._http.request(
            "GET", f"/internal/properties/{property_id}/state", headers={"Authorization": f"Bearer {token}"}
        )
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise UpstreamUnavailable(f"booking answered {answer.status}")
        return _calendar(PropertyState.model_validate_json(answer.body))


class ChannelClient:
    """Sends requests to channels, anywhere."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def send(self, request: OutboundRequest) -> ChannelAnswer:
        """POST it once; raises `ChannelUnreachable` or `ChannelSilent`. Redirects are answers, not followed."""
        try:
            answer = await self._http.request("POST", request.url, headers=request.headers, body=request.body)
        except UpstreamUnavailable as error:
            if isinstance(error.__cause__, NEVER_SENT):
                raise ChannelUnreachable(f"the channel cannot be reached: {type(error.__cause__).__name__}") from error
            raise ChannelSilent("the channel did not answer: what it did is unknown") from error
        return ChannelAnswer(answer.status, answer.headers, answer.body)


def _calendar(answer: PropertyState) -> PropertyCalendar:
    state = answer.state
    return PropertyCalendar(
        property_id=state.property_id,
        agency_id=state.agency_id,
        inventory_version=state.inventory_version,
        gone=state.gone,
        time_zone=state.profile.time_zone,
        preparation_days=state.profile.preparation_days,
        ranges=tuple(_stored(held) for held in state.ranges),
        as_of=answer.as_of,
    )


def _stored(held: InventoryRange) -> StoredRange:
    return StoredRange(
        range_id=held.range_id,
        kind=held.kind.value,
        source_id=held.source_id,
        stay_start=held.stay.start_date,
        stay_end=held.stay.end_date,
        occupied_start=held.occupied.start_date,
        occupied_end=held.occupied.end_date,
        expires_at=held.expires_at,
    )
