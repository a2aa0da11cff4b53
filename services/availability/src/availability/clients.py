"""HTTP to booking: the state of one property and the digests of all; called by the service's answers and resync."""

from datetime import date
from types import TracebackType
from typing import Self
from urllib.parse import urlencode
from uuid import UUID

from pydantic import ValidationError

from contracts.booking_http_v1 import PropertyDigests, PropertyState
from runtime.http_client import Answer, HttpClient, UpstreamUnavailable
from runtime.tokens import issue_service_token

TIMEOUT_S = 2.0
# A page of digests is computed from the ledger: allow more than for one property.
PAGE_TIMEOUT_S = 15.0
PAGE = 250


class Booking:
    """Booking as this service sees it; every method raises `UpstreamUnavailable` when it gives no usable answer."""

    def __init__(self, base_url: str, jwt_secret: str) -> None:
        self._http = HttpClient(base_url, peer="booking", timeout_s=TIMEOUT_S)
        self._jwt_secret = jwt_secret

    async def __aenter__(self) -> Self:
        """Open the connections."""
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._http.__aexit__(exc_type, exc, tb)

    async def state(self, property_id: UUID, since: date | None = None) -> PropertyState | None:
        """The whole state of one property as the ledger has it now; None when there is no such property.

        With `since` also what was taken of it from that date on, and is long past.
        """
        query = urlencode({"since": since.isoformat()}) if since is not None else ""
        answer = await self._get(f"/internal/properties/{property_id}/state", query, TIMEOUT_S)
        if answer.status == 404:
            return None
        try:
            return PropertyState.model_validate_json(_required(answer))
        except ValidationError as error:
            raise UpstreamUnavailable("booking answered a state that cannot be read") from error

    async def digests(self, after: date, cursor: UUID | None) -> PropertyDigests:
        """A page of the digests of all properties beyond `cursor`, over their stored ranges that end after a date."""
        query = {"after": after.isoformat(), "limit": str(PAGE)} | ({"cursor": str(cursor)} if cursor else {})
        answer = await self._get("/internal/properties/digests", urlencode(query), PAGE_TIMEOUT_S)
        try:
            return PropertyDigests.model_validate_json(_required(answer))
        except ValidationError as error:
            raise UpstreamUnavailable("booking answered digests that cannot be read") from error

    async def _get(self, path: str, query: str, timeout_s: float) -> Answer:
        headers = {"authorization": f"Bearer {issue_service_token(self._jwt_secret, 'availability')}"}
        return await self._http.request("GET", path, query=query, headers=headers, timeout_s=timeout_s)


def _required(answer: Answer) -> bytes:
    if answer.status != 200:
        raise UpstreamUnavailable(f"booking answered {answer.status}")
    return answer.body
