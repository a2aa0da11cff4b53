"""Proves that an incomplete environment is refused naming each variable, and that no secret is told."""

from __future__ import annotations

import pytest

from runtime.settings import KafkaSettings, PostgresSettings, ServiceSettings, SettingsError, load

SHORT_SECRET = "tiny-secret-value"


class Everything(ServiceSettings, KafkaSettings, PostgresSettings):
    """What a service with a database and consumers needs."""


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Everything.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def complete(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    values = {
        "PORT": "8081",
        "JWT_SECRET": "x" * 32,
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
        "DATABASE_URL": "postgresql://app:hidden@127.0.0.1/pms",
        "SYSTEM_DATABASE_URL": "postgresql://system:hidden@127.0.0.1/pms",
        **changes,
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_a_complete_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    complete(monkeypatch)
    settings = load(Everything)
    assert (settings.host, settings.port, settings.kafka_partitions) == ("127.0.0.1", 8081, 6)
    assert settings.log_level == "INFO"


def test_every_missing_variable_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as refusal:
        load(Everything)
    for name in ("PORT", "JWT_SECRET", "KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "SYSTEM_DATABASE_URL"):
        assert f"\n  {name}: " in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_SECRET", SHORT_SECRET),
        ("JWT_SECRET", ""),
        ("PORT", "0"),
        ("PORT", "http"),
        ("KAFKA_PARTITIONS", "0"),
        ("DATABASE_POOL_SIZE", "0"),
    ],
)
def test_a_wrong_variable_is_the_only_one_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    complete(monkeypatch, **{name: value})
    with pytest.raises(SettingsError) as refusal:
        load(Everything)
    lines = str(refusal.value).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(f"  {name}: ")


def test_the_refusal_tells_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    complete(monkeypatch, JWT_SECRET=SHORT_SECRET)
    with pytest.raises(SettingsError) as refusal:
        load(Everything)
    assert SHORT_SECRET not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    complete(monkeypatch)
    assert "hidden" not in repr(load(Everything))
    assert "xxxx" not in repr(load(Everything))
