"""Hashing passwords with argon2id, off the event loop and only so many at a time; used by the logins beside it."""

import asyncio
import secrets
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from booking.domain.accounts import LoginsBusy

AT_ONCE = 2
"""One hash takes 64 MiB and, on one processor, about half a second."""
WAITING_AT_MOST = 32


class Passwords:
    """argon2id with the library's parameters (RFC 9106, second recommendation) unless another hasher is given.

    `at_once` hashes are made at a time; beyond `waiting_at_most` callers the next gets `LoginsBusy`.
    """

    def __init__(
        self,
        hasher: PasswordHasher | None = None,
        *,
        at_once: int = AT_ONCE,
        waiting_at_most: int = WAITING_AT_MOST,
    ) -> None:
        self._hasher = hasher or PasswordHasher()
        self._nobodys = self._hasher.hash(secrets.token_urlsafe(32))
        self._slots = asyncio.Semaphore(at_once)
        self._limit = at_once + waiting_at_most
        self._inside = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """A place for one caller's hashing; raises `LoginsBusy` when too many wait already."""
        if self._inside >= self._limit:
            raise LoginsBusy(LoginsBusy.__doc__)
        self._inside += 1
        try:
            async with self._slots:
                yield
        finally:
            self._inside -= 1

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether a password is the one stored; without one it takes as long, and is not. Call inside a `slot`."""
        is_right = await asyncio.to_thread(self._verify, stored or self._nobodys, _normal(password))
        return is_right and stored is not None

    async def hash(self, password: str) -> str:
        """What is stored of a password. Call inside a `slot`."""
        return await asyncio.to_thread(self._hasher.hash, _normal(password))

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False


def _normal(password: str) -> str:
    # Keyboards differ in how they compose the same character.
    return unicodedata.normalize("NFKC", password)
