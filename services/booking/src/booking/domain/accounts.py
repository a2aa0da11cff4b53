"""Who may get in and how far: roles, grants, lock-out, and the refusals; pure. Called by service and repository."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from uuid import UUID

ADMIN = "admin"
MANAGER = "manager"
STAFF = "staff"
OWNER = "owner"
PLATFORM = "platform"

REACH: Mapping[str, frozenset[str]] = {
    ADMIN: frozenset({ADMIN, MANAGER, STAFF, OWNER}),
    MANAGER: frozenset({MANAGER, STAFF, OWNER}),
    STAFF: frozenset({STAFF}),
    OWNER: frozenset({OWNER}),
}
"""The roles of an agency, each with the roles whose rights it has and may therefore hand on."""

FREE_FAILURES = 5
FIRST_LOCK = timedelta(seconds=30)
LONGEST_LOCK = timedelta(hours=1)
FORGET_FAILURES_AFTER = timedelta(hours=24)
INVITATION_TTL = timedelta(hours=24)
PASSWORD_RESET_TTL = timedelta(hours=1)
REFRESH_TTL = timedelta(days=30)


class CredentialsRefused(Exception):
    """The credentials are wrong, expired or withdrawn."""


class LoginRefused(CredentialsRefused):
    """E-mail or password is wrong. An e-mail known to several agencies needs agency_id."""


class ApiKeyRefused(CredentialsRefused):
    """The API key is unknown, expired or revoked."""


class RefreshRefused(CredentialsRefused):
    """The refresh token is unknown, used, expired or revoked. Log in again."""


class LinkRefused(CredentialsRefused):
    """The link was used or replaced, has expired, or never was one. Ask for a new one."""


class LoginLocked(Exception):
    """Too many failed logins with this e-mail."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many failed logins with this e-mail. Try again in {retry_after_s} seconds.")
        self.retry_after_s = retry_after_s


class LoginsBusy(Exception):
    """Too many logins at once. Please retry."""


class NotAllowed(Exception):
    """The caller's role does not allow this."""


class ManagedByUsersOnly(NotAllowed):
    """API keys manage neither users nor keys: log in as a user."""


class GrantExceedsOwn(NotAllowed):
    """Nobody can hand on more than they have: the roles or properties go beyond the caller's own."""


class GrantUnfit(Exception):
    """These roles and properties do not go together."""


class EmailTaken(Exception):
    """The agency has a user with this e-mail."""


class EmailAmbiguous(Exception):
    """Several agencies have a user with this e-mail: name the agency."""


class LastAdmin(Exception):
    """An agency keeps at least one active admin."""


class AnswerUnreadable(Exception):
    """What this Idempotency-Key answered can no longer be shown. Use another key."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody may do: roles, and the only properties they may do it with (None is all of the agency's)."""

    roles: frozenset[str]
    property_ids: frozenset[UUID] | None = None

    @property
    def reach(self) -> frozenset[str]:
        """Every role whose rights these roles contain."""
        return reach_of(self.roles)

    def covers(self, other: "Grant") -> bool:
        """True when whoever has this may hand the other on."""
        within = self.property_ids is None or (
            other.property_ids is not None and other.property_ids <= self.property_ids
        )
        return within and other.roles <= self.reach


@dataclass(frozen=True, slots=True)
class Actor:
    """Who manages access; `user_id` is None for an operator's own token."""

    user_id: UUID | None
    grant: Grant


@dataclass(frozen=True, slots=True)
class User:
    """A person who logs in; `agency_id` is None for the platform's own. `accepted_at` is None while invited."""

    id: UUID
    agency_id: UUID | None
    email: str
    grant: Grant
    active: bool
    created_at: datetime
    updated_at: datetime
    accepted_at: datetime | None
    last_login_at: datetime | None

    @property
    def is_active_admin(self) -> bool:
        """True for one of those of whom an agency keeps one."""
        return self.active and ADMIN in self.grant.roles


@dataclass(frozen=True, slots=True)
class LoginCandidate:
    """What a password is compared with."""

    user_id: UUID
    agency_id: UUID | None
    password_hash: str


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is shown: never its secret."""

    id: UUID
    agency_id: UUID
    name: str
    prefix: str
    grant: Grant
    created_by: UUID | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key to store; `ttl` is how long it lives."""

    id: UUID
    agency_id: UUID
    name: str
    prefix: str
    secret_hash: bytes
    grant: Grant
    created_by: UUID | None
    ttl: timedelta


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as it is judged; `maker` is the user who made it, None for an operator's."""

    id: UUID
    agency_id: UUID
    secret_hash: bytes
    grant: Grant
    is_over: bool
    has_maker: bool
    maker_is_active: bool
    maker: Grant | None

    @property
    def effective(self) -> Grant | None:
        """What the key may do now: never more than its maker may now. None when nothing is left."""
        if self.is_over or (self.has_maker and not self.maker_is_active):
            return None
        return self.grant if self.maker is None else meet(self.grant, self.maker)


@dataclass(frozen=True, slots=True)
class TokenFamily:
    """A login and the hash of its one valid refresh token."""

    family_id: UUID
    user_id: UUID
    token_hash: bytes
    is_over: bool


@dataclass(frozen=True, slots=True)
class Attempts:
    """The failed logins with one e-mail since the last good one; an attempt counts as failed until it succeeds."""

    failures: int
    last_at: datetime | None
    locked_until: datetime | None


def reach_of(roles: Iterable[str]) -> frozenset[str]:
    """Every role whose rights are contained in these; unknown roles have none."""
    return frozenset[str]().union(*(REACH.get(role, frozenset()) for role in roles))


def check_fit(grant: Grant) -> None:
    """Raise `GrantUnfit` for roles and properties that do not go together."""
    if not grant.roles or not grant.roles <= REACH.keys():
        raise GrantUnfit(f"roles: one or more of {', '.join(REACH)}.")
    if OWNER in grant.roles and grant.property_ids is None:
        raise GrantUnfit("property_ids: an owner needs the properties that are theirs.")
    if ADMIN in grant.roles and grant.property_ids is not None:
        raise GrantUnfit("property_ids: an admin has all properties of the agency.")


def meet(grant: Grant, limit: Grant) -> Grant | None:
    """What is left of a grant within the limits of another; None when nothing is."""
    roles = grant.roles & limit.reach
    if grant.property_ids is None or limit.property_ids is None:
        scope = limit.property_ids if grant.property_ids is None else grant.property_ids
    else:
        scope = grant.property_ids & limit.property_ids
    is_empty = not roles or (scope is not None and not scope)
    return None if is_empty else Grant(roles, scope)


def admit(attempts: Attempts, now: datetime) -> Attempts:
    """The attempts with one more; raises `LoginLocked` while the e-mail is locked.

    Counted before the password is looked at, so that a hundred guesses at once are a hundred failures.
    """
    if attempts.locked_until is not None and attempts.locked_until > now:
        raise LoginLocked(ceil((attempts.locked_until - now).total_seconds()))
    is_old = attempts.last_at is None or attempts.last_at <= now - FORGET_FAILURES_AFTER
    failures = 1 if is_old else attempts.failures + 1
    return Attempts(failures, now, now + _lock(failures) if failures >= FREE_FAILURES else None)


def _lock(failures: int) -> timedelta:
    doublings = min(failures - FREE_FAILURES, 16)  # beyond is more than the longest lock anyway
    return min(FIRST_LOCK * (1 << doublings), LONGEST_LOCK)
