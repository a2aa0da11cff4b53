"""The routes of access over HTTP: answers, refusals as problems, idempotency, and no secret in logs or tables."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
import structlog

from booking.domain.accounts import AnswerUnreadable
from booking.service.accounts import operator
from booking.service.accounts.deps import Seal
from runtime.idempotency import StoredAnswer
from runtime.tokens import verify_token
from tests.booking.accounts_scene import PASSWORD, SECRET, Answer, Scene, account_scene, operator_caller, token_of
from tests.booking.conftest import Ledger

pytestmark = pytest.mark.stack


@pytest_asyncio.fixture(loop_scope="session")
async def scene(ledger: Ledger) -> AsyncIterator[Scene]:
    """Accounts on the real database."""
    async with account_scene(ledger) as made:
        yield made


def assert_problem(answer: Answer, status: int, code: str) -> str:
    assert (answer.status, answer.body["code"]) == (status, code), answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    return str(answer.body["detail"])


async def log_in(scene: Scene, email: str, password: str = PASSWORD, agency: UUID | None = None) -> Answer:
    body: dict[str, Any] = {"grant": "password", "email": email, "password": password}
    if agency is not None:
        body["agency_id"] = str(agency)
    return await scene.call("POST", "/auth/token", body)


async def admin_token(scene: Scene, agency: UUID) -> str:
    user = await scene.member(agency, "admin")
    return str((await log_in(scene, user.email)).body["access_token"])


async def test_the_whole_way_from_an_invitation_to_a_revoked_key_leaves_no_secret_behind(scene: Scene) -> None:
    agency = await scene.agency()
    email, password = f"{uuid4().hex}@example.com", f"a password {uuid4().hex}"
    with structlog.testing.capture_logs() as logs:
        token = await admin_token(scene, agency)
        invited = await scene.call("POST", "/users", {"email": email, "roles": ["manager"]}, token=token, key="u")
        assert (invited.status, invited.headers["Cache-Control"]) == (201, "no-store")
        link = invited.body["invitation_token"]
        accepted = await scene.call("POST", "/auth/accept-link", {"token": link, "password": password})
        assert accepted.body == {"user_id": invited.body["id"], "agency_id": str(agency), "email": email}
        first = await log_in(scene, email, password)
        assert first.headers["Cache-Control"] == "no-store"
        assert {**first.body, "access_token": "", "refresh_token": ""} == {
            "access_token": "", "token_type": "Bearer", "expires_in": 300, "refresh_token": ""
        }  # fmt: skip
        next_pair = await scene.call("POST", "/auth/refresh", {"refresh_token": first.body["refresh_token"]})
        wanted = {"name": "importer", "roles": ["staff"], "expires_in_days": 7}
        bearer = next_pair.body["access_token"]
        made = await scene.call("POST", "/api-keys", wanted, token=bearer, key="k")
        assert (made.status, made.headers["Cache-Control"]) == (201, "no-store")
        secret = made.body["api_key"]
        by_key = await scene.call("POST", "/auth/token", {"grant": "api_key", "api_key": secret})
        assert by_key.status == 200
        assert "refresh_token" not in by_key.body
        assert verify_token(SECRET, by_key.body["access_token"]).roles == {"staff"}
        listed = await scene.call("GET", "/api-keys", token=bearer)
        assert [item["id"] for item in listed.body["items"]] == [made.body["id"]]
        assert secret not in listed.text
        revoked = await scene.call("DELETE", f"/api-keys/{made.body['id']}", token=bearer)
        assert revoked.body["revoked_at"] is not None
        assert_problem(
            await scene.call("POST", "/auth/token", {"grant": "api_key", "api_key": secret}), 401, "unauthenticated"
        )
        refresh = next_pair.body["refresh_token"]
        assert (await scene.call("POST", "/auth/logout", {"refresh_token": refresh})).status == 204
        gone = await scene.call("POST", "/auth/refresh", {"refresh_token": refresh})
        assert_problem(gone, 401, "unauthenticated")
    stored, said = await scene.dump(), repr(logs)
    assert email in stored
    assert email not in said
    assert len(logs) > 10
    for text in (password, link, secret, secret[17:], refresh, refresh[-43:], first.body["refresh_token"][-43:]):
        assert text not in stored
        assert text.encode().hex() not in stored
        assert text not in said
    for session in (first, next_pair, by_key):
        assert session.body["access_token"] not in stored + said


async def test_a_creating_request_sent_again_gets_the_same_bytes_and_makes_nothing(scene: Scene) -> None:
    agency = await scene.agency()
    token = token_of(operator_caller(agency, "admin"))
    for path, body in (
        ("/users", {"email": f"{uuid4().hex}@example.com", "roles": ["staff"]}),
        ("/api-keys", {"name": "importer", "roles": ["staff"]}),
    ):
        first, again = [await scene.call("POST", path, body, token=token, key=f"same{path}") for _ in range(2)]
        assert (first.status, again.status) == (201, 201)
        assert again.text == first.text
        assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
        other = await scene.call("POST", path, {**body, "roles": ["manager"]}, token=token, key=f"same{path}")
        assert_problem(other, 422, "idempotency_mismatch")
        assert len((await scene.call("GET", path, token=token)).body["items"]) == 1


def test_an_answer_sealed_under_another_secret_cannot_be_shown() -> None:
    sealed = Seal(SECRET).close(StoredAnswer(201, "the body"))
    assert "the body" not in sealed.body
    assert Seal(SECRET).open(sealed) == StoredAnswer(201, "the body")
    with pytest.raises(AnswerUnreadable):
        Seal(SECRET + "x").open(sealed)


async def test_a_locked_login_is_429_with_the_seconds_to_wait_and_alike_for_unknown_emails(scene: Scene) -> None:
    known = (await scene.member(await scene.agency(), "staff")).email
    told = []
    for email in (known, f"{uuid4().hex}@example.com"):
        refusals = [await log_in(scene, email, "wrong") for _ in range(5)]
        told.append([(answer.status, answer.body["code"], answer.body["detail"]) for answer in refusals])
        locked = await log_in(scene, email)
        assert_problem(locked, 429, "too_many_requests")
        assert 25 <= int(locked.headers["Retry-After"]) <= 30
    assert told[0] == told[1]
    assert {status for status, _, _ in told[0]} == {401}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"grant": "client_credentials"},
        {"grant": "password", "email": "a@b.c"},
        {"grant": "password", "email": "not an address", "password": "x"},
        {"grant": "password", "email": "a@b.c", "password": ""},
        {"grant": "password", "email": "a@b.c", "password": "x" * 201},
        {"grant": "password", "email": "a@b.c", "password": "\ud800"},
        {"grant": "password", "email": "a\ud800@b.c", "password": "x"},
        {"grant": "password", "email": "a\u0000@b.c", "password": "x"},
        {"grant": "password", "email": "a@b.c", "password": "x", "agency_id": "7"},
        {"grant": "password", "email": "a@b.c", "password": "x", "roles": ["admin"]},
        {"grant": "api_key", "api_key": ""},
        {"grant": "api_key", "api_key": "k" * 201},
        {"grant": "api_key", "api_key": "pms_\u0000"},
    ],
)
async def test_a_malformed_login_is_422_and_echoes_nothing(scene: Scene, body: dict[str, Any]) -> None:
    answer = await scene.call("POST", "/auth/token", body)
    assert_problem(answer, 422, "validation_error")
    assert "xxx" not in answer.text


@pytest.mark.parametrize("password", ["eleven char", "x" * 201])
async def test_a_new_password_has_12_to_200_characters(scene: Scene, password: str) -> None:
    link = await operator.invite_platform(scene.ledger.system.pool, f"{uuid4().hex}@example.com")
    answer = await scene.call("POST", "/auth/accept-link", {"token": link.token, "password": password})
    assert_problem(answer, 422, "validation_error")
    assert (await scene.call("POST", "/auth/accept-link", {"token": link.token, "password": "x" * 12})).status == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/users", {"email": "a@b.c", "roles": []}),
        ("/users", {"email": "a@b.c", "roles": ["platform"]}),
        ("/users", {"email": "a@b.c", "roles": ["owner"]}),
        ("/users", {"email": "a@b.c", "roles": ["staff"], "property_ids": []}),
        ("/users", {"email": "a@b.c", "roles": ["staff"], "property_ids": [str(UUID(int=n)) for n in range(101)]}),
        ("/users", {"email": "a@b.c", "roles": ["staff"], "agency_id": str(UUID(int=1))}),
        ("/users", {"email": "a@b.c", "roles": ["staff"], "accepted_at": "2027-01-01T00:00:00Z"}),
        ("/api-keys", {"name": "", "roles": ["staff"]}),
        ("/api-keys", {"name": "\ud800", "roles": ["staff"]}),
        ("/api-keys", {"name": "k", "roles": ["staff"], "expires_in_days": 0}),
        ("/api-keys", {"name": "k", "roles": ["staff"], "expires_in_days": 3651}),
        ("/api-keys", {"name": "k", "roles": ["staff"], "secret": "mine"}),
    ],
)
async def test_what_cannot_be_created_is_422_and_nothing_is_written(
    scene: Scene, path: str, body: dict[str, Any]
) -> None:
    token = token_of(operator_caller(await scene.agency(), "admin"))
    assert_problem(await scene.call("POST", path, body, token=token), 422, "validation_error")
    assert (await scene.call("GET", path, token=token)).body["items"] == []


async def test_a_patch_changes_what_it_names_and_nothing_else(scene: Scene) -> None:
    agency = await scene.agency()
    house = await scene.ledger.new_property(agency)
    user = await scene.member(agency, "staff", properties=[house])
    token = token_of(operator_caller(agency, "admin"))

    async def patch(body: Any) -> Answer:
        return await scene.call("PATCH", f"/users/{user.id}", body, token=token)

    changed = (await patch({"roles": ["manager", "manager"]})).body
    assert (changed["roles"], changed["property_ids"], changed["active"]) == (["manager"], [str(house)], True)
    changed = (await patch({"property_ids": None})).body
    assert (changed["roles"], changed["property_ids"], changed["active"]) == (["manager"], None, True)
    changed = (await patch({"active": False})).body
    assert (changed["roles"], changed["active"]) == (["manager"], False)
    assert (await scene.call("GET", f"/users/{user.id}", token=token)).body == changed
    for refused in ({}, {"roles": None}, {"active": None}, {"email": "new@example.com"}):
        assert_problem(await patch(refused), 422, "validation_error")


async def test_the_last_admin_stays_and_a_taken_email_is_said(scene: Scene) -> None:
    agency = await scene.agency()
    admin = await scene.member(agency, "admin")
    token = token_of(operator_caller(agency, "admin"))
    answer = await scene.call("PATCH", f"/users/{admin.id}", {"active": False}, token=token)
    assert_problem(answer, 409, "illegal_transition")
    assert (await scene.call("GET", f"/users/{admin.id}", token=token)).body["active"] is True
    taken = await scene.call("POST", "/users", {"email": admin.email, "roles": ["staff"]}, token=token)
    assert_problem(taken, 409, "already_exists")


async def test_foreign_and_missing_ids_get_the_same_404(scene: Scene) -> None:
    mine, theirs = await scene.agency(), await scene.agency()
    stranger = await scene.member(theirs, "admin")
    key = await scene.call(
        "POST", "/api-keys", {"name": "k", "roles": ["staff"]}, token=token_of(operator_caller(theirs, "admin"))
    )
    token = token_of(operator_caller(mine, "admin"))
    for method, path, body in (
        ("GET", "/users/{}", None), ("PATCH", "/users/{}", {"active": False}), ("DELETE", "/api-keys/{}", None),
    ):  # fmt: skip
        foreign = stranger.id if "users" in path else key.body["id"]
        told = [await scene.call(method, path.format(an_id), body, token=token) for an_id in (foreign, uuid4())]
        assert len({assert_problem(answer, 404, "not_found") for answer in told}) == 1


async def test_an_operators_token_for_an_agency_that_does_not_exist_is_404(scene: Scene) -> None:
    token = token_of(operator_caller(uuid4(), "admin"))
    for path, body in (
        ("/users", {"email": "a@b.c", "roles": ["staff"]}),
        ("/api-keys", {"name": "k", "roles": ["staff"]}),
    ):
        assert_problem(await scene.call("POST", path, body, token=token), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/users"), ("POST", "/users"), ("GET", f"/users/{UUID(int=1)}"), ("PATCH", f"/users/{UUID(int=1)}"),
        ("GET", "/api-keys"), ("POST", "/api-keys"), ("DELETE", f"/api-keys/{UUID(int=1)}"),
    ],
)  # fmt: skip
async def test_access_is_managed_with_a_token_and_the_role_only(scene: Scene, method: str, path: str) -> None:
    bodies: dict[tuple[str, str], Any] = {
        ("POST", "/users"): {"email": "a@b.c", "roles": ["staff"]},
        ("POST", "/api-keys"): {"name": "k", "roles": ["staff"]},
    }
    body = bodies.get((method, path), {"active": True} if method == "PATCH" else None)
    assert_problem(await scene.call(method, path, body), 401, "unauthenticated")
    staff = token_of(operator_caller(await scene.agency(), "staff"))
    assert_problem(await scene.call(method, path, body, token=staff), 403, "forbidden")


async def test_lists_go_on_where_the_page_before_ended(scene: Scene) -> None:
    agency = await scene.agency()
    made = [await scene.member(agency, "staff") for _ in range(3)]
    token = token_of(operator_caller(agency, "admin"))
    first = (await scene.call("GET", "/users?limit=2", token=token)).body
    rest = (await scene.call("GET", f"/users?limit=2&cursor={first['next_cursor']}", token=token)).body
    assert [item["id"] for item in first["items"] + rest["items"]] == [str(user.id) for user in reversed(made)]
    assert rest["next_cursor"] is None
