"""The early look at a caller's token: spares the services requests that cannot succeed; called by `api`."""

from fastapi import Request

from runtime.http import bearer_token
from runtime.tokens import verify_token


def refuse_unverified(request: Request) -> None:
    """Raise `InvalidToken` (401) unless the request carries a bearer token the suite signed.

    Nothing else is decided here: the token travels on, and the service verifies it itself.
    """
    verify_token(request.app.state.jwt_secret, bearer_token(request))
