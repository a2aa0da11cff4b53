"""Owns the signature of the generic JSON protocol, both directions; called by service and the adapter.

Hexadecimal HMAC-SHA256 with the connection's secret over `timestamp + "." + body`, the timestamp in unix seconds.
"""

import hashlib
import hmac
from datetime import datetime

WINDOW_S = 300
MAX_TIMESTAMP_DIGITS = 12


def signature_of(secret: str, timestamp: str, body: bytes) -> str:
    """The signature of a body, 64 hexadecimal digits."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def is_genuine(secret: str, timestamp: str, signature: str, body: bytes, now: datetime) -> bool:
    """Whether the body was signed with the secret at most five minutes before or after `now`.

    Both headers come from outside: any text is answered. The comparison takes the same time wherever they differ.
    """
    expected = signature_of(secret, timestamp, body)
    matches = hmac.compare_digest(expected.encode(), signature.strip().lower().encode("utf-8", "replace"))
    return matches and _is_recent(timestamp, now)


def _is_recent(timestamp: str, now: datetime) -> bool:
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= MAX_TIMESTAMP_DIGITS):
        return False
    return abs(now.timestamp() - int(timestamp)) <= WINDOW_S
