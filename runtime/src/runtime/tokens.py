"""Bearer tokens: the one function that verifies them (called by every HTTP service) and the one that issues them.

HS256 by `JWT_SECRET`; a token lives at most five minutes, longer ones are refused whoever signed them.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID

import jwt

ISSUER = "pms"
AUDIENCE = "pms-services"
ALGORITHM = "HS256"
REQUIRED = ["iss", "aud", "sub", "exp", "nbf"]
MAX_LIFETIME_S = 300
LEEWAY_S = 5
SERVICE_ROLE = "service"
MIN_SECRET_BYTES = 32


class InvalidToken(Exception):
    """The bearer token is missing, malformed, expired or not meant for this suite."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: `agency_id` comes from the verified token and from nothing else; None for services.

    `claims` are all of the token's: services read there what a caller is limited to.
    """

    subject: str
    agency_id: UUID | None
    roles: frozenset[str]
    claims: Mapping[str, object] = field(default_factory=dict, compare=False)

    @property
    def is_service(self) -> bool:
        """True for another service of the suite on an internal route; a caller with an agency is none."""
        return self.agency_id is None and SERVICE_ROLE in self.roles


def issue_token(
    secret: str, *, subject: str, agency_id: UUID | None, roles: Iterable[str], lifetime_s: int = 300, **scope: object
) -> str:
    """A signed token; `lifetime_s` at most 300. `scope` are further claims: what the bearer is limited to."""
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise ValueError("JWT_SECRET must have at least 32 bytes")
    times = {"iat": (now := int(time.time())), "nbf": now, "exp": now + min(lifetime_s, MAX_LIFETIME_S)}
    whose = {} if agency_id is None else {"agency_id": str(agency_id)}
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "roles": sorted(roles), **whose, **times}
    return jwt.encode({**scope, **claims}, secret, algorithm=ALGORITHM)


def issue_service_token(secret: str, service: str) -> str:
    """The short token of an internal call from `service`."""
    return issue_token(secret, subject=f"service:{service}", agency_id=None, roles=[SERVICE_ROLE], lifetime_s=60)


def verify_token(secret: str, token: str) -> Caller:
    """The caller a token speaks for; raises `InvalidToken` saying why."""
    caller = _signed(secret, token)
    if float(str(caller.claims["exp"])) + LEEWAY_S <= time.time():
        raise InvalidToken("Signature has expired")
    return caller


# A bearer sends the same token again and again: its signature is checked once, its end every time.
@lru_cache(maxsize=4096)
def _signed(secret: str, token: str) -> Caller:
    try:
        claims = jwt.decode(
            token, secret, [ALGORITHM], {"require": REQUIRED}, issuer=ISSUER, audience=AUDIENCE, leeway=LEEWAY_S
        )
        agency = claims.get("agency_id")
        roles = claims.get("roles", [])
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise InvalidToken("roles must be a list of names")
        if claims["exp"] - claims["nbf"] > MAX_LIFETIME_S + LEEWAY_S:
            raise InvalidToken("tokens live at most 300 seconds")
        return Caller(str(claims["sub"]), UUID(agency) if agency is not None else None, frozenset(roles), claims)
    except jwt.PyJWTError as error:
        raise InvalidToken(str(error)) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidToken("a claim has the wrong form") from error
