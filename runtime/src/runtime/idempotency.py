"""Idempotency keys: scoped to the caller, stored with the 2xx answer in the transaction of the effect.

Used by `api` (to read the header) and by repositories and services (to look up and store).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any
from uuid import UUID

from fastapi import Request, Response

from contracts.problems import ProblemCode
from runtime.http import json_bytes
from runtime.postgres import Connection, Row
from runtime.problems import ProblemError, ToProblem
from runtime.tokens import Caller

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotent-Replayed"
MAX_KEY_LENGTH = 200

_SELECT = """
SELECT fingerprint, status, body FROM idempotency_keys
WHERE agency_id = $1 AND caller = $2 AND key = $3 AND expires_at > now()"""
_INSERT = """
INSERT INTO idempotency_keys (agency_id, caller, key, fingerprint, status, body)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING true"""


class IdempotencyMismatch(Exception):
    """This Idempotency-Key was used before with another request."""


class IdempotencyInProgress(Exception):
    """A request with this Idempotency-Key is still being worked on. Please retry."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's key within its caller's scope; `fingerprint` is SHA-256 over method, path and body."""

    agency_id: UUID
    caller: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer of a creating request, byte for byte; `replayed` when it was stored by an earlier request."""

    status: int
    body: str
    replayed: bool = False

    def response(self) -> Response:
        """The HTTP answer, marked when it is a replay."""
        return json_bytes(self.body, self.status, {REPLAYED_HEADER: "true"} if self.replayed else None)


async def idempotency_key(request: Request, caller: Caller) -> IdempotencyKey | None:
    """The key of a creating request; None when the client sent none. Refuses an empty or overlong one."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY_LENGTH or caller.agency_id is None:
        detail = f"{HEADER} must have 1 to {MAX_KEY_LENGTH} characters."
        raise ProblemError(422, ProblemCode.VALIDATION_ERROR, detail)
    # The path with its ids, not the route's template: one body may be posted below two parents.
    path = request.scope["path"]
    digest = hashlib.sha256(f"{request.method} {path}\n".encode() + await request.body()).hexdigest()
    return IdempotencyKey(caller.agency_id, caller.subject, key, digest)


async def select_idempotent_answer(connection: Connection, key: IdempotencyKey) -> StoredAnswer | None:
    """The stored answer of a key; raises `IdempotencyMismatch` when its request was another."""
    row = await connection.fetchrow(_SELECT, key.agency_id, key.caller, key.key)
    return stored_answer(row, key) if row is not None else None


def stored_answer(found: Row | Mapping[str, Any], key: IdempotencyKey) -> StoredAnswer:
    """The answer found under a key: fingerprint, status and body; raises `IdempotencyMismatch`."""
    if found["fingerprint"] != key.fingerprint:
        raise IdempotencyMismatch(IdempotencyMismatch.__doc__)
    return StoredAnswer(found["status"], found["body"], replayed=True)


async def insert_idempotent_answer(connection: Connection, key: IdempotencyKey, answer: StoredAnswer) -> None:
    """Store the answer, last in its transaction; raises `IdempotencyInProgress` when another request was first.

    The caller lets the transaction roll back and looks the key up again.
    """
    if await connection.fetchval(_INSERT, *astuple(key), answer.status, answer.body) is None:
        raise IdempotencyInProgress(IdempotencyInProgress.__doc__)


def idempotency_problems() -> dict[type[Exception], ToProblem]:
    """How the two situations are answered; merged into a service's domain errors by `main`."""
    return {
        IdempotencyMismatch: lambda error: ProblemError(422, ProblemCode.IDEMPOTENCY_MISMATCH, str(error)),
        IdempotencyInProgress: lambda error: ProblemError(
            409, ProblemCode.IDEMPOTENCY_IN_PROGRESS, str(error), headers={"Retry-After": "1"}
        ),
    }
