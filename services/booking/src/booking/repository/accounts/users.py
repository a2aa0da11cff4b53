"""The statements on agencies and users; called by service.

Functions that take an `agency_id` filter by it and run under either role; the others run as the system role.
"""

from uuid import UUID

from booking.domain.accounts import ADMIN, Grant, User
from booking.domain.model import Page
from booking.repository.accounts.grants import grant_from, grant_parameters, present
from runtime.postgres import Connection, Pool, Row

_USER = "id, agency_id, email, roles, property_ids, active, created_at, updated_at, accepted_at, last_login_at"


async def insert_agency(pool: Pool, agency_id: UUID, name: str) -> None:
    """Store an agency."""
    await pool.execute(
        "INSERT INTO agencies (agency_id, name, created_at) VALUES ($1, $2, suite_now())", agency_id, name
    )


async def lock_agency(conn: Connection, agency_id: UUID) -> bool:
    """Make changes of an agency's users queue up; False when there is no such agency."""
    found = await conn.fetchval("SELECT true FROM agencies WHERE agency_id = $1 FOR NO KEY UPDATE", agency_id)
    return found is True


async def count_properties(conn: Connection, agency_id: UUID, property_ids: frozenset[UUID]) -> int:
    """How many of these properties are the agency's."""
    count: int = await conn.fetchval(
        "SELECT count(*) FROM properties WHERE agency_id = $1 AND id = ANY ($2::uuid[])", agency_id, list(property_ids)
    )
    return count


async def insert_user(
    conn: Connection, user_id: UUID, agency_id: UUID | None, email: str, email_normalised: str, grant: Grant
) -> User | None:
    """Store an invited user; None when the agency (or the platform) has one with this e-mail."""
    row = await conn.fetchrow(
        f"""INSERT INTO users (id, agency_id, email, email_normalised, roles, property_ids, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, suite_now(), suite_now())
            ON CONFLICT DO NOTHING RETURNING {_USER}""",  # noqa: S608
        user_id,
        agency_id,
        email,
        email_normalised,
        *grant_parameters(grant),
    )
    return _user(row) if row is not None else None


async def select_user(conn: Connection, agency_id: UUID, user_id: UUID) -> User | None:
    """One user of the agency."""
    row = await conn.fetchrow(
        f"SELECT {_USER} FROM users WHERE agency_id = $1 AND id = $2",  # noqa: S608
        agency_id,
        user_id,
    )
    return _user(row) if row is not None else None


async def select_users(conn: Connection, agency_id: UUID, page: Page) -> list[User]:
    """A page of the agency's users, newest first."""
    rows = await conn.fetch(
        f"""SELECT {_USER} FROM users
            WHERE agency_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
            ORDER BY created_at DESC, id DESC LIMIT $4""",  # noqa: S608
        agency_id,
        page.created_at,
        page.id,
        page.limit,
    )
    return [_user(row) for row in rows]


async def select_active_user(conn: Connection, user_id: UUID) -> User | None:
    """A user who may log in, whatever the agency."""
    row = await conn.fetchrow(f"SELECT {_USER} FROM users WHERE id = $1 AND active", user_id)  # noqa: S608
    return _user(row) if row is not None else None


async def select_users_of_email(pool: Pool | Connection, email_normalised: str) -> list[User]:
    """The users with an e-mail in all agencies."""
    rows = await pool.fetch(f"SELECT {_USER} FROM users WHERE email_normalised = $1", email_normalised)  # noqa: S608
    return [_user(row) for row in rows]


async def update_user(conn: Connection, agency_id: UUID, user_id: UUID, grant: Grant, active: bool) -> User:
    """Replace what a user may do."""
    row = await conn.fetchrow(
        f"""UPDATE users SET roles = $3, property_ids = $4, active = $5, updated_at = suite_now()
            WHERE agency_id = $1 AND id = $2 RETURNING {_USER}""",  # noqa: S608
        agency_id,
        user_id,
        *grant_parameters(grant),
        active,
    )
    return _user(present(row))


async def update_grant_of_invited(conn: Connection, user_id: UUID, grant: Grant) -> None:
    """Replace what somebody who has not accepted yet will be allowed to do."""
    await conn.execute(
        "UPDATE users SET roles = $2, property_ids = $3, updated_at = suite_now() WHERE id = $1",
        user_id,
        *grant_parameters(grant),
    )


async def count_other_admins(conn: Connection, agency_id: UUID, user_id: UUID) -> int:
    """The agency's active admins besides one user."""
    count: int = await conn.fetchval(
        "SELECT count(*) FROM users WHERE agency_id = $1 AND id <> $2 AND active AND $3 = ANY (roles)",
        agency_id,
        user_id,
        ADMIN,
    )
    return count


async def mark_login(conn: Connection, user_id: UUID) -> None:
    """Note that a user logged in."""
    await conn.execute("UPDATE users SET last_login_at = suite_now() WHERE id = $1", user_id)


async def mark_accepted(conn: Connection, user_id: UUID) -> None:
    """Note that a user has a password."""
    await conn.execute("UPDATE users SET accepted_at = coalesce(accepted_at, suite_now()) WHERE id = $1", user_id)


def _user(row: Row) -> User:
    return User(
        row["id"],
        row["agency_id"],
        row["email"],
        grant_from(row["roles"], row["property_ids"]),
        row["active"],
        row["created_at"],
        row["updated_at"],
        row["accepted_at"],
        row["last_login_at"],
    )
