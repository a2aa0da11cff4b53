"""HTTP requests and answers of access, served by booking and public through the gateway: logins, users, API keys."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, RootModel, StringConstraints, model_validator

from contracts.booking_http_v1 import Email
from contracts.values import AnswerModel, Flag, RequestModel, ShortText, Storable

MIN_PASSWORD, MAX_PASSWORD = 12, 200
MAX_SCOPED_PROPERTIES = 100
MAX_KEY_DAYS = 3650


Password = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_PASSWORD),
    Storable,
    Field(repr=False, json_schema_extra={"format": "password"}),
]
NewPassword = Annotated[
    str,
    StringConstraints(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD),
    Storable,
    Field(repr=False, json_schema_extra={"format": "password"}),
]
Secret = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[!-~]+$"), Field(repr=False)]
Role = Literal["admin", "manager", "staff", "owner"]
Roles = Annotated[list[Role], Field(min_length=1, max_length=4)]
PropertyIds = Annotated[list[UUID], Field(min_length=1, max_length=MAX_SCOPED_PROPERTIES)]


class PasswordGrant(RequestModel):
    """A user logs in. `agency_id` is needed when several agencies have a user with this e-mail."""

    grant: Literal["password"]
    email: Email
    password: Password
    agency_id: UUID | None = None


class ApiKeyGrant(RequestModel):
    """A program logs in."""

    grant: Literal["api_key"]
    api_key: Secret


class TokenRequest(RootModel[Annotated[PasswordGrant | ApiKeyGrant, Field(discriminator="grant")]]):
    """What is exchanged for a bearer token."""


class Tokens(AnswerModel):
    """A bearer token and, for users, the token that gets the next pair; it works once."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - its kind
    expires_in: int = Field(description="Seconds the access token lives.")
    refresh_token: str | None = None


class RefreshRequest(RequestModel):
    """Exchange a refresh token for the next pair, or end its login."""

    refresh_token: Secret


class AcceptLink(RequestModel):
    """Set a password with the token of an invitation or a password reset."""

    token: Secret
    password: NewPassword


class LinkAccepted(AnswerModel):
    """Whose password was set; `agency_id` belongs into the login of an e-mail known to several agencies."""

    user_id: UUID
    agency_id: UUID | None = None
    email: str


class UserCreate(RequestModel):
    """A new user; without `property_ids` all properties of the agency. An owner needs them, an admin has none."""

    email: Email
    roles: Roles
    property_ids: PropertyIds | None = None


class UserPatch(RequestModel):
    """What changes of a user; `property_ids: null` means all properties."""

    roles: Roles | None = None
    property_ids: PropertyIds | None = None
    active: Flag | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("at least one field is required")
        for name in ("roles", "active"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self


class User(AnswerModel):
    """A user; `accepted_at` is null until they set a password. `property_ids: null` is all properties."""

    id: UUID
    agency_id: UUID
    email: str
    roles: list[Role]
    property_ids: list[UUID] | None = None
    active: bool
    created_at: datetime
    updated_at: datetime
    accepted_at: datetime | None = None
    last_login_at: datetime | None = None


class UserCreated(User):
    """The answer of the creation alone: the token for `POST /auth/accept-link`, good once and for 24 hours."""

    invitation_token: str


class UserList(AnswerModel):
    """One page of users, newest first."""

    items: list[User]
    next_cursor: str | None = None


class ApiKeyCreate(RequestModel):
    """A new key: at most what its maker may do, now and whenever it is used."""

    name: ShortText
    roles: Roles
    property_ids: PropertyIds | None = None
    expires_in_days: Annotated[int, Field(strict=True, ge=1, le=MAX_KEY_DAYS)] = 365


class ApiKey(AnswerModel):
    """A key as stored; `prefix` is the part of it that is no secret. `last_used_at` is exact to a minute."""

    id: UUID
    agency_id: UUID
    name: str
    prefix: str
    roles: list[Role]
    property_ids: list[UUID] | None = None
    created_by: UUID | None = None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class ApiKeyCreated(ApiKey):
    """The answer of the creation alone: the whole key, shown this once."""

    api_key: str


class ApiKeyList(AnswerModel):
    """One page of keys, newest first."""

    items: list[ApiKey]
    next_cursor: str | None = None
