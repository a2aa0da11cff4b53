"""What the use cases of accounts stand on, who is acting, and how an answer with a secret is kept; used beside it."""

import base64
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from booking.domain.accounts import (
    ADMIN,
    Actor,
    AnswerUnreadable,
    Grant,
    ManagedByUsersOnly,
    NotAllowed,
)
from booking.domain.errors import NotFound
from booking.repository.accounts import users as user_rows
from booking.service.accounts.passwords import Passwords
from booking.service.accounts.secret_tokens import KEY_SUBJECT, USER_SUBJECT
from booking.service.writing import Deps
from runtime.idempotency import StoredAnswer
from runtime.postgres import Connection, Pool
from runtime.tokens import Caller

LOCK_NOT_AVAILABLE = "55P03"


class IssueToken(Protocol):
    """Signs a bearer token of five minutes; `scope` are further claims: what the bearer is limited to."""

    def __call__(
        self,
        *,
        subject: str,
        agency_id: UUID | None,
        roles: Collection[str],
        **scope: Any,
    ) -> str:
        """The signed token."""


class Seal:
    """Encrypts answers that hold a secret; the key is derived from the suite's JWT_SECRET."""

    def __init__(self, jwt_secret: str) -> None:
        derived = HKDF(SHA256(), 32, salt=None, info=b"booking: answers with secrets").derive(jwt_secret.encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    def close(self, answer: StoredAnswer) -> StoredAnswer:
        """The answer as it may lie in the database."""
        return StoredAnswer(answer.status, self._fernet.encrypt(answer.body.encode()).decode(), answer.replayed)

    def open(self, answer: StoredAnswer) -> StoredAnswer:
        """The answer as it is sent; raises `AnswerUnreadable` once the secret was changed."""
        try:
            return StoredAnswer(answer.status, self._fernet.decrypt(answer.body).decode(), answer.replayed)
        except InvalidToken as error:
            raise AnswerUnreadable(AnswerUnreadable.__doc__) from error


@dataclass(frozen=True, slots=True)
class AccessDeps:
    """`api` is the application role's; `system_pool` looks up who logs in, before the agency is known."""

    api: Deps
    system_pool: Pool
    passwords: Passwords
    seal: Seal
    issue: IssueToken


async def actor_of(conn: Connection, caller: Caller, agency_id: UUID) -> Actor:
    """Who manages access, by the user's rights of this moment; a token is up to five minutes old.

    A token of neither user nor key is an operator's and has what it says. Raises `NotAllowed` for a user who was
    disabled or is none of this agency, and `ManagedByUsersOnly` for API keys, which would outlive their revocation by
    making others.
    """
    kind, _, identity = caller.subject.partition(":")
    if kind == KEY_SUBJECT:
        raise ManagedByUsersOnly(ManagedByUsersOnly.__doc__)
    if kind != USER_SUBJECT:
        return Actor(None, Grant(caller.roles))
    user = await user_rows.select_user(conn, agency_id, UUID(identity))
    if user is None or not user.active:
        raise NotAllowed(NotAllowed.__doc__)
    return Actor(user.id, Grant(caller.roles & user.grant.roles, user.grant.property_ids))


def require(actor: Actor, *roles: str) -> None:
    """Raise `NotAllowed` unless the actor has one of the roles."""
    if actor.grant.roles.isdisjoint(roles):
        raise NotAllowed(NotAllowed.__doc__)


def made_by(actor: Actor) -> UUID | None:
    """Whose keys the actor manages: an admin everybody's (None), others their own. Raises `NotAllowed` for nobody's."""
    if ADMIN in actor.grant.roles:
        return None
    if actor.user_id is None:
        raise NotAllowed(NotAllowed.__doc__)
    return actor.user_id


async def check_properties(conn: Connection, agency_id: UUID, grant: Grant) -> None:
    """Raise `NotFound` unless every property of the grant is the agency's."""
    if grant.property_ids is None:
        return
    if await user_rows.count_properties(conn, agency_id, grant.property_ids) != len(grant.property_ids):
        raise NotFound("property")
