"""The log line behind each refusal of nights; called by every use case that takes some."""

from datetime import date
from uuid import UUID

from booking.domain.errors import Competitor
from booking.repository.writes import INVENTORY_RANGES_NO_OVERLAP
from runtime.logs import get_logger

log = get_logger(__name__)


def log_refusal(property_id: UUID, start: date, end: date, status: str, competitor: Competitor) -> None:
    """One line behind each 409: constraint, property, dates, status and what holds the nights."""
    log.info(
        "nights refused",
        constraint=INVENTORY_RANGES_NO_OVERLAP,
        property_id=str(property_id),
        check_in=start.isoformat(),
        check_out=end.isoformat(),
        status=status,
        competing_kind=competitor.kind,
        competing_start=competitor.start_date.isoformat(),
        competing_end=competitor.end_date.isoformat(),
    )
