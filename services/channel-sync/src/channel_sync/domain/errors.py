"""Owns the situations channel-sync refuses; raised by repository and service, turned into problems by main.

The docstring is the message a caller reads.
"""

from uuid import UUID


class ConnectionUnknown(Exception):
    """There is no such channel connection."""


class ListingUnknown(Exception):
    """There is no such listing."""


class AdapterUnknown(Exception):
    """There is no such adapter."""


class PropertyUnknown(Exception):
    """There is no such property."""


class ListingTaken(Exception):
    """This listing of the channel is mapped already."""


class BatchUnknown(Exception):
    """There is no such synchronisation."""


class OperationUnknown(Exception):
    """There is no such operation."""


class NothingToRetry(Exception):
    """This operation cannot be retried: its last attempt did not fail, or its listing is gone."""


class ChannelDisabled(Exception):
    """This connection is disabled: enable it before it is synchronised."""


class RevisionUnknown(Exception):
    """There is no such revision."""


class NothingToReprocess(Exception):
    """This revision waits for its listing: map it to a property first."""


class SignatureInvalid(Exception):
    """The signature, its timestamp or the connection is not valid."""


class RevisionTooLarge(Exception):
    """The revision is larger than 256 KiB."""


class FeedUnreadable(Exception):
    """The channel's feed cannot be read.

    `reason` says what was expected, never what was answered: that may name guests.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class UnparseableRevision(Exception):
    """The revision cannot be read.

    `field` is the dotted path of what is wrong, `code` a stable word for it, `reason` says what was expected, never
    what was sent: that may be a guest's. `log_id` names the stored bytes once there are any.
    """

    def __init__(self, field: str, code: str, reason: str, log_id: UUID | None = None) -> None:
        # PostgreSQL's text cannot hold NUL, and a field's name may come from the body.
        self.field, self.code, self.reason = (part.replace("\x00", "") for part in (field, code, reason))
        self.log_id = log_id
        super().__init__(f"{self.field}: {self.reason}")

    def stored_as(self, log_id: UUID) -> "UnparseableRevision":
        """The same situation, naming where the bytes are kept."""
        return UnparseableRevision(self.field, self.code, self.reason, log_id)


class CalendarUnknown(Exception):
    """There is no calendar at this address."""


class CalendarMapped(Exception):
    """A calendar is of one listing, and this connection has one already: make a connection for each calendar."""


class CalendarNotTold(Exception):
    """This channel reads our calendar when it likes: nothing can be sent to it."""
