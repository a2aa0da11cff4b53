"""Owns HTTP in of our calendars: read by channels, at an address nobody guesses, without a token."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from channel_sync.api.requests import DepsOf
from channel_sync.service import calendar_showing

NOT_MODIFIED = 304
router = APIRouter()


@router.get("/ical/{token}", response_class=Response)
async def show_calendar(token: UUID, request: Request, deps: DepsOf) -> Response:
    """The closed nights of a listing as iCalendar; 304 for who has them already."""
    found = await calendar_showing.show_calendar(deps, token)
    headers = {"ETag": found.etag, "Cache-Control": "private, no-cache"}
    known = request.headers.get("If-None-Match", "")
    if found.etag in {tag.strip().removeprefix("W/") for tag in known.split(",")}:
        return Response(status_code=NOT_MODIFIED, headers=headers)
    return Response(found.body, media_type="text/calendar; charset=utf-8", headers=headers)
