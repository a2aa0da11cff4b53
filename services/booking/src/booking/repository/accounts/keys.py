"""The statements on API keys; called by service.

Functions that take an `agency_id` filter by it and run under either role; the others run as the system role.
"""

from uuid import UUID

from booking.domain.accounts import ApiKey, NewApiKey, PresentedKey
from booking.domain.model import Page
from booking.repository.accounts.grants import grant_from, grant_parameters, present
from runtime.postgres import Connection, Pool, Row

_KEY = "id, agency_id, name, prefix, roles, property_ids, created_by, created_at, expires_at, revoked_at, last_used_at"


async def insert_api_key(conn: Connection, new: NewApiKey) -> ApiKey:
    """Store a key."""
    row = await conn.fetchrow(
        f"""INSERT INTO api_keys
                (id, agency_id, name, prefix, secret_hash, roles, property_ids, created_by, created_at, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, suite_now(), suite_now() + $9::interval)
            RETURNING {_KEY}""",  # noqa: S608
        new.id,
        new.agency_id,
        new.name,
        new.prefix,
        new.secret_hash,
        *grant_parameters(new.grant),
        new.created_by,
        new.ttl,
    )
    return _key(present(row))


async def select_presented_key(pool: Pool, prefix: str) -> PresentedKey | None:
    """The key with a prefix and what its maker may do now."""
    row = await pool.fetchrow(
        """SELECT api_keys.id, api_keys.agency_id, secret_hash, api_keys.roles, api_keys.property_ids,
                  revoked_at IS NOT NULL OR expires_at <= suite_now() AS is_over,
                  created_by IS NOT NULL AS has_maker, coalesce(users.active, false) AS maker_is_active,
                  users.roles AS maker_roles, users.property_ids AS maker_property_ids
           FROM api_keys LEFT JOIN users ON users.id = created_by AND users.agency_id = api_keys.agency_id
           WHERE prefix = $1""",
        prefix,
    )
    if row is None:
        return None
    maker = grant_from(row["maker_roles"], row["maker_property_ids"]) if row["maker_roles"] is not None else None
    return PresentedKey(
        row["id"],
        row["agency_id"],
        row["secret_hash"],
        grant_from(row["roles"], row["property_ids"]),
        row["is_over"],
        row["has_maker"],
        row["maker_is_active"],
        maker,
    )


async def mark_key_used(pool: Pool, key_id: UUID) -> None:
    """Note that a key was used; at most once a minute, so that a busy key writes no more than an idle one."""
    await pool.execute(
        """UPDATE api_keys SET last_used_at = suite_now()
           WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= suite_now() - interval '1 minute')""",
        key_id,
    )


async def select_api_keys(conn: Connection, agency_id: UUID, made_by: UUID | None, page: Page) -> list[ApiKey]:
    """A page of the agency's keys, newest first; of one maker when given."""
    rows = await conn.fetch(
        f"""SELECT {_KEY} FROM api_keys
            WHERE agency_id = $1 AND ($2::uuid IS NULL OR created_by = $2)
              AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid))
            ORDER BY created_at DESC, id DESC LIMIT $5""",  # noqa: S608
        agency_id,
        made_by,
        page.created_at,
        page.id,
        page.limit,
    )
    return [_key(row) for row in rows]


async def revoke_api_key(conn: Connection, agency_id: UUID, key_id: UUID, made_by: UUID | None) -> ApiKey | None:
    """Revoke a key, once; None when the agency (or that maker) has no such key."""
    row = await conn.fetchrow(
        f"""UPDATE api_keys SET revoked_at = coalesce(revoked_at, suite_now())
            WHERE agency_id = $1 AND id = $2 AND ($3::uuid IS NULL OR created_by = $3) RETURNING {_KEY}""",  # noqa: S608
        agency_id,
        key_id,
        made_by,
    )
    return _key(row) if row is not None else None


def _key(row: Row) -> ApiKey:
    return ApiKey(
        row["id"],
        row["agency_id"],
        row["name"],
        row["prefix"],
        grant_from(row["roles"], row["property_ids"]),
        row["created_by"],
        row["created_at"],
        row["expires_at"],
        row["revoked_at"],
        row["last_used_at"],
    )
