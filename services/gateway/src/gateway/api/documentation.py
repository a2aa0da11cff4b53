"""The OpenAPI 3.1 document and its page, made from the route table; called by `api` while it adds the routes."""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from contracts.channel_sync_http_v1 import SIGNATURE_HEADER, TIMESTAMP_HEADER
from contracts.problems import Problem, ProblemCode
from gateway.api.channel_examples import CALENDAR_EXAMPLE
from gateway.api.examples import EXAMPLES
from gateway.api.problem_examples import problem_responses
from gateway.api.table import ROUTES, PublicRoute
from gateway.clients import CHANNEL_SYNC
from runtime.http import JSON, json_bytes
from runtime.idempotency import HEADER as IDEMPOTENCY_HEADER
from runtime.idempotency import MAX_KEY_LENGTH, REPLAYED_HEADER

TITLE = "PMS"
VERSION = "1.0.0"
OPENAPI_PATH = "/openapi.json"
DESCRIPTION = """The public API of the property-management suite.

Dates are half-open: `check_out` and `end_date` are the first free night. Money is integer minor units. Every write
answers `inventory_version`; hand it to `min_version` of a read and the answer is never older. Errors are RFC 9457
problems with a stable `code`. Send an `Idempotency-Key` with every POST that creates, and repeat it when you retry.
"""
# Swagger UI as a package ships it: the page works without a network, and runs no script of another host.
_ASSETS = Path(str(files("fastapi_offline"))) / "static"
_SCRIPT, _STYLE, _ICON = "swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"
_REF = "#/components/schemas/{model}"
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "Lives at most 5 minutes."},
    "channel": {
        "type": "apiKey",
        "in": "header",
        "name": SIGNATURE_HEADER,
        "description": f"Hexadecimal HMAC-SHA256 over `{TIMESTAMP_HEADER} + '.' + body` with the connection's secret.",
    },
}
_PATH_PARAMETER = re.compile(r"\{(\w+)\}")


def documentation_routes() -> APIRouter:
    """`/openapi.json`, and `/docs` with its files."""
    router = APIRouter(include_in_schema=False)

    @cache
    def document(app: FastAPI) -> bytes:
        return orjson.dumps(openapi_document(app))

    @router.get(OPENAPI_PATH)
    async def openapi(request: Request) -> Response:
        return json_bytes(document(request.app))

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=OPENAPI_PATH,
            title=TITLE,
            swagger_js_url=f"/docs/{_SCRIPT}",
            swagger_css_url=f"/docs/{_STYLE}",
            swagger_favicon_url=f"/docs/{_ICON}",
        )

    @router.get("/docs/{asset}")
    async def docs_asset(asset: str) -> FileResponse:
        if asset not in (_SCRIPT, _STYLE, _ICON):
            raise HTTPException(404, "There is no such file.")
        return FileResponse(_ASSETS / asset, headers={"Cache-Control": "public, max-age=86400"})

    return router


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The whole OpenAPI document of the gateway."""
    document = get_openapi(
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        routes=app.routes,
        separate_input_output_schemas=False,  # one schema per contract, so that those below have the same names
    )
    models = {route.body for route in ROUTES if route.body is not None} | {Problem}
    _, definitions = models_json_schema([(model, "validation") for model in _in_order(models)], ref_template=_REF)
    components = document.setdefault("components", {})
    components["schemas"] = dict(sorted({**components.get("schemas", {}), **definitions["$defs"]}.items()))
    components["securitySchemes"] = _SCHEMES
    return document


_TEXT = {"type": "string"}


def operation(route: PublicRoute) -> dict[str, Any]:
    """What FastAPI is told of a route: the arguments of `add_api_route` that only document."""
    extra: dict[str, Any] = {
        "security": [] if route.public else [{"channel": []}] if route.signed else [{"bearer": []}],
        "parameters": _parameters(route),
    }
    if route.body is not None:
        schema = {"$ref": _REF.format(model=route.body.__name__)}
        content = {JSON: {"schema": schema, "example": EXAMPLES[route.body]}}
        extra["requestBody"] = {"required": route.body_required, "content": content}
    return {
        "name": route.name,
        "operation_id": route.name,
        "summary": route.summary,
        "description": route.description,
        "tags": [route.tag],
        "status_code": route.status,
        "response_model": route.answer,
        "response_class": JSONResponse if route.answer is not None else Response,
        "responses": {**_answers(route), **problem_responses(_codes(route))},
        "openapi_extra": extra,
    }


def _answers(route: PublicRoute) -> dict[int | str, dict[str, Any]]:
    if route.answer is None:
        content = {route.text: {"schema": _TEXT, "example": CALENDAR_EXAMPLE}}
    else:
        content = {JSON: {"example": EXAMPLES[route.answer]}}
    answers: dict[int | str, dict[str, Any]] = {route.status: {"description": route.summary + ".", "content": content}}
    if route.creates:
        replayed = {"description": "`true` when this is the stored answer of an earlier request.", "schema": _TEXT}
        answers[route.status]["headers"] = {REPLAYED_HEADER: replayed}
    for status, description in route.also.items():
        answers[status] = {"description": description}
        if route.answer is not None:
            answers[status] |= {"model": route.answer, "content": content}
    return answers


def _parameters(route: PublicRoute) -> list[dict[str, Any]]:
    uuid = {"type": "string", "format": "uuid"}
    found = [_parameter(name, "path", uuid, True) for name in _PATH_PARAMETER.findall(route.path)]
    found += [_parameter(one.name, "query", one.schema, one.required, one.description) for one in route.query]
    if route.creates:
        key = {**_TEXT, "minLength": 1, "maxLength": MAX_KEY_LENGTH}
        text = "Names this request: a repeat with the same key and body gets the stored answer."
        found.append(_parameter(IDEMPOTENCY_HEADER, "header", key, False, text))
    if route.signed:
        found.append(_parameter(TIMESTAMP_HEADER, "header", {"type": "integer"}, True, "Unix seconds, as signed."))
    return found


def _parameter(name: str, place: str, schema: dict[str, Any], required: bool, description: str = "") -> dict[str, Any]:
    text = {"description": description} if description else {}
    return {"name": name, "in": place, "required": required, "schema": schema, **text}


def _codes(route: PublicRoute) -> list[ProblemCode]:
    """The problems of a route: its own, and those every route like it can answer."""
    codes = list(route.problems)
    if route.service == CHANNEL_SYNC:
        codes += [ProblemCode.CHANNEL_MANAGER_DISABLED]
    if not (route.signed or route.public):
        codes += [ProblemCode.UNAUTHENTICATED, ProblemCode.FORBIDDEN]
    if "{" in route.path:
        codes += [ProblemCode.NOT_FOUND, ProblemCode.VALIDATION_ERROR]
    if route.query:
        codes += [ProblemCode.VALIDATION_ERROR]
    if route.body is not None:
        codes += [ProblemCode.VALIDATION_ERROR, ProblemCode.PAYLOAD_TOO_LARGE, ProblemCode.HTTP_ERROR]
    if route.creates:
        codes += [
            ProblemCode.VALIDATION_ERROR,
            ProblemCode.IDEMPOTENCY_IN_PROGRESS,
            ProblemCode.IDEMPOTENCY_MISMATCH,
        ]
    codes += [ProblemCode.INTERNAL_ERROR, ProblemCode.UNAVAILABLE, ProblemCode.DEADLINE_EXCEEDED]
    return list(dict.fromkeys(codes))


def _in_order(models: set[type[BaseModel]]) -> Sequence[type[BaseModel]]:
    return sorted(models, key=lambda model: model.__name__)
