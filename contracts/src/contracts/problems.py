"""The one shape of every error answer: RFC 9457 problem details with a stable `code`; written by every HTTP service."""

from datetime import date
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

PROBLEM_MEDIA_TYPE = "application/problem+json"


class ProblemCode(StrEnum):
    """Stable machine-readable codes; clients branch on these, never on `title` or `detail`."""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    VALIDATION_ERROR = "validation_error"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    INVENTORY_OVERLAP = "inventory_overlap"
    STAY_RULES_VIOLATED = "stay_rules_violated"
    ILLEGAL_TRANSITION = "illegal_transition"
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    PRICE_CHANGED = "price_changed"
    ERASED = "erased"
    HOLD_NOT_ACTIVE = "hold_not_active"
    QUOTE_EXPIRED = "quote_expired"
    ALREADY_EXISTS = "already_exists"
    PROPERTY_IN_USE = "property_in_use"
    TOO_MANY_REQUESTS = "too_many_requests"
    SIGNATURE_INVALID = "signature_invalid"
    CHANNEL_MANAGER_DISABLED = "channel_manager_disabled"
    DEADLOCK = "deadlock"
    UNAVAILABLE = "unavailable"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    INTERNAL_ERROR = "internal_error"
    HTTP_ERROR = "http_error"


class ConflictingRange(BaseModel):
    """What already holds the nights: its kind and its nights inside the property, nothing about its guest."""

    kind: str
    start_date: date
    end_date: date


class FieldError(BaseModel):
    """One field of the request that was refused: `field` is a dotted path, `code` pydantic's error type."""

    field: str
    code: str
    message: str


class Violation(BaseModel):
    """One stay rule a request breaks: what was allowed (`limit`) and what was asked (`actual`)."""

    code: str
    date: date
    limit: Any = None
    actual: Any = None


class Problem(BaseModel):
    """RFC 9457 problem details. `trace_id` finds the request in logs and traces."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:pms:problem:inventory_overlap"])
    title: str
    status: int
    code: ProblemCode
    detail: str
    trace_id: str | None = None
    errors: list[FieldError] | None = None
    conflict: ConflictingRange | None = None
    violations: list[Violation] | None = None
    allowed: list[str] | None = None
