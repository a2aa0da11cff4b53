"""Reads questions out of the query string, strictly, and refuses those that make no sense; used by the routes.

What cannot be meant is refused and named: a parameter nobody knows, one value given twice, a date that is none.
"""

import re
from collections.abc import Iterable
from datetime import date
from functools import cache
from typing import Annotated, Any, TypeVar, get_origin
from uuid import UUID

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ValidationError

from contracts.availability_http_v1 import MAX_DAYS
from contracts.generate import query_parameters
from contracts.problems import Problem
from contracts.values import CalendarDate

Model = TypeVar("Model", bound=BaseModel)

PROBLEMS: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in (401, 404, 422, 503)}
_MIN_VERSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:\d{1,19}", re.ASCII | re.IGNORECASE)
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _iso_date(value: Any) -> Any:
    """Only `YYYY-MM-DD`: pydantic would take a number of seconds, too."""
    if isinstance(value, str) and _ISO_DATE.fullmatch(value) is None:
        raise ValueError("must be a date such as 2031-05-01")
    return value


QueryDate = Annotated[CalendarDate, BeforeValidator(_iso_date)]


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI is told of a route whose query string is this model."""
    return {"parameters": query_parameters(model)}


def question_of(request: Request, model: type[Model]) -> Model:
    """The question in the query string; raises a 422 that names what is wrong with it."""
    lists, values = _lists(model), dict[str, Any]()
    for name, value in request.query_params.multi_items():
        if name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise refused(name, value, "must be given once")
        else:
            values[name] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = [{**found, "loc": ("query", *found["loc"])} for found in error.errors(include_url=False)]
        raise RequestValidationError(errors) from error


def require_window(
    first: date, end: date, names: tuple[str, str] = ("from_date", "to_date"), most_days: int = MAX_DAYS
) -> None:
    """Raises a 422 unless `end` lies after `first`, and not too far."""
    if end <= first:
        raise refused(names[1], end, f"must be after {names[0]}")
    if (end - first).days > most_days:
        raise refused(names[1], end, f"must be at most {most_days} days after {names[0]}")


def versions_of(texts: Iterable[str]) -> dict[UUID, int]:
    """What `property_id:version` says of each; raises a 422."""
    versions = {}
    for text in texts:
        name, _, number = text.partition(":")
        if _MIN_VERSION.fullmatch(text) is None or int(number) >= 2**63:
            raise refused("min_version", text, "must be a property's id and a version, such as <property_id>:17")
        versions[UUID(name)] = int(number)
    return versions


def refused(name: str, value: Any, message: str, where: str = "query") -> RequestValidationError:
    """A 422 that names one parameter."""
    return RequestValidationError([{"loc": (where, name), "type": "value_error", "msg": message, "input": value}])


@cache
def _lists(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(name for name, field in model.model_fields.items() if get_origin(field.annotation) is list)
