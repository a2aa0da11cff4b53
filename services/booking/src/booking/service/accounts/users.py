"""The use cases on an agency's users: invite, list, change; for its admins."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

from booking.domain.accounts import (
    ADMIN,
    INVITATION_TTL,
    EmailTaken,
    Grant,
    LastAdmin,
    User,
    check_fit,
)
from booking.domain.errors import NotFound
from booking.domain.model import Page, normalise_email
from booking.repository.accounts import logins as login_rows
from booking.repository.accounts import users as user_rows
from booking.service.accounts.deps import AccessDeps, actor_of, check_properties, require
from booking.service.accounts.secret_tokens import digest, new_secret
from booking.service.writing import keep_answer, replaying
from runtime.idempotency import IdempotencyKey, StoredAnswer, select_idempotent_answer
from runtime.postgres import Connection, transaction
from runtime.tokens import Caller

INVITATION = "invitation"
CREATED = 201


@dataclass(frozen=True, slots=True)
class UserChange:
    """What changes of a user: None leaves roles and activity as they are, `sets_scope` says whether the scope does."""

    roles: frozenset[str] | None
    sets_scope: bool
    property_ids: frozenset[UUID] | None
    active: bool | None

    def applied_to(self, user: User) -> Grant:
        """What the user may do afterwards."""
        scope = self.property_ids if self.sets_scope else user.grant.property_ids
        return Grant(user.grant.roles if self.roles is None else self.roles, scope)


async def create(
    access: AccessDeps,
    caller: Caller,
    agency_id: UUID,
    email: str,
    grant: Grant,
    key: IdempotencyKey | None,
    body: Callable[[User, str], str],
) -> StoredAnswer:
    """Add a user; `body` turns them and the token of their invitation into the answer, which is kept sealed.

    Raises `NotAllowed`, `GrantUnfit`, `NotFound` (agency, property), `EmailTaken`.
    """

    async def attempt() -> StoredAnswer:
        async with transaction(access.api.pool, agency_id) as conn:
            require(await actor_of(conn, caller, agency_id), ADMIN)
            check_fit(grant)
            await _lock_agency(conn, agency_id)
            # Under the lock: a request with the same key that was first has committed, and its user is ours.
            if key is not None and (stored := await select_idempotent_answer(conn, key)) is not None:
                return stored
            await check_properties(conn, agency_id, grant)
            user = await user_rows.insert_user(conn, uuid4(), agency_id, email, normalise_email(email) or "", grant)
            if user is None:
                raise EmailTaken(EmailTaken.__doc__)
            token = new_secret()
            await login_rows.insert_link(conn, digest(token), user, INVITATION, INVITATION_TTL)
            answer = access.seal.close(StoredAnswer(CREATED, body(user, token)))
            await keep_answer(conn, key, answer)
            return answer

    return access.seal.open(await replaying(access.api, key, attempt))


async def get(access: AccessDeps, caller: Caller, agency_id: UUID, user_id: UUID) -> User:
    """One user. Raises `NotAllowed`, `NotFound`."""
    async with transaction(access.api.pool, agency_id) as conn:
        require(await actor_of(conn, caller, agency_id), ADMIN)
        return await _user(conn, agency_id, user_id)


async def list_page(access: AccessDeps, caller: Caller, agency_id: UUID, page: Page) -> list[User]:
    """A page of the agency's users, newest first. Raises `NotAllowed`."""
    async with transaction(access.api.pool, agency_id) as conn:
        require(await actor_of(conn, caller, agency_id), ADMIN)
        return await user_rows.select_users(conn, agency_id, page)


async def change(access: AccessDeps, caller: Caller, agency_id: UUID, user_id: UUID, wanted: UserChange) -> User:
    """Change what a user may do; whoever is disabled is logged out.

    Raises `NotAllowed`, `NotFound` (agency, user, property), `GrantUnfit`, `LastAdmin`.
    """
    async with transaction(access.api.pool, agency_id) as conn:
        # Locked first: of two admins who disable each other, the second is none any more when judged.
        await _lock_agency(conn, agency_id)
        require(await actor_of(conn, caller, agency_id), ADMIN)
        before = await _user(conn, agency_id, user_id)
        grant = wanted.applied_to(before)
        active = before.active if wanted.active is None else wanted.active
        check_fit(grant)
        await check_properties(conn, agency_id, grant)
        after = await user_rows.update_user(conn, agency_id, user_id, grant, active)
        loses_admin = before.is_active_admin and not after.is_active_admin
        if loses_admin and await user_rows.count_other_admins(conn, agency_id, user_id) == 0:
            raise LastAdmin(LastAdmin.__doc__)
        if not after.active:
            await login_rows.revoke_families_of_user(conn, user_id)
        return after


async def _lock_agency(conn: Connection, agency_id: UUID) -> None:
    if not await user_rows.lock_agency(conn, agency_id):
        raise NotFound("agency")


async def _user(conn: Connection, agency_id: UUID, user_id: UUID) -> User:
    found = await user_rows.select_user(conn, agency_id, user_id)
    if found is None:
        raise NotFound("user")
    return found
