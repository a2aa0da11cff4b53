"""The use cases of getting in: exchange a password or API key, refresh, log out, accept a one-time link."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from booking.domain.accounts import (
    REFRESH_TTL,
    ApiKeyRefused,
    Grant,
    LinkRefused,
    LoginCandidate,
    LoginRefused,
    RefreshRefused,
    User,
    admit,
)
from booking.domain.model import normalise_email
from booking.repository.accounts import keys as key_rows
from booking.repository.accounts import logins as login_rows
from booking.repository.accounts import users as user_rows
from booking.service.accounts.deps import AccessDeps
from booking.service.accounts.secret_tokens import (
    KEY_SUBJECT,
    USER_SUBJECT,
    RefreshSecret,
    digest,
    is_same,
    new_secret,
    parse_key,
    parse_refresh,
)
from runtime.logs import get_logger
from runtime.postgres import Connection, transaction

log = get_logger(__name__)

NO_HASH = bytes(32)


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """What a caller gets: a bearer token of five minutes, and for users the means to get the next."""

    access_token: str
    refresh_token: str | None


async def exchange_password(access: AccessDeps, email: str, password: str, agency_id: UUID | None) -> Session:
    """Log a user in. Raises `LoginRefused`, alike for a wrong password and an e-mail nobody has; `LoginLocked`;
    `LoginsBusy`.
    """
    normalised = normalise_email(email) or ""
    email_hash = digest(normalised)
    renewed: str | None = None
    async with access.passwords.slot():
        async with transaction(access.system_pool, None) as conn:
            attempts, now = await login_rows.lock_attempts(conn, email_hash)
            await login_rows.update_attempts(conn, email_hash, admit(attempts, now))
            candidate = _only(await login_rows.select_login_candidates(conn, normalised, agency_id))
        stored = candidate.password_hash if candidate is not None else None
        if not await access.passwords.matches(stored, password) or candidate is None:
            raise LoginRefused(LoginRefused.__doc__)
        if access.passwords.is_outdated(candidate.password_hash):
            renewed = await access.passwords.hash(password)
    async with transaction(access.system_pool, None) as conn:
        user = await user_rows.select_active_user(conn, candidate.user_id)
        # A password that was reset while this one was compared ends the logins there are: this one may not follow.
        if user is None or await login_rows.lock_credential(conn, user.id) != candidate.password_hash:
            raise LoginRefused(LoginRefused.__doc__)
        if renewed is not None:
            await login_rows.upsert_credential(conn, user, renewed)
        await login_rows.delete_attempts(conn, email_hash)
        await user_rows.mark_login(conn, user.id)
        secret = RefreshSecret(uuid4(), new_secret())
        await login_rows.insert_family(conn, secret.family_id, user, digest(secret.secret), REFRESH_TTL)
    return _session(access, user, secret)


async def exchange_api_key(access: AccessDeps, text: str) -> Session:
    """A bearer token for an API key: never more than the user who made it may do now. Raises `ApiKeyRefused`."""
    presented = parse_key(text)
    if presented is None:
        raise ApiKeyRefused(ApiKeyRefused.__doc__)
    key = await key_rows.select_presented_key(access.system_pool, presented.prefix)
    is_genuine = is_same(key.secret_hash if key is not None else NO_HASH, presented.secret)
    grant = key.effective if key is not None and is_genuine else None
    if key is None or grant is None:
        raise ApiKeyRefused(ApiKeyRefused.__doc__)
    await key_rows.mark_key_used(access.system_pool, key.id)
    token = access.issue(
        subject=f"{KEY_SUBJECT}:{key.id}",
        agency_id=key.agency_id,
        roles=grant.roles,
        **_scope(grant),
    )
    return Session(token, None)


async def refresh(access: AccessDeps, text: str) -> Session:
    """A new pair of tokens for a refresh token, once; another token of the same login ends that login.

    Raises `RefreshRefused`.
    """
    presented = parse_refresh(text)
    if presented is None:
        raise RefreshRefused(RefreshRefused.__doc__)
    async with transaction(access.system_pool, None) as conn:
        rotated = await _rotate(conn, presented)
    # Raised only after the transaction: a revocation must stay.
    if rotated is None:
        raise RefreshRefused(RefreshRefused.__doc__)
    user, secret = rotated
    return _session(access, user, secret)


async def log_out(access: AccessDeps, text: str) -> None:
    """End the login of a refresh token, also of a used one; what never was one ends nothing."""
    presented = parse_refresh(text)
    if presented is not None:
        await login_rows.revoke_family(access.system_pool, presented.family_id)


async def accept_link(access: AccessDeps, token: str, password: str) -> User:
    """Set the password of whoever was sent a link, end their logins and their lock-out. Raises `LinkRefused`."""
    token_hash = digest(token)
    if not await login_rows.is_link_open(access.system_pool, token_hash):
        raise LinkRefused(LinkRefused.__doc__)
    async with access.passwords.slot():
        password_hash = await access.passwords.hash(password)
    async with transaction(access.system_pool, None) as conn:
        user_id = await login_rows.consume_link(conn, token_hash)
        user = await user_rows.select_active_user(conn, user_id) if user_id is not None else None
        if user is None:
            raise LinkRefused(LinkRefused.__doc__)
        await login_rows.upsert_credential(conn, user, password_hash)
        await user_rows.mark_accepted(conn, user.id)
        await login_rows.withdraw_links(conn, user.id)
        await login_rows.revoke_families_of_user(conn, user.id)
        await login_rows.delete_attempts(conn, digest(normalise_email(user.email) or ""))
    return user


def _only(candidates: Sequence[LoginCandidate]) -> LoginCandidate | None:
    """The platform's user, who has no agency to name, else the only one: what an agency does locks out no operator."""
    of_platform = [candidate for candidate in candidates if candidate.agency_id is None]
    wanted = of_platform or candidates
    return wanted[0] if len(wanted) == 1 else None


async def _rotate(conn: Connection, presented: RefreshSecret) -> tuple[User, RefreshSecret] | None:
    family = await login_rows.lock_family(conn, presented.family_id)
    if family is None or family.is_over:
        return None
    if not is_same(family.token_hash, presented.secret):
        await login_rows.revoke_family(conn, family.family_id)
        log.warning("refresh token reused: login ended", user_id=str(family.user_id))
        return None
    user = await user_rows.select_active_user(conn, family.user_id)
    if user is None:
        return None
    secret = RefreshSecret(family.family_id, new_secret())
    await login_rows.rotate_family(conn, family.family_id, digest(secret.secret))
    return user, secret


def _session(access: AccessDeps, user: User, secret: RefreshSecret) -> Session:
    token = access.issue(
        subject=f"{USER_SUBJECT}:{user.id}",
        agency_id=user.agency_id,
        roles=user.grant.roles,
        **_scope(user.grant),
    )
    return Session(token, str(secret))


def _scope(grant: Grant) -> dict[str, Any]:
    return {} if grant.property_ids is None else {"property_ids": sorted(map(str, grant.property_ids))}
