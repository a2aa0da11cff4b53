"""HTTP in: availability, calendars, searches and checks for agencies, digests for services; routers for `main`."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter

from availability.api import answers, search
from availability.api.answers import internal
from availability.service.reading import LedgerUnavailable, PropertyUnknown
from contracts.problems import ProblemCode
from rules.stay_rules import TimeZoneUnknown
from runtime.problems import ProblemError

__all__ = ["DOMAIN_ERRORS", "internal", "public"]

DOMAIN_ERRORS: Mapping[type[Exception], Callable[[Any], ProblemError]] = {
    PropertyUnknown: lambda error: ProblemError(404, ProblemCode.NOT_FOUND, str(error)),
    LedgerUnavailable: lambda error: ProblemError(503, ProblemCode.UNAVAILABLE, str(error)),
    TimeZoneUnknown: lambda error: ProblemError(503, ProblemCode.UNAVAILABLE, str(error)),
}

public = APIRouter()
public.include_router(answers.public)
public.include_router(search.public)
