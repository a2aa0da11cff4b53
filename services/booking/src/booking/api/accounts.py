"""Routes of access: logins, users, API keys; and how their refusals are answered. Mounted by `main`."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from booking.api.answers import DEFAULT_LIMIT, list_answer, page_of
from booking.domain.accounts import (
    AnswerUnreadable,
    ApiKey,
    CredentialsRefused,
    EmailTaken,
    Grant,
    GrantUnfit,
    LastAdmin,
    LoginLocked,
    LoginsBusy,
    NotAllowed,
    User,
)
from booking.service.accounts import keys, login, users
from booking.service.accounts.deps import AccessDeps
from booking.service.accounts.login import Session
from booking.service.accounts.users import UserChange
from contracts import accounts_http_v1 as http
from contracts.problems import ProblemCode
from runtime.http import CallerOf, agency_of, json_bytes
from runtime.idempotency import idempotency_key
from runtime.pages import Cursor, Limit
from runtime.problems import ProblemError, ToProblem
from runtime.tokens import MAX_LIFETIME_S

NOT_STORED = {"Cache-Control": "no-store"}


class AccessOf:
    """Holds what the routes stand on, which exists only while the application runs."""

    deps: AccessDeps


def account_routes(access: AccessOf) -> APIRouter:
    """All routes of access."""
    router = APIRouter()
    _add_login_routes(router, access)
    _add_user_routes(router, access)
    _add_key_routes(router, access)
    return router


def _add_login_routes(router: APIRouter, access: AccessOf) -> None:
    @router.post("/auth/token", response_model=http.Tokens)
    async def exchange(body: http.TokenRequest) -> Response:
        wanted = body.root
        if isinstance(wanted, http.ApiKeyGrant):
            return _tokens(await login.exchange_api_key(access.deps, wanted.api_key))
        return _tokens(await login.exchange_password(access.deps, wanted.email, wanted.password, wanted.agency_id))

    @router.post("/auth/refresh", response_model=http.Tokens)
    async def refresh(body: http.RefreshRequest) -> Response:
        return _tokens(await login.refresh(access.deps, body.refresh_token))

    @router.post("/auth/logout", status_code=204)
    async def log_out(body: http.RefreshRequest) -> Response:
        await login.log_out(access.deps, body.refresh_token)
        return Response(status_code=204)

    @router.post("/auth/accept-link", response_model=http.LinkAccepted)
    async def accept_link(body: http.AcceptLink) -> Response:
        user = await login.accept_link(access.deps, body.token, body.password)
        return _json(http.LinkAccepted(user_id=user.id, agency_id=user.agency_id, email=user.email))


def _add_user_routes(router: APIRouter, access: AccessOf) -> None:
    @router.post("/users", status_code=201, response_model=http.UserCreated)
    async def create_user(body: http.UserCreate, request: Request, caller: CallerOf) -> Response:
        def answer(user: User, token: str) -> str:
            return http.UserCreated(**_user(user), invitation_token=token).model_dump_json()

        key = await idempotency_key(request, caller)
        grant = _grant(body.roles, body.property_ids)
        made = await users.create(access.deps, caller, agency_of(caller), body.email, grant, key, answer)
        return _not_stored(made.response())

    @router.get("/users", response_model=http.UserList)
    async def list_users(caller: CallerOf, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
        found = await users.list_page(access.deps, caller, agency_of(caller), page_of(limit, cursor))
        return list_answer([http.User(**_user(user)).model_dump(mode="json") for user in found], limit, "created_at")

    @router.get("/users/{user_id}", response_model=http.User)
    async def get_user(user_id: UUID, caller: CallerOf) -> Response:
        return _json(http.User(**_user(await users.get(access.deps, caller, agency_of(caller), user_id))))

    @router.patch("/users/{user_id}", response_model=http.User)
    async def change_user(user_id: UUID, body: http.UserPatch, caller: CallerOf) -> Response:
        wanted = UserChange(
            roles=frozenset(body.roles) if body.roles is not None else None,
            sets_scope="property_ids" in body.model_fields_set,
            property_ids=frozenset(body.property_ids) if body.property_ids is not None else None,
            active=body.active,
        )
        changed = await users.change(access.deps, caller, agency_of(caller), user_id, wanted)
        return _json(http.User(**_user(changed)))


def _add_key_routes(router: APIRouter, access: AccessOf) -> None:
    @router.post("/api-keys", status_code=201, response_model=http.ApiKeyCreated)
    async def create_api_key(body: http.ApiKeyCreate, request: Request, caller: CallerOf) -> Response:
        def answer(made: ApiKey, secret: str) -> str:
            return http.ApiKeyCreated(**_key(made), api_key=secret).model_dump_json()

        key = await idempotency_key(request, caller)
        made = await keys.create(
            access.deps,
            caller,
            agency_of(caller),
            body.name,
            _grant(body.roles, body.property_ids),
            timedelta(days=body.expires_in_days),
            key,
            answer,
        )
        return _not_stored(made.response())

    @router.get("/api-keys", response_model=http.ApiKeyList)
    async def list_api_keys(caller: CallerOf, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
        found = await keys.list_page(access.deps, caller, agency_of(caller), page_of(limit, cursor))
        return list_answer([http.ApiKey(**_key(key)).model_dump(mode="json") for key in found], limit, "created_at")

    @router.delete("/api-keys/{key_id}", response_model=http.ApiKey)
    async def revoke_api_key(key_id: UUID, caller: CallerOf) -> Response:
        return _json(http.ApiKey(**_key(await keys.revoke(access.deps, caller, agency_of(caller), key_id))))


def _grant(roles: list[http.Role], property_ids: list[UUID] | None) -> Grant:
    return Grant(frozenset(roles), frozenset(property_ids) if property_ids is not None else None)


def _tokens(session: Session) -> Response:
    answer = http.Tokens(
        access_token=session.access_token, expires_in=MAX_LIFETIME_S, refresh_token=session.refresh_token
    )
    return json_bytes(answer.model_dump_json(exclude_none=True), headers=NOT_STORED)


def _json(answer: BaseModel) -> Response:
    return json_bytes(answer.model_dump_json())


def _not_stored(response: Response) -> Response:
    response.headers.update(NOT_STORED)
    return response


def _user(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "agency_id": user.agency_id,
        "email": user.email,
        **_granted(user.grant),
        "active": user.active,
        "created_at": user.created_at,
        "updated_at": user.updated_at,
        "accepted_at": user.accepted_at,
        "last_login_at": user.last_login_at,
    }


def _key(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "agency_id": key.agency_id,
        "name": key.name,
        "prefix": key.prefix,
        **_granted(key.grant),
        "created_by": key.created_by,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }


def _granted(grant: Grant) -> dict[str, Any]:
    scope = grant.property_ids
    return {"roles": sorted(grant.roles), "property_ids": sorted(scope) if scope is not None else None}


def _problem(status: int, code: ProblemCode) -> ToProblem:
    return lambda error: ProblemError(status, code, str(error))


def _locked(error: LoginLocked) -> ProblemError:
    headers = {"Retry-After": str(error.retry_after_s)}
    return ProblemError(429, ProblemCode.TOO_MANY_REQUESTS, str(error), headers=headers)


ACCOUNT_PROBLEMS: dict[type[Exception], ToProblem] = {
    CredentialsRefused: _problem(401, ProblemCode.UNAUTHENTICATED),
    NotAllowed: _problem(403, ProblemCode.FORBIDDEN),
    EmailTaken: _problem(409, ProblemCode.ALREADY_EXISTS),
    LastAdmin: _problem(409, ProblemCode.ILLEGAL_TRANSITION),
    AnswerUnreadable: _problem(422, ProblemCode.IDEMPOTENCY_MISMATCH),
    GrantUnfit: _problem(422, ProblemCode.VALIDATION_ERROR),
    LoginLocked: _locked,
    LoginsBusy: _problem(503, ProblemCode.UNAVAILABLE),
}
