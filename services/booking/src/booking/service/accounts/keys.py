"""The use cases on API keys: make, list, revoke; for admins and managers."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

from booking.domain.accounts import (
    ADMIN,
    MANAGER,
    ApiKey,
    Grant,
    GrantExceedsOwn,
    NewApiKey,
    check_fit,
)
from booking.domain.errors import NotFound
from booking.domain.model import Page
from booking.repository.accounts import keys as key_rows
from booking.repository.accounts import users as user_rows
from booking.service.accounts.deps import AccessDeps, actor_of, check_properties, made_by, require
from booking.service.accounts.secret_tokens import digest, new_key
from booking.service.writing import keep_answer, replaying
from runtime.idempotency import IdempotencyKey, StoredAnswer, select_idempotent_answer
from runtime.postgres import transaction
from runtime.tokens import Caller

CREATED = 201


async def create(
    access: AccessDeps,
    caller: Caller,
    agency_id: UUID,
    name: str,
    grant: Grant,
    ttl: timedelta,
    key: IdempotencyKey | None,
    body: Callable[[ApiKey, str], str],
) -> StoredAnswer:
    """Make a key; `body` turns it and its secret, shown this once, into the answer, which is kept sealed.

    Raises `NotAllowed`, `GrantExceedsOwn`, `GrantUnfit`, `NotFound` (agency, property).
    """

    async def attempt() -> StoredAnswer:
        async with transaction(access.api.pool, agency_id) as conn:
            actor = await actor_of(conn, caller, agency_id)
            require(actor, ADMIN, MANAGER)
            made_by(actor)
            check_fit(grant)
            if not actor.grant.covers(grant):
                raise GrantExceedsOwn(GrantExceedsOwn.__doc__)
            if key is not None and (stored := await select_idempotent_answer(conn, key)) is not None:
                return stored
            if not await user_rows.lock_agency(conn, agency_id):
                raise NotFound("agency")
            await check_properties(conn, agency_id, grant)
            secret = new_key()
            new = NewApiKey(uuid4(), agency_id, name, secret.prefix, digest(secret.secret), grant, actor.user_id, ttl)
            made = await key_rows.insert_api_key(conn, new)
            answer = access.seal.close(StoredAnswer(CREATED, body(made, str(secret))))
            await keep_answer(conn, key, answer)
            return answer

    return access.seal.open(await replaying(access.api, key, attempt))


async def list_page(access: AccessDeps, caller: Caller, agency_id: UUID, page: Page) -> list[ApiKey]:
    """A page of keys, newest first: an admin sees the agency's, a manager those they made. Raises `NotAllowed`."""
    async with transaction(access.api.pool, agency_id) as conn:
        actor = await actor_of(conn, caller, agency_id)
        require(actor, ADMIN, MANAGER)
        return await key_rows.select_api_keys(conn, agency_id, made_by(actor), page)


async def revoke(access: AccessDeps, caller: Caller, agency_id: UUID, key_id: UUID) -> ApiKey:
    """End a key; twice answers the same. Raises `NotAllowed`, `NotFound`."""
    async with transaction(access.api.pool, agency_id) as conn:
        actor = await actor_of(conn, caller, agency_id)
        require(actor, ADMIN, MANAGER)
        found = await key_rows.revoke_api_key(conn, agency_id, key_id, made_by(actor))
    if found is None:
        raise NotFound("API key")
    return found
