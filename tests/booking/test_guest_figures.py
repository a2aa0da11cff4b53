"""Proves that the API description says which reservations count in a guest's figures, and just those that do count."""

import re

import pytest

from contracts.values import ReservationStatus
from gateway.api.table import PREFIX, ROUTES
from tests.booking.conftest import Ledger
from tests.booking.served import document_of_booking

pytestmark = pytest.mark.stack

FIGURES = ("total_bookings", "total_spent", "first_booking_at", "last_booking_at")


async def counted(ledger: Ledger) -> set[str]:
    rows = await ledger.system.pool.fetch(
        "SELECT status FROM unnest($1::text[]) AS status WHERE counts_for_guest(status)", list(ReservationStatus)
    )
    return {row["status"] for row in rows}


def statuses_in(text: str) -> set[str]:
    return {status.value for status in ReservationStatus if re.search(rf"\b{status.value}\b", text)}


async def test_the_description_of_each_figure_names_just_the_statuses_that_count(ledger: Ledger) -> None:
    counts = await counted(ledger)
    assert counts
    guest = document_of_booking()["components"]["schemas"]["Guest"]
    assert statuses_in(guest["description"]) == counts
    for name in FIGURES:
        assert statuses_in(guest["properties"][name]["description"]) == counts, name
    assert "ratings" in guest["properties"]["average_rating"]["description"]


async def test_the_public_route_that_reads_a_guest_names_the_statuses_that_count(ledger: Ledger) -> None:
    (route,) = [route for route in ROUTES if f"{PREFIX}{route.path}" == "/api/v1/guests/{id}" and route.method == "GET"]
    assert statuses_in(route.description) == await counted(ledger)
