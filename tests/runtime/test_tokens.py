"""Proves who a bearer token lets in: only the suite's own, short-lived, complete tokens."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from runtime.tokens import (
    AUDIENCE,
    ISSUER,
    Caller,
    InvalidToken,
    issue_service_token,
    issue_token,
    verify_token,
)

SECRET = "a-secret-of-the-runtime-tests-0123456789"
AGENCY = UUID("0192f1c4-0000-7000-8000-000000000001")


def signed(secret: str = SECRET, **changes: object) -> str:
    """A token like ours with some claims changed; None leaves a claim out."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "someone",
        "agency_id": str(AGENCY),
        "roles": ["manager"],
        "nbf": now,
        "exp": now + 60,
        **changes,
    }
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, secret, algorithm="HS256")


def test_an_issued_token_speaks_for_its_agency_and_roles() -> None:
    token = issue_token(SECRET, subject="someone", agency_id=AGENCY, roles=["b", "a"])
    assert verify_token(SECRET, token) == Caller("someone", AGENCY, frozenset({"a", "b"}))


def test_a_token_can_say_what_its_bearer_is_limited_to_and_nothing_about_who_they_are() -> None:
    token = issue_token(SECRET, subject="someone", agency_id=AGENCY, roles=["a"], region="north", sub="admin", exp=9e9)
    caller = verify_token(SECRET, token)
    assert (caller.subject, caller.claims["region"]) == ("someone", "north")


def test_a_service_token_names_its_service_and_no_agency() -> None:
    caller = verify_token(SECRET, issue_service_token(SECRET, "availability"))
    assert caller.subject == "service:availability"
    assert caller.agency_id is None
    assert caller.is_service


def test_a_token_of_an_agency_is_no_service_whatever_its_roles() -> None:
    token = issue_token(SECRET, subject="someone", agency_id=AGENCY, roles=["service"])
    assert not verify_token(SECRET, token).is_service


def now(seconds: int) -> int:
    """An instant that many seconds from now."""
    return int(time.time()) + seconds


REFUSED: dict[str, Callable[[], str]] = {
    "another secret": lambda: signed("another-secret-of-the-tests-0123456789"),
    "another audience": lambda: signed(aud="somebody-else"),
    "several audiences without ours": lambda: signed(aud=["a", "b"]),
    "another issuer": lambda: signed(iss="somebody-else"),
    "expired": lambda: signed(nbf=now(-60), exp=now(-30)),
    "not valid yet": lambda: signed(nbf=now(30), exp=now(60)),
    "lives longer than 300 s": lambda: signed(exp=now(400)),
    "lived longer than 300 s": lambda: signed(nbf=now(-600)),
    "an instant that is no number": lambda: signed(exp="tomorrow"),
    "an instant in a string": lambda: signed(exp=str(now(60))),
    "an agency that is no id": lambda: signed(agency_id="everyone"),
    "an agency that is a number": lambda: signed(agency_id=7),
    "roles that are no list": lambda: signed(roles="platform"),
    "roles that are no names": lambda: signed(roles=[1]),
    "no issuer": lambda: signed(iss=None),
    "no audience": lambda: signed(aud=None),
    "no subject": lambda: signed(sub=None),
    "no beginning": lambda: signed(nbf=None),
    "no end": lambda: signed(exp=None),
    "empty": lambda: "",
    "no token at all": lambda: "abc.def",
    "cut off": lambda: signed()[:-5],
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_token_is_refused(what: str) -> None:
    with pytest.raises(InvalidToken) as refusal:
        verify_token(SECRET, REFUSED[what]())
    assert str(refusal.value)


def test_the_token_the_refused_ones_differ_from_is_accepted() -> None:
    assert verify_token(SECRET, signed()) == Caller("someone", AGENCY, frozenset({"manager"}))


def test_an_unsigned_token_is_refused_though_its_claims_are_right() -> None:
    def part(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    claims = jwt.decode(signed(), options={"verify_signature": False})
    for algorithm in ("none", "None", "NONE"):
        with pytest.raises(InvalidToken):
            verify_token(SECRET, f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}.")


def test_a_token_signed_with_another_algorithm_is_refused() -> None:
    claims = jwt.decode(signed(), options={"verify_signature": False})
    token = jwt.encode(claims, SECRET * 2, algorithm="HS512")
    with pytest.raises(InvalidToken):
        verify_token(SECRET * 2, token)


def test_an_issued_token_lives_300_seconds_at_most_whatever_is_asked() -> None:
    token = issue_token(SECRET, subject="s", agency_id=uuid4(), roles=[], lifetime_s=86_400)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["nbf"] == 300
    verify_token(SECRET, token)


@pytest.mark.parametrize("secret", ["", "x" * 31])
def test_nothing_is_signed_with_a_short_secret(secret: str) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        issue_token(secret, subject="s", agency_id=AGENCY, roles=[])
