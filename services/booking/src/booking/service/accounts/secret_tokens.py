"""The forms of the secrets handed out: API keys, refresh tokens, one-time links; and their hashes. Used beside it.

Each is 256 random bits, so that one round of SHA-256 is enough for storage.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from uuid import UUID

USER_SUBJECT = "user"
KEY_SUBJECT = "key"

_KEY = re.compile(r"pms_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_REFRESH = re.compile(r"pmsr_([0-9a-f]{32})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True, repr=False)
class KeySecret:
    """An API key's two parts: the prefix finds it, the secret proves it."""

    prefix: str
    secret: str

    def __str__(self) -> str:
        return f"pms_{self.prefix}_{self.secret}"


@dataclass(frozen=True, slots=True, repr=False)
class RefreshSecret:
    """A refresh token's two parts: its family, and the secret that is new with every rotation."""

    family_id: UUID
    secret: str

    def __str__(self) -> str:
        return f"pmsr_{self.family_id.hex}_{self.secret}"


def new_secret() -> str:
    """256 random bits, URL-safe."""
    return secrets.token_urlsafe(32)


def new_key() -> KeySecret:
    """A new API key."""
    return KeySecret(secrets.token_hex(6), new_secret())


def parse_key(text: str) -> KeySecret | None:
    """An API key as presented; None for what has not its form."""
    found = _KEY.fullmatch(text)
    return KeySecret(found[1], found[2]) if found else None


def parse_refresh(text: str) -> RefreshSecret | None:
    """A refresh token as presented; None for what has not its form."""
    found = _REFRESH.fullmatch(text)
    return RefreshSecret(UUID(found[1]), found[2]) if found else None


def digest(text: str) -> bytes:
    """What is stored of a secret: SHA-256."""
    return hashlib.sha256(text.encode()).digest()


def is_same(stored: bytes, secret: str) -> bool:
    """Whether a secret is the one whose hash was stored; takes the same time either way."""
    return hmac.compare_digest(stored, digest(secret))
