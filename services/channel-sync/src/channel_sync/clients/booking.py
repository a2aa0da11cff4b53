"""Owns HTTP to booking's internal routes; called by service."""

from uuid import UUID

from channel_sync.domain.night_values import PropertyCalendar
from contracts import values
from contracts.booking_http_v1 import PropertyState
from contracts.values import InventoryRange
from rules.calendar import StoredRange
from rules.quotes import DatedRate, Rates
from rules.stay_rules import DatedStayRule, StayRule, StayRules
from runtime.http_client import HttpClient, UpstreamUnavailable
from runtime.tokens import issue_service_token


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


def _calendar(answer: PropertyState) -> PropertyCalendar:
    state, profile = answer.state, answer.state.profile
    return PropertyCalendar(
        property_id=state.property_id,
        agency_id=state.agency_id,
        inventory_version=state.inventory_version,
        gone=state.gone,
        active=profile.active,
        time_zone=profile.time_zone,
        currency=profile.currency,
        preparation_days=profile.preparation_days,
        booking_window_days=profile.booking_window_days,
        rules=_rules(state.stay_rules),
        rates=Rates(
            state.rates.default_minor,
            state.rates.weekday_minor,
            tuple(DatedRate(entry.start_date, entry.end_date, entry.rate_minor) for entry in state.rates.dated),
        ),
        ranges=tuple(_stored(held) for held in state.ranges),
        as_of=answer.as_of,
    )


def _rules(found: values.StayRules) -> StayRules:
    return StayRules(
        _rule(found.default),
        {day: _rule(rule) for day, rule in found.weekday.items()},
        tuple(DatedStayRule(entry.start_date, entry.end_date, _rule(entry)) for entry in found.dated),
    )


def _rule(found: values.StayRule) -> StayRule:
    return StayRule(
        found.min_stay_arrival,
        found.min_stay_through,
        found.max_stay,
        found.closed_to_arrival,
        found.closed_to_departure,
        found.stop_sell,
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
