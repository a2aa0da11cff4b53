"""Use case of changing a reservation: other dates, another property, other guests or notes, decided anew at once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from booking.domain import reservations
from booking.domain.errors import DatesUnavailable, NotFound
from booking.domain.model import Change, LedgerState, PropertyTerms, Reservation
from booking.domain.reservations import Modification
from booking.repository.writes import Written
from booking.service.judging import ARRIVAL_RULES, price_of
from booking.service.refusals import log_refusal
from booking.service.reservations import existing, get
from booking.service.writing import Decision, Deps, Require, new_id, under_locks
from runtime.postgres import Connection


@dataclass(frozen=True, slots=True)
class Patch:
    """The fields a client names; the others stay. `notes` is changed when `sets_notes`, to None as well."""

    check_in: date | None = None
    check_out: date | None = None
    adults: int | None = None
    children: int | None = None
    infants: int | None = None
    property_id: UUID | None = None
    notes: str | None = None
    sets_notes: bool = False

    def applied_to(self, record: Reservation) -> Modification:
        """The whole reservation as it shall be."""

        def chosen(wanted: int | None, present: int) -> int:
            return present if wanted is None else wanted

        return Modification(
            self.check_in or record.check_in,
            self.check_out or record.check_out,
            chosen(self.adults, record.adults),
            chosen(self.children, record.children),
            chosen(self.infants, record.infants),
            self.notes if self.sets_notes else record.notes,
            record.total_amount_minor,
        )


async def modify(
    deps: Deps, agency_id: UUID, reservation_id: UUID, patch: Patch, require: Require | None = None
) -> Reservation:
    """Change a reservation in one transaction: the old nights are given back only if the new ones are won.

    `require` looks at the state of the property it leaves under the lock, and raises what speaks against it. Raises
    `DatesUnavailable`, `IllegalTransition`, `StayRulesViolated`, `InvalidStay`, `NotFound` too.
    """
    # A reservation that moved to another property between this look and the locks is refused like a missing one.
    source_id = (await get(deps, agency_id, reservation_id)).property_id
    target_id = patch.property_id or source_id

    async def decide(connection: Connection, states: Mapping[UUID, LedgerState]) -> Decision:
        found = await existing(connection, agency_id, reservation_id)
        if found.property_id != source_id:
            raise NotFound("booking")
        if require is not None:
            require(states[source_id])
        reservation = reservations.current(found, states[source_id].now)
        wanted = patch.applied_to(reservation)
        moves = target_id != source_id
        if reservation.status != "overbooked" or not moves:
            reservations.require_modifiable(reservation, wanted)
        # An OTA's stay keeps what the channel sold; notes and infants are none of the rules' business.
        if reservation.source == "direct" and (moves or wanted.requested != reservation.requested):
            terms = await deps.terms.of(states[target_id].property, connection)
            wanted = _judged(states[target_id], terms, reservation, wanted)
        try:
            return Decision(_changes(states[source_id], states[target_id], reservation, wanted))
        except DatesUnavailable as refusal:
            log_refusal(target_id, wanted.check_in, wanted.check_out, reservation.status, refusal.competitor)
            raise

    async def finish(connection: Connection, _: Written) -> Reservation:
        return await existing(connection, agency_id, reservation_id)

    return await under_locks(deps, agency_id, sorted({source_id, target_id}), decide, finish)


def _judged(target: LedgerState, terms: PropertyTerms, reservation: Reservation, wanted: Modification) -> Modification:
    """The wanted stay at its price; rules about how soon it begins bind only when its arrival changes."""
    ignoring = ARRIVAL_RULES if wanted.check_in == reservation.check_in else frozenset[str]()
    total = price_of(target.property, terms, wanted.requested, target.now, ignoring=ignoring)
    return replace(wanted, total_amount_minor=total)


def _changes(source: LedgerState, target: LedgerState, reservation: Reservation, wanted: Modification) -> list[Change]:
    if target.property.id != source.property.id:
        return reservations.move(source, target, reservation, wanted, new_id)
    return reservations.modify(source, reservation, wanted, new_id)
