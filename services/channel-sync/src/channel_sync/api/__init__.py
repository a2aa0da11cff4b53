"""HTTP in: parse, call one service function, choose the status; the router for `main`.

Routes carry no `/api/v1`: the gateway adds it.
"""

from fastapi import APIRouter, Depends

from channel_sync.api import batches, calendars, connections, revisions
from channel_sync.api.requests import deps_of

__all__ = ["router"]

router = APIRouter(tags=["channels"], dependencies=[Depends(deps_of)])
for part in (connections, batches, revisions, calendars):
    router.include_router(part.router)
