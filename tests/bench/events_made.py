"""Owns booking's records made from a population: snapshots and a week of changes behind them, as bytes; pure.

The bytes are those of the contracts' own serialisation, but are written directly, because validating what is made here
takes ten times as long; `check` holds samples against the contracts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import orjson

from availability.domain.property_calendar import CalendarState
from contracts.booking_properties_v1 import PropertySnapshot
from contracts.booking_reservations_v1 import ReservationCancelled, ReservationConfirmed
from contracts.envelope import Envelope
from contracts.topics import BOOKING_PROPERTIES, BOOKING_RESERVATIONS, Topic
from rules.calendar import StoredRange
from rules.stay_rules import StayRule
from runtime.kafka import partition_of

CHANGES = 4
"""Changes of one property in a week: a stay is cancelled and its nights are booked again, twice."""
TRACE = (("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),)
_OCCURRED = datetime.now(UTC).isoformat().replace("+00:00", "Z")
_dice = random.Random(1)


@dataclass(frozen=True, slots=True)
class Made:
    """A record to be written."""

    topic: Topic
    partition: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Maker:
    """Makes the records of properties for topics of that many partitions."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._dates: dict[date, str] = {}

    def snapshot(self, property_id: UUID, state: CalendarState) -> Made:
        """The whole state of a property."""
        data = self.snapshot_data(property_id, state)
        return self._made(BOOKING_PROPERTIES, "PropertySnapshot", property_id, state.agency_id, data)

    def changes(self, property_id: UUID, state: CalendarState) -> Iterator[Made]:
        """A week's changes of a property from this state on; its nights are the same in the end."""
        version, ranges = state.version, state.ranges.stored
        for turn in range(CHANGES // 2):
            stored = self._range(ranges[(7 * version + 31 * turn) % len(ranges)])
            again = {**stored, "range_id": _id(), "source_id": _id()}
            cancelled = self._reservation(property_id, version + 1, stored, "cancelled", released=[stored])
            booked = self._reservation(property_id, version + 2, again, "confirmed", occupied=[again])
            yield self._made(BOOKING_RESERVATIONS, "ReservationCancelled", property_id, state.agency_id, cancelled)
            yield self._made(BOOKING_RESERVATIONS, "ReservationConfirmed", property_id, state.agency_id, booked)
            version += 2

    def mark(self, partition: int, delta_offset: int) -> Made:
        """Every change below an offset is contained in the snapshots before this record."""
        data = {"partition": partition, "delta_offset": delta_offset}
        value = _envelope("DeltaOffset", f"partition/{partition}", None, data)
        return Made(BOOKING_PROPERTIES, partition, f"delta_offset/{partition}".encode(), value)

    def watermark(self, partition: int) -> Made:
        """Nothing older than now is unsent."""
        data = {"partition": partition, "database_time": datetime.now(UTC).isoformat(), "held_back": []}
        return Made(BOOKING_RESERVATIONS, partition, b"", _envelope("Watermark", f"partition/{partition}", None, data))

    def snapshot_data(self, property_id: UUID, state: CalendarState) -> dict[str, Any]:
        """The data of a snapshot, as JSON has it."""
        rules = state.rules
        return {
            "property_id": str(property_id),
            "agency_id": str(state.agency_id),
            "inventory_version": state.version,
            "rules_version": state.rules_version,
            "gone": state.is_gone,
            "profile": _profile(property_id, state),
            "stay_rules": {
                "default": _rule(rules.default),
                "weekday": {str(day): _rule(rule) for day, rule in rules.weekday.items()},
                "dated": [{**_rule(one.rule), **self._span(one.start_date, one.end_date)} for one in rules.dated],
            },
            "rates": self._rates(state),
            "ranges": [self._range(stored) for stored in state.ranges.stored],
        }

    def _rates(self, state: CalendarState) -> dict[str, Any]:
        rates, fees = state.pricing.rates, state.pricing.fees
        return {
            "default_minor": rates.default_minor,
            "weekday_minor": {str(day): rate for day, rate in rates.weekday_minor.items()},
            "dated": [
                {**self._span(one.start_date, one.end_date), "rate_minor": one.rate_minor} for one in rates.dated
            ],
            "cleaning_fee_minor": fees.cleaning_fee_minor,
            "extra_guest_fee_minor": fees.extra_guest_fee_minor,
            "included_guests": fees.included_guests,
            "length_of_stay_discounts": [
                {"min_nights": tier.min_nights, "basis_points": tier.basis_points}
                for tier in fees.length_of_stay_discounts
            ],
        }

    def _range(self, stored: StoredRange) -> dict[str, Any]:
        return {
            "range_id": _id(),
            "kind": stored.kind,
            "source_id": _id(),
            "stay": self._span(stored.stay_start, stored.stay_end),
            "occupied": self._span(stored.occupied_start, stored.occupied_end),
            "expires_at": None,
        }

    def _reservation(
        self, property_id: UUID, version: int, stored: Mapping[str, Any], status: str, **ranges: list[dict[str, Any]]
    ) -> dict[str, Any]:
        stay = stored["stay"]
        nights = (date.fromisoformat(stay["end_date"]) - date.fromisoformat(stay["start_date"])).days
        return {
            "property_id": str(property_id),
            "inventory_version": version,
            "commit_version": version,
            "occupied": ranges.get("occupied", []),
            "released": ranges.get("released", []),
            "channel": None,
            "reservation_id": stored["source_id"],
            "status": status,
            "source": "direct",
            "check_in": stay["start_date"],
            "check_out": stay["end_date"],
            "nights": nights,
            "occupancy": {"adults": 2, "children": 0, "infants": 0},
            "guest_id": _id(),
            "group_id": None,
            "ota_name": None,
            "ota_reservation_code": None,
            "total_amount_minor": 40_000,
            "currency": "EUR",
            "hold_expires_at": None,
        }

    def _span(self, start: date, end: date) -> dict[str, str]:
        return {"start_date": self._text(start), "end_date": self._text(end)}

    def _text(self, day: date) -> str:
        found = self._dates.get(day)
        if found is None:
            found = self._dates[day] = day.isoformat()
        return found

    def _made(self, topic: Topic, type_name: str, property_id: UUID, agency_id: UUID, data: dict[str, Any]) -> Made:
        key = str(property_id)
        value = _envelope(type_name, f"property/{key}", agency_id, data)
        headers = TRACE if topic is BOOKING_RESERVATIONS else ()
        return Made(topic, partition_of(key, self._partitions), key.encode(), value, headers)


def check(made: Made) -> None:
    """Raises `AssertionError` unless a record's bytes say what the contract's own serialisation of it says."""
    models = {model.__name__: model for model in (PropertySnapshot, ReservationConfirmed, ReservationCancelled)}
    envelope = Envelope.model_validate_json(made.value)
    data = models[envelope.type].model_validate(envelope.data)
    assert data.model_dump(mode="json") == envelope.data
    assert orjson.loads(made.value) == envelope.model_dump(mode="json")


def _profile(property_id: UUID, state: CalendarState) -> dict[str, Any]:
    profile, conditions = state.profile, state.profile.conditions
    location = profile.location
    return {
        "name": f"Property {property_id}",
        "time_zone": conditions.time_zone,
        "currency": profile.currency,
        "max_occupancy": conditions.max_occupancy,
        "preparation_days": profile.preparation_days,
        "lead_time_hours": conditions.lead_time_hours,
        "booking_window_days": conditions.booking_window_days,
        "check_in_time": conditions.check_in_time.strftime("%H:%M"),
        "check_out_time": "11:00",
        "location": None if location is None else {"latitude": location[0], "longitude": location[1]},
        "amenities": sorted(profile.amenities),
        "active": conditions.active,
    }


def _rule(rule: StayRule) -> dict[str, Any]:
    return {
        "min_stay_arrival": rule.min_stay_arrival,
        "min_stay_through": rule.min_stay_through,
        "max_stay": rule.max_stay,
        "closed_to_arrival": rule.closed_to_arrival,
        "closed_to_departure": rule.closed_to_departure,
        "stop_sell": rule.stop_sell,
    }


def _envelope(type_name: str, subject: str, agency_id: UUID | None, data: dict[str, Any]) -> bytes:
    return orjson.dumps(
        {
            "event_id": _id(),
            "type": type_name,
            "subject": subject,
            "agency_id": None if agency_id is None else str(agency_id),
            "occurred_at": _OCCURRED,
            "producer": "booking",
            "data": data,
        }
    )


def _id() -> str:
    text = f"{_dice.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
