"""Owns what the use cases stand on: pools, clients, adapters, the cipher of secrets; made once by main."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.fernet import Fernet, MultiFernet

from channel_sync.adapters import Adapter
from channel_sync.clients.booking import BookingClient
from channel_sync.clients.channels import ChannelClient
from channel_sync.service.ledger_reads import LedgerReads
from runtime.postgres import Pool


class Cipher:
    """Encrypts what must not lie readable in the database; the keys are Fernet keys, the first one seals."""

    def __init__(self, keys: str) -> None:
        self._fernet = MultiFernet([Fernet(key.strip()) for key in keys.split(",")])

    def seal(self, text: str) -> bytes:
        """The text encrypted and authenticated; ASCII."""
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        """The text again; raises `cryptography.fernet.InvalidToken` when none of the keys sealed it."""
        return self._fernet.decrypt(sealed).decode()

    def rotate(self, sealed: bytes) -> bytes:
        """The same text sealed with the first key."""
        return self._fernet.rotate(sealed)


@dataclass(frozen=True, slots=True)
class PushLimits:
    """How pushes are bounded; times in seconds.

    `timeout_s` bounds a request to a channel, `lease_s` a whole push of up to `listings_at_once` listings; for
    `settle_s` after a request without an answer the channel may still act on it. What changes within `gather_s` after
    a push is told together; pushes that begin within `batch_window_s` are one batch. After `breaker_failures` calls in
    a row that found no working channel it is left alone for `breaker_s`. Feeds of revisions are read every
    `feed_poll_s`, calendars every `calendar_poll_s`; what a calendar does not show for `calendar_grace_s` is cancelled.
    """

    timeout_s: float
    settle_s: float
    lease_s: float
    gather_s: float
    listings_at_once: int
    breaker_failures: int
    breaker_s: float
    batch_window_s: float
    feed_poll_s: float
    calendar_poll_s: float
    calendar_grace_s: float


@dataclass(frozen=True, slots=True)
class Deps:
    """`pool` is the application role's, `system_pool` the system role's; the wake-ups are called after a commit."""

    pool: Pool
    system_pool: Pool
    cipher: Cipher
    booking: BookingClient
    reads: LedgerReads
    channels: ChannelClient
    adapters: Mapping[str, Adapter]
    partitions: int
    public_url: str
    process: str
    push: PushLimits
    wake_relay: Callable[[], None]
    wake_pusher: Callable[[], None]
