"""Routes of how a property is sold: its profile's changes, stay rules, rates and fees, quotes."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from booking.api.answers import DepsOf, answer
from booking.domain.errors import PropertyInUse, QuoteExpired, QuoteMismatch, TooManyQuotes
from booking.domain.model import Property
from booking.domain.terms import DatedValue
from booking.events import bodies
from booking.events.selling import rates_body, stay_rules_body
from booking.service import quotes, selling
from booking.service.quotes import QuoteDraft
from contracts import booking_http_v1 as http
from contracts import booking_selling_http_v1 as selling_http
from contracts.problems import ProblemCode
from rules.quotes import Fees, LengthOfStayDiscount, Rates
from rules.stay_rules import StayRule, StayRules
from runtime.http import CallerOf, agency_of
from runtime.idempotency import idempotency_key
from runtime.problems import ProblemError, ToProblem

NULLABLE = frozenset({"location"})

SELLING_PROBLEMS: dict[type[Exception], ToProblem] = {
    QuoteExpired: lambda error: ProblemError(409, ProblemCode.QUOTE_EXPIRED, str(error)),
    QuoteMismatch: lambda error: ProblemError(
        422,
        ProblemCode.VALIDATION_ERROR,
        str(error),
        errors=[{"field": error.field, "code": "mismatch", "message": error.why}],
    ),
    TooManyQuotes: lambda error: ProblemError(
        429, ProblemCode.TOO_MANY_REQUESTS, str(error), headers={"Retry-After": "60"}
    ),
    PropertyInUse: lambda error: ProblemError(
        409,
        ProblemCode.PROPERTY_IN_USE,
        str(error),
        conflict={
            "kind": error.competitor.kind,
            "start_date": error.competitor.start_date,
            "end_date": error.competitor.end_date,
        },
    ),
}
"""The answers of what only these routes and the deletion of a property refuse."""


def add_selling_routes(router: APIRouter, deps: DepsOf) -> None:
    """Change a profile; read, replace and lay over rules and rates; quote."""
    _add_profile_and_quotes(router, deps)
    _add_stay_rules(router, deps)
    _add_rates(router, deps)


def _add_profile_and_quotes(router: APIRouter, deps: DepsOf) -> None:
    @router.patch("/properties/{property_id}", response_model=http.Property)
    async def modify_property(property_id: UUID, body: selling_http.PropertyPatch, caller: CallerOf) -> Response:
        owner = await selling.modify(deps.of(caller), agency_of(caller), property_id, _fields(body))
        return answer(bodies.property_body(owner))

    @router.post("/quotes", status_code=201, response_model=selling_http.Quote)
    async def create_quote(body: selling_http.QuoteCreate, request: Request, caller: CallerOf) -> Response:
        key = await idempotency_key(request, caller)
        return (await quotes.create(deps.of(caller), agency_of(caller), _quote_draft(body), key)).response()


def _add_stay_rules(router: APIRouter, deps: DepsOf) -> None:
    @router.get("/properties/{property_id}/stay-rules", response_model=selling_http.PropertyStayRules)
    async def get_stay_rules(property_id: UUID, caller: CallerOf) -> Response:
        return answer(stay_rules_body(*await selling.get(deps.of(caller), agency_of(caller), property_id)))

    @router.put("/properties/{property_id}/stay-rules", response_model=selling_http.PropertyStayRules)
    async def put_stay_rules(property_id: UUID, body: selling_http.StayRulesPut, caller: CallerOf) -> Response:
        rules = StayRules(_rule(body.default), {day: _rule(rule) for day, rule in body.weekday.items()})
        found = await selling.put_stay_rules(
            deps.of(caller), agency_of(caller), property_id, rules, [_dated_rule(item) for item in body.dated]
        )
        return answer(stay_rules_body(*found))

    @router.patch("/properties/{property_id}/stay-rules", response_model=selling_http.BulkResult)
    async def lay_stay_rules(property_id: UUID, body: selling_http.StayRulesPatch, caller: CallerOf) -> Response:
        items = [_dated_rule(item) for item in body.items]
        (owner, _), refusals = await selling.lay_stay_rules(deps.of(caller), agency_of(caller), property_id, items)
        return answer(_bulk_body(owner, refusals))


def _add_rates(router: APIRouter, deps: DepsOf) -> None:
    @router.get("/properties/{property_id}/rates", response_model=selling_http.PropertyRates)
    async def get_rates(property_id: UUID, caller: CallerOf) -> Response:
        return answer(rates_body(*await selling.get(deps.of(caller), agency_of(caller), property_id)))

    @router.put("/properties/{property_id}/rates", response_model=selling_http.PropertyRates)
    async def put_rates(property_id: UUID, body: selling_http.RatesPut, caller: CallerOf) -> Response:
        found = await selling.put_rates(
            deps.of(caller),
            agency_of(caller),
            property_id,
            Rates(body.default_minor, body.weekday_minor),
            _fees(body),
            [_dated_rate(item) for item in body.dated],
        )
        return answer(rates_body(*found))

    @router.patch("/properties/{property_id}/rates", response_model=selling_http.BulkResult)
    async def lay_rates(property_id: UUID, body: selling_http.RatesPatch, caller: CallerOf) -> Response:
        items = [_dated_rate(item) for item in body.items]
        (owner, _), refusals = await selling.lay_rates(deps.of(caller), agency_of(caller), property_id, items)
        return answer(_bulk_body(owner, refusals))


def _fields(body: selling_http.PropertyPatch) -> dict[str, Any]:
    fields = body.model_dump(exclude_unset=True)
    nulls = [name for name, value in fields.items() if value is None and name not in NULLABLE]
    if nulls:
        detail = f"{', '.join(f'body.{name}' for name in nulls)}: leave a field out to keep it"
        raise ProblemError(422, ProblemCode.VALIDATION_ERROR, detail)
    if "location" in fields:
        location = fields.pop("location") or {}
        fields |= {"latitude": location.get("latitude"), "longitude": location.get("longitude")}
    if "amenities" in fields:
        fields["amenities"] = tuple(fields["amenities"])
    return fields


def _quote_draft(body: selling_http.QuoteCreate) -> QuoteDraft:
    occupancy = body.occupancy
    return QuoteDraft(
        body.property_id,
        body.check_in,
        body.check_out,
        occupancy.adults,
        occupancy.children,
        occupancy.infants,
        body.hold_id,
    )


def _rule(fields: selling_http.StayRuleFields) -> StayRule:
    return StayRule(
        fields.min_stay_arrival,
        fields.min_stay_through,
        fields.max_stay,
        fields.closed_to_arrival,
        fields.closed_to_departure,
        fields.stop_sell,
    )


def _dated_rule(item: selling_http.DatedStayRuleFields) -> DatedValue:
    return DatedValue(item.start_date, item.end_date, _rule(item))


def _dated_rate(item: selling_http.DatedRateFields) -> DatedValue:
    return DatedValue(item.start_date, item.end_date, item.rate_minor)


def _fees(body: selling_http.RatesPut) -> Fees:
    return Fees(
        body.cleaning_fee_minor,
        body.extra_guest_fee_minor,
        body.included_guests,
        tuple(LengthOfStayDiscount(tier.min_nights, tier.basis_points) for tier in body.length_of_stay_discounts),
    )


def _bulk_body(owner: Property, refusals: Sequence[str | None]) -> dict[str, Any]:
    items: list[dict[str, Any]] = [
        {"index": index, "status": "applied"}
        if refusal is None
        else {"index": index, "status": "refused", "detail": refusal}
        for index, refusal in enumerate(refusals)
    ]
    return {"property_id": str(owner.id), "inventory_version": owner.inventory_version, "items": items}
