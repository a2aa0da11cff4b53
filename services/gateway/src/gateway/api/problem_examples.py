"""What each problem code means to a caller of the public API, with an example; for the OpenAPI document alone."""

from collections import defaultdict
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from contracts.problems import PROBLEM_MEDIA_TYPE, ProblemCode

_TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
_FIELD_ERROR = {"field": "body.check_out", "code": "missing", "message": "Field required"}
_COMPETITOR = {"kind": "reservation", "start_date": "2026-07-03", "end_date": "2026-07-10"}
_VIOLATION = {"code": "max_occupancy", "date": "2026-07-03", "limit": 4, "actual": 6}

# code -> HTTP status, an example's detail, further members of the example
MEANINGS: dict[ProblemCode, tuple[int, str, dict[str, Any]]] = {
    ProblemCode.UNAUTHENTICATED: (401, "The bearer token was refused: Signature has expired.", {}),
    ProblemCode.SIGNATURE_INVALID: (401, "The signature does not match the body.", {}),
    ProblemCode.FORBIDDEN: (403, "This route needs a token of an agency.", {}),
    ProblemCode.NOT_FOUND: (404, "There is no such booking.", {}),
    ProblemCode.METHOD_NOT_ALLOWED: (405, "DELETE is not allowed here; allowed: GET.", {}),
    ProblemCode.HTTP_ERROR: (408, "The request's body did not arrive in time.", {}),
    ProblemCode.INVENTORY_OVERLAP: (409, "These nights are taken.", {"conflict": _COMPETITOR}),
    ProblemCode.ILLEGAL_TRANSITION: (409, "A declined reservation cannot be cancelled.", {"allowed": []}),
    ProblemCode.IDEMPOTENCY_IN_PROGRESS: (409, "A request with this Idempotency-Key is still being worked on.", {}),
    ProblemCode.PRICE_CHANGED: (
        409,
        "The stay costs 84000 in minor units of EUR, which is not what was expected.",
        {"total_amount_minor": 84_000},
    ),
    ProblemCode.HOLD_NOT_ACTIVE: (409, "The hold is expired: its nights are no longer kept.", {}),
    ProblemCode.QUOTE_EXPIRED: (409, "The quote has run out: ask for a new one.", {}),
    ProblemCode.ALREADY_EXISTS: (409, "This listing is mapped already.", {}),
    ProblemCode.PROPERTY_IN_USE: (
        409,
        "The property has a reservation from 2026-07-03 to 2026-07-10, which must end first.",
        {"conflict": _COMPETITOR},
    ),
    ProblemCode.ERASED: (410, "What this Idempotency-Key was answered with belonged to a guest who was erased.", {}),
    ProblemCode.PAYLOAD_TOO_LARGE: (413, "The body is larger than 65536 bytes.", {}),
    ProblemCode.VALIDATION_ERROR: (422, "body.check_out: Field required", {"errors": [_FIELD_ERROR]}),
    ProblemCode.STAY_RULES_VIOLATED: (422, "The stay breaks a rule of the property.", {"violations": [_VIOLATION]}),
    ProblemCode.IDEMPOTENCY_MISMATCH: (422, "This Idempotency-Key was used before with another request.", {}),
    ProblemCode.TOO_MANY_REQUESTS: (429, "Too many failed logins with this e-mail. Try again in 30 seconds.", {}),
    ProblemCode.INTERNAL_ERROR: (500, "Something went wrong here. The trace id finds it in our logs.", {}),
    ProblemCode.CHANNEL_MANAGER_DISABLED: (503, "The channel manager is switched off.", {}),
    ProblemCode.DEADLOCK: (503, "Database deadlock detected. Please retry your request.", {}),
    ProblemCode.UNAVAILABLE: (503, "booking cannot be reached. Please retry your request.", {}),
    ProblemCode.DEADLINE_EXCEEDED: (503, "booking did not answer in time; whether it took effect is unknown.", {}),
}


def problem_responses(codes: Iterable[ProblemCode]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` of these codes, by status, with an example per code."""
    examples: dict[int, dict[str, Any]] = defaultdict(dict)
    for code in codes:
        status, detail, extra = MEANINGS[code]
        problem = {
            "type": f"urn:pms:problem:{code}",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "code": code.value,
            "detail": detail,
            "trace_id": _TRACE_ID,
            **extra,
        }
        examples[status][code.value] = {"value": problem}
    return {status: _response(status, of_status) for status, of_status in sorted(examples.items())}


def _response(status: int, examples: dict[str, Any]) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    answer: dict[str, Any] = {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(f'`{code}`' for code in examples)}.",
        "content": {PROBLEM_MEDIA_TYPE: {"schema": schema, "examples": examples}},
    }
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        answer["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
    return answer
