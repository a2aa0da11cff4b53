"""Owns the peer of P3: the same properties in PostgreSQL with GiST indexes, and one statement that does a whole search.

The tables hold a population as the product holds it; a prepared statement answers, and its rows are made JSON as the
product's are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from asyncpg.prepared_stmt import PreparedStatement

from availability.domain.property_calendar import CalendarState
from deploy.local.places import REPOSITORY
from rules.stay_rules import StayRule
from tests.bench.questions import Question

SQL = REPOSITORY / "tests/bench/sql"
AT_ONCE = 2_000
"""Properties copied at a time."""
LONGEST = 32_767
# A Monday.
WEEK = [date.fromordinal(date(2024, 1, 1).toordinal() + number) for number in range(7)]
RULE_FIELDS = [field.name for field in fields(StayRule)]


class SqlSearch:
    """The peer on one connection; `searching` gives one whose tables are filled."""

    def __init__(self, connection: asyncpg.Connection, search: PreparedStatement, kernel: PreparedStatement) -> None:
        self._connection = connection
        self._search = search
        self._kernel = kernel

    @classmethod
    async def connected(cls, dsn: str) -> SqlSearch:
        """A connection with its statements prepared; whoever makes it closes it."""
        # A plan made for the question is better here than one for all questions.
        settings = {"jit": "off", "work_mem": "64MB", "plan_cache_mode": "force_custom_plan", "timezone": "UTC"}
        connection = await asyncpg.connect(dsn, server_settings=settings)
        search, kernel = [await connection.prepare((SQL / name).read_text()) for name in ("search.sql", "kernel.sql")]
        return cls(connection, search, kernel)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def search(self, question: Question, now: Any) -> bytes:
        """The answer as JSON."""
        latitude, longitude = question.place or (0.0, 0.0)
        rows = await self._search.fetch(
            question.agency_id, question.check_in, question.check_out, question.persons, list(question.amenities),
            latitude, longitude, question.radius_km, question.least_minor, question.most_minor, now, question.limit,
        )  # fmt: skip
        items = [
            {
                "property_id": str(property_id),
                "check_in": question.check_in,
                "check_out": question.check_out,
                "currency": "EUR",
                "total_amount_minor": total,
                **({} if question.place is None else {"distance_km": round(metres) / 1000}),
            }
            for property_id, total, metres in rows
        ]
        return orjson.dumps({"items": items})

    async def free(self, question: Question) -> set[UUID]:
        """The properties of all agencies that are free, are large enough, have the amenities, and lie in the box."""
        box = question.box
        rows = await self._kernel.fetch(
            question.check_in, question.check_out, question.persons, list(question.amenities), *box
        )
        return {row["id"] for row in rows}


async def fill(dsn: str, states: Iterable[tuple[UUID, CalendarState]]) -> None:
    """Make the tables of an empty database, copy the properties into them, and index them."""
    connection = await asyncpg.connect(dsn, server_settings={"maintenance_work_mem": "1GB"})
    try:
        await connection.execute((SQL / "search_schema.sql").read_text())
        for some in _chunks(states):
            for table, rows in _rows(some).items():
                await connection.copy_records_to_table(table, records=rows)
        await connection.execute((SQL / "search_indexes.sql").read_text())
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


def _chunks(states: Iterable[tuple[UUID, CalendarState]]) -> Iterator[list[tuple[UUID, CalendarState]]]:
    some = []
    for each in states:
        some.append(each)
        if len(some) == AT_ONCE:
            yield some
            some = []
    yield some


def _rows(states: Iterable[tuple[UUID, CalendarState]]) -> dict[str, list[tuple[Any, ...]]]:
    tables: dict[str, list[tuple[Any, ...]]] = {"properties": [], "ranges": [], "dated_rules": [], "dated_rates": []}
    for property_id, state in states:
        tables["properties"].append(_property(property_id, state))
        tables["ranges"] += [(property_id, _range(one.occupied_start, one.occupied_end)) for one in state.ranges.stored]
        tables["dated_rules"] += [
            (property_id, _range(one.start_date, one.end_date), *(getattr(one.rule, name) for name in RULE_FIELDS))
            for one in state.rules.dated
        ]
        tables["dated_rates"] += [
            (property_id, _range(one.start_date, one.end_date), one.rate_minor) for one in state.pricing.rates.dated
        ]
    return tables


def _property(property_id: UUID, state: CalendarState) -> tuple[Any, ...]:
    conditions, fees = state.profile.conditions, state.pricing.fees
    assert state.profile.location is not None
    weekly = [type(state.rules)(state.rules.default, state.rules.weekday).rule_on(day) for day in WEEK]
    rates = state.pricing.rates
    tiers = fees.length_of_stay_discounts
    return (
        property_id,
        state.agency_id,
        conditions.active,
        conditions.max_occupancy,
        state.profile.preparation_days,
        conditions.time_zone,
        conditions.lead_time_hours,
        conditions.booking_window_days,
        conditions.check_in_time,
        *state.profile.location,
        sorted(state.profile.amenities),
        [rule.min_stay_arrival or 0 for rule in weekly],
        [rule.min_stay_through or 0 for rule in weekly],
        [rule.max_stay or LONGEST for rule in weekly],
        [bool(rule.closed_to_arrival) for rule in weekly],
        [bool(rule.closed_to_departure) for rule in weekly],
        [bool(rule.stop_sell) for rule in weekly],
        [rates.weekday_minor.get(day.weekday(), rates.default_minor) for day in WEEK],
        fees.cleaning_fee_minor,
        fees.extra_guest_fee_minor,
        fees.included_guests,
        [tier.min_nights for tier in tiers],
        [tier.basis_points for tier in tiers],
    )


def _range(start: date, end: date) -> asyncpg.Range[date]:
    return asyncpg.Range(start, end)
