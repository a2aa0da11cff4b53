"""Owns what the use cases stand on: pools, clients, adapters, the cipher of secrets; made once by main."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.fernet import Fernet

from channel_sync.adapters import Adapter
from channel_sync.clients import BookingClient, ChannelClient
from runtime.postgres import Pool


class Cipher:
    """Encrypts what must not lie readable in the database; the key is a Fernet key."""

    def __init__(self, key: str) -> None:
        self._fernet = Fernet(key)

    def seal(self, text: str) -> bytes:
        """The text encrypted and authenticated; ASCII."""
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        """The text again; raises `cryptography.fernet.InvalidToken` when another key sealed it."""
        return self._fernet.decrypt(sealed).decode()


@dataclass(frozen=True, slots=True)
class PushLimits:
    """Days pushed from a property's local today on; seconds a push and its outcome may take.

    `timeout_s` bounds a request to a channel, `lease_s` a whole push; for `settle_s` after a request without an answer
    the channel may still act on it.
    """

    horizon_days: int
    timeout_s: float
    settle_s: float
    lease_s: float


@dataclass(frozen=True, slots=True)
class Deps:
    """`pool` is the application role's, `system_pool` the system role's; the wake-ups are called after a commit."""

    pool: Pool
    system_pool: Pool
    cipher: Cipher
    booking: BookingClient
    channels: ChannelClient
    adapters: Mapping[str, Adapter]
    partitions: int
    public_url: str
    process: str
    push: PushLimits
    wake_relay: Callable[[], None]
    wake_pusher: Callable[[], None]
