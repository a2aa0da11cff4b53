"""The statements on passwords, failed logins, refresh tokens and one-time links; called by service.

They run as the system role: before a login the agency is not known. The application role may only end the logins of a
user and store a link.
"""

from datetime import datetime, timedelta
from uuid import UUID

from booking.domain.accounts import Attempts, LoginCandidate, TokenFamily, User
from booking.repository.accounts.grants import present
from runtime.postgres import Connection, Pool


async def select_login_candidates(
    conn: Connection, email_normalised: str, agency_id: UUID | None
) -> list[LoginCandidate]:
    """The active users with a password an e-mail can mean; of one agency when it is named."""
    rows = await conn.fetch(
        """SELECT users.id AS user_id, users.agency_id, password_hash FROM users
           JOIN credentials ON credentials.user_id = users.id
           WHERE email_normalised = $1 AND active AND ($2::uuid IS NULL OR users.agency_id = $2)""",
        email_normalised,
        agency_id,
    )
    return [LoginCandidate(**row) for row in rows]


async def lock_credential(conn: Connection, user_id: UUID) -> str | None:
    """The stored password hash, which cannot change until the transaction ends."""
    stored: str | None = await conn.fetchval(
        "SELECT password_hash FROM credentials WHERE user_id = $1 FOR UPDATE", user_id
    )
    return stored


async def upsert_credential(conn: Connection, user: User, password_hash: str) -> None:
    """Store a user's password hash in place of any earlier one."""
    await conn.execute(
        """INSERT INTO credentials (user_id, agency_id, password_hash, changed_at) VALUES ($1, $2, $3, suite_now())
           ON CONFLICT (user_id) DO UPDATE SET password_hash = excluded.password_hash, changed_at = suite_now()""",
        user.id,
        user.agency_id,
        password_hash,
    )


async def lock_attempts(conn: Connection, email_hash: bytes) -> tuple[Attempts, datetime]:
    """The failed logins with an e-mail and the present instant; other attempts with it wait."""
    row = await conn.fetchrow(
        """INSERT INTO login_failures AS known (email_hash, failures) VALUES ($1, 0)
           ON CONFLICT (email_hash) DO UPDATE SET failures = known.failures
           RETURNING failures, last_at, locked_until, suite_now() AS now""",
        email_hash,
    )
    found = present(row)
    return Attempts(found["failures"], found["last_at"], found["locked_until"]), found["now"]


async def update_attempts(conn: Connection, email_hash: bytes, attempts: Attempts) -> None:
    """Store the failed logins with an e-mail."""
    await conn.execute(
        "UPDATE login_failures SET failures = $2, last_at = $3, locked_until = $4 WHERE email_hash = $1",
        email_hash,
        attempts.failures,
        attempts.last_at,
        attempts.locked_until,
    )


async def delete_attempts(conn: Connection, email_hash: bytes) -> None:
    """Forget the failed logins with an e-mail."""
    await conn.execute("DELETE FROM login_failures WHERE email_hash = $1", email_hash)


async def insert_family(conn: Connection, family_id: UUID, user: User, token_hash: bytes, ttl: timedelta) -> None:
    """Store the first refresh token of a login."""
    await conn.execute(
        """INSERT INTO refresh_tokens (family_id, agency_id, user_id, token_hash, started_at, rotated_at, expires_at)
           VALUES ($1, $2, $3, $4, suite_now(), suite_now(), suite_now() + $5::interval)""",
        family_id,
        user.agency_id,
        user.id,
        token_hash,
        ttl,
    )


async def lock_family(conn: Connection, family_id: UUID) -> TokenFamily | None:
    """One login's refresh token; other uses of it wait."""
    row = await conn.fetchrow(
        """SELECT family_id, user_id, token_hash, revoked_at IS NOT NULL OR expires_at <= suite_now() AS is_over
           FROM refresh_tokens WHERE family_id = $1 FOR UPDATE""",
        family_id,
    )
    return TokenFamily(**row) if row is not None else None


async def rotate_family(conn: Connection, family_id: UUID, token_hash: bytes) -> None:
    """Replace a login's refresh token; its end stays."""
    await conn.execute(
        "UPDATE refresh_tokens SET token_hash = $2, rotated_at = suite_now() WHERE family_id = $1",
        family_id,
        token_hash,
    )


async def revoke_family(conn: Connection | Pool, family_id: UUID) -> None:
    """End one login."""
    await conn.execute(
        "UPDATE refresh_tokens SET revoked_at = suite_now() WHERE family_id = $1 AND revoked_at IS NULL", family_id
    )


async def revoke_families_of_user(conn: Connection, user_id: UUID) -> None:
    """End every login of a user."""
    await conn.execute(
        "UPDATE refresh_tokens SET revoked_at = suite_now() WHERE user_id = $1 AND revoked_at IS NULL", user_id
    )


async def insert_link(conn: Connection, token_hash: bytes, user: User, purpose: str, ttl: timedelta) -> None:
    """Store a one-time link."""
    await conn.execute(
        """INSERT INTO one_time_links (token_hash, agency_id, user_id, purpose, created_at, expires_at)
           VALUES ($1, $2, $3, $4, suite_now(), suite_now() + $5::interval)""",
        token_hash,
        user.agency_id,
        user.id,
        purpose,
        ttl,
    )


async def is_link_open(pool: Pool, token_hash: bytes) -> bool:
    """Whether a link can still be used."""
    found = await pool.fetchval(
        "SELECT true FROM one_time_links WHERE token_hash = $1 AND used_at IS NULL AND expires_at > suite_now()",
        token_hash,
    )
    return found is True


async def consume_link(conn: Connection, token_hash: bytes) -> UUID | None:
    """Use a link up: its user; None when it cannot be used (any more)."""
    user_id: UUID | None = await conn.fetchval(
        """UPDATE one_time_links SET used_at = suite_now()
           WHERE token_hash = $1 AND used_at IS NULL AND expires_at > suite_now() RETURNING user_id""",
        token_hash,
    )
    return user_id


async def withdraw_links(conn: Connection, user_id: UUID) -> None:
    """Close every open link of a user."""
    await conn.execute(
        "UPDATE one_time_links SET used_at = suite_now() WHERE user_id = $1 AND used_at IS NULL", user_id
    )


async def delete_old_families(conn: Connection, age: timedelta) -> int:
    """Delete logins that ended some time ago; how many."""
    statement = "DELETE FROM refresh_tokens WHERE expires_at <= suite_now() - $1::interval"
    return _affected(await conn.execute(statement, age))


async def delete_old_links(conn: Connection, age: timedelta) -> int:
    """Delete links that expired some time ago; how many."""
    statement = "DELETE FROM one_time_links WHERE expires_at <= suite_now() - $1::interval"
    return _affected(await conn.execute(statement, age))


async def delete_old_attempts(conn: Connection, age: timedelta) -> int:
    """Delete failed logins nobody added to for some time; how many."""
    statement = "DELETE FROM login_failures WHERE last_at <= suite_now() - $1::interval"
    return _affected(await conn.execute(statement, age))


def _affected(status: str) -> int:
    return int(status.rpartition(" ")[2])
