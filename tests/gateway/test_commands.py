"""The command line of the gateway."""

from __future__ import annotations

import time
from uuid import UUID

import jwt
import pytest
from click.testing import CliRunner, Result

from gateway.main import SERVICE
from runtime.cli import command_line
from runtime.tokens import verify_token
from tests.gateway.conftest import SECRET

AGENCY = "0192f1c4-0000-7000-8000-000000000001"


def run(*arguments: str, secret: str | None = SECRET) -> Result:
    return CliRunner().invoke(command_line(SERVICE), arguments, env={"JWT_SECRET": secret})


def test_token_prints_a_five_minute_token_of_the_agency_with_its_roles() -> None:
    result = run("token", "--agency", AGENCY, "--roles", "manager, viewer")
    assert result.exit_code == 0
    printed = result.stdout.strip()
    caller = verify_token(SECRET, printed)
    assert (caller.agency_id, caller.roles) == (UUID(AGENCY), frozenset({"manager", "viewer"}))
    claims = jwt.decode(printed, options={"verify_signature": False})
    assert claims["exp"] - claims["nbf"] == 300
    assert abs(claims["nbf"] - time.time()) < 10


@pytest.mark.parametrize(
    ("arguments", "secret", "message"),
    [
        (("--agency", "nope"), SECRET, "'nope' is not a valid UUID"),
        ((), SECRET, "--agency"),
        (("--agency", AGENCY), None, "JWT_SECRET"),
        (("--agency", AGENCY), "too-short", "at least 32 bytes"),
    ],
    ids=["agency is no UUID", "agency missing", "secret missing", "secret too short"],
)
def test_token_refuses_with_2_and_says_why(arguments: tuple[str, ...], secret: str | None, message: str) -> None:
    result = run("token", *arguments, secret=secret)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not result.stdout


@pytest.mark.parametrize("secret", [None, "", "0123456789012345678901234567890"])
def test_serving_with_a_missing_or_short_secret_refuses_to_start(
    secret: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BOOKING_URL", "AVAILABILITY_URL", "CHANNEL_SYNC_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    result = run("serve", secret=secret)
    assert result.exit_code == 2
    assert "JWT_SECRET" in result.stderr


def test_serving_without_addresses_names_every_missing_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BOOKING_URL", "AVAILABILITY_URL", "CHANNEL_SYNC_URL"):
        monkeypatch.delenv(name, raising=False)
    result = run("serve")
    assert result.exit_code == 2
    for name in ("BOOKING_URL", "AVAILABILITY_URL", "CHANNEL_SYNC_URL"):
        assert name in result.stderr
