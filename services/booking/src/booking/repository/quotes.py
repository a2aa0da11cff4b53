"""SQL of stored quotes: kept for the bookings that name them; purged by retention."""

from uuid import UUID

from booking.domain.model import StoredQuote
from runtime.postgres import Connection

_COLUMNS = """id, agency_id, property_id, hold_id, check_in, check_out, adults, children, infants, currency,
total_minor, created_at, expires_at"""


async def insert_quote(connection: Connection, quote: StoredQuote, most: int) -> bool:
    """Store a quote; False when the property has `most` live ones already. Racing inserts may exceed that by a few."""
    stored = await connection.fetchval(
        f"""INSERT INTO quotes ({_COLUMNS})
            SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
            WHERE (SELECT count(*) FROM (SELECT FROM quotes WHERE property_id = $3 AND expires_at > $12 LIMIT $14)
                   AS live) < $14
            RETURNING true""",  # noqa: S608 - a constant of this module
        quote.id,
        quote.agency_id,
        quote.property_id,
        quote.hold_id,
        quote.check_in,
        quote.check_out,
        quote.adults,
        quote.children,
        quote.infants,
        quote.currency,
        quote.total_minor,
        quote.created_at,
        quote.expires_at,
        most,
    )
    return stored is True


async def select_quote(connection: Connection, agency_id: UUID, quote_id: UUID) -> StoredQuote | None:
    """One quote, those that ran out too until they are purged."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM quotes WHERE agency_id = $1 AND id = $2",  # noqa: S608 - a constant of this module
        agency_id,
        quote_id,
    )
    return StoredQuote(**row) if row else None
