"""Use cases of a reservation's life: confirm, decline, cancel, arrival, departure, no-show, rating."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID
from zoneinfo import ZoneInfo

from booking.domain import reservations
from booking.domain.errors import DatesUnavailable, NotFound
from booking.domain.model import Change, LedgerState, Reservation
from booking.repository.writes import Written
from booking.service.judging import price_of
from booking.service.refusals import log_refusal
from booking.service.reservations import existing, get
from booking.service.writing import Decision, Deps, Require, new_id, under_lock
from runtime.postgres import Connection

Transition = Callable[[LedgerState, Reservation], list[Change]]
Judge = Callable[[Connection, LedgerState, Reservation], Awaitable[Reservation]]


async def confirm(deps: Deps, agency_id: UUID, reservation_id: UUID) -> Reservation:
    """An inquiry or pending reservation takes its nights for good; an inquiry is decided like a new booking.

    Raises `DatesUnavailable`, `IllegalTransition`, `StayRulesViolated`.
    """

    async def judge(connection: Connection, state: LedgerState, it: Reservation) -> Reservation:
        if it.status != "inquiry":
            return it
        terms = await deps.terms.of(state.property, connection)
        return replace(it, total_amount_minor=price_of(state.property, terms, it.requested, state.now))

    def decide(state: LedgerState, it: Reservation) -> list[Change]:
        return reservations.confirm(state, it, new_id)

    return await _transition(deps, agency_id, reservation_id, decide, judge)


async def cancel(
    deps: Deps, agency_id: UUID, reservation_id: UUID, reason: str | None, require: Require | None = None
) -> Reservation:
    """Cancel a reservation; its nights are free at once. Cancelling twice answers the same.

    `require` looks at the property's state under the lock, and raises what speaks against it.
    """

    def decide(state: LedgerState, it: Reservation) -> list[Change]:
        if require is not None:
            require(state)
        return reservations.cancel(state, it, reason, new_id)

    return await _transition(deps, agency_id, reservation_id, decide)


async def decline(deps: Deps, agency_id: UUID, reservation_id: UUID, reason: str | None) -> Reservation:
    """Refuse an inquiry or a pending reservation."""
    return await _transition(
        deps, agency_id, reservation_id, lambda state, it: reservations.decline(state, it, reason, new_id)
    )


async def mark_no_show(deps: Deps, agency_id: UUID, reservation_id: UUID, reason: str | None) -> Reservation:
    """The guest never came; the nights are free at once."""
    return await _transition(
        deps, agency_id, reservation_id, lambda state, it: reservations.mark_no_show(state, it, reason, new_id)
    )


async def check_in(deps: Deps, agency_id: UUID, reservation_id: UUID) -> Reservation:
    """The guest arrived."""
    return await _transition(deps, agency_id, reservation_id, reservations.check_in)


async def check_out(deps: Deps, agency_id: UUID, reservation_id: UUID) -> Reservation:
    """The guest left; the nights from the property's local today on are free at once."""

    def decide(state: LedgerState, it: Reservation) -> list[Change]:
        today = state.now.astimezone(ZoneInfo(state.property.time_zone)).date()
        return reservations.check_out(state, it, today, new_id)

    return await _transition(deps, agency_id, reservation_id, decide)


async def rate(deps: Deps, agency_id: UUID, reservation_id: UUID, rating: int) -> Reservation:
    """Note the guest's rating, 1 to 5, after check-out."""
    return await _transition(deps, agency_id, reservation_id, lambda state, it: reservations.rate(state, it, rating))


async def _transition(
    deps: Deps, agency_id: UUID, reservation_id: UUID, change: Transition, judge: Judge | None = None
) -> Reservation:
    # A reservation that moved to another property between this look and the lock is refused like a missing one.
    property_id = (await get(deps, agency_id, reservation_id)).property_id

    async def decide(connection: Connection, state: LedgerState) -> Decision:
        found = await existing(connection, agency_id, reservation_id)
        if found.property_id != property_id:
            raise NotFound("booking")
        reservation = reservations.current(found, state.now)
        if judge is not None:
            reservation = await judge(connection, state, reservation)
        try:
            return Decision(change(state, reservation))
        except DatesUnavailable as refusal:
            log_refusal(
                property_id, reservation.check_in, reservation.check_out, reservation.status, refusal.competitor
            )
            raise

    async def finish(connection: Connection, _: Written) -> Reservation:
        return await existing(connection, agency_id, reservation_id)

    return await under_lock(deps, agency_id, property_id, decide, finish)
