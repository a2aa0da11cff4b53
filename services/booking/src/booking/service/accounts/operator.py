"""The use cases of an operator's commands and of a worker, with the system role: no token, whatever the agency."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from booking.domain.accounts import (
    FORGET_FAILURES_AFTER,
    INVITATION_TTL,
    PASSWORD_RESET_TTL,
    PLATFORM,
    EmailAmbiguous,
    EmailTaken,
    Grant,
    User,
    check_fit,
)
from booking.domain.errors import NotFound
from booking.domain.model import normalise_email
from booking.repository.accounts import logins as login_rows
from booking.repository.accounts import users as user_rows
from booking.service.accounts.deps import check_properties
from booking.service.accounts.secret_tokens import digest, new_secret
from booking.service.accounts.users import INVITATION
from runtime.postgres import Connection, Pool, transaction

PASSWORD_RESET = "password_reset"  # noqa: S105 - a purpose
KEPT_AFTER_THE_END = timedelta(days=7)


@dataclass(frozen=True, slots=True, repr=False)
class Link:
    """A one-time link: its token, shown this once, and whose it is."""

    token: str
    user: User
    ttl: timedelta


async def create_agency(system_pool: Pool, name: str) -> UUID:
    """Add an agency; its id."""
    agency_id = uuid4()
    await user_rows.insert_agency(system_pool, agency_id, name)
    return agency_id


async def invite(system_pool: Pool, agency_id: UUID, email: str, grant: Grant) -> Link:
    """Invite a user of an agency, or again whoever has not accepted; the earlier link is void then.

    Raises `GrantUnfit`, `NotFound` (agency, property), `EmailTaken` for a user who accepted.
    """
    check_fit(grant)
    async with transaction(system_pool, None) as conn:
        if not await user_rows.lock_agency(conn, agency_id):
            raise NotFound("agency")
        await check_properties(conn, agency_id, grant)
        return await _invite(conn, agency_id, email, grant)


async def invite_platform(system_pool: Pool, email: str) -> Link:
    """Invite a user of the platform, who belongs to no agency. Raises `EmailTaken` for one who accepted."""
    async with transaction(system_pool, None) as conn:
        return await _invite(conn, None, email, Grant(frozenset({PLATFORM})))


async def reset_password(system_pool: Pool, email: str, agency_id: UUID | None) -> Link:
    """A link to set a new password; the old one works until then. Raises `NotFound`, `EmailAmbiguous`."""
    async with transaction(system_pool, None) as conn:
        found = await user_rows.select_users_of_email(conn, normalise_email(email) or "")
        wanted = [user for user in found if user.active and (agency_id is None or user.agency_id == agency_id)]
        if not wanted:
            raise NotFound("active user")
        if len(wanted) > 1:
            raise EmailAmbiguous(EmailAmbiguous.__doc__)
        return await _new_link(conn, wanted[0], PASSWORD_RESET, PASSWORD_RESET_TTL)


async def purge(system_pool: Pool) -> int:
    """Delete what ended a week ago, and failed logins nobody counts any more; how many rows."""
    async with transaction(system_pool, None) as conn:
        families = await login_rows.delete_old_families(conn, KEPT_AFTER_THE_END)
        links = await login_rows.delete_old_links(conn, KEPT_AFTER_THE_END)
        return families + links + await login_rows.delete_old_attempts(conn, FORGET_FAILURES_AFTER)


async def _invite(conn: Connection, agency_id: UUID | None, email: str, grant: Grant) -> Link:
    normalised = normalise_email(email) or ""
    user = await user_rows.insert_user(conn, uuid4(), agency_id, email, normalised, grant)
    if user is None:
        known = await user_rows.select_users_of_email(conn, normalised)
        user = next((found for found in known if found.agency_id == agency_id), None)
        if user is None or user.accepted_at is not None:
            raise EmailTaken(EmailTaken.__doc__)
        await user_rows.update_grant_of_invited(conn, user.id, grant)
    return await _new_link(conn, user, INVITATION, INVITATION_TTL)


async def _new_link(conn: Connection, user: User, purpose: str, ttl: timedelta) -> Link:
    token = new_secret()
    await login_rows.withdraw_links(conn, user.id)
    await login_rows.insert_link(conn, digest(token), user, purpose, ttl)
    return Link(token, user, ttl)
