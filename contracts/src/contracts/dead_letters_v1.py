"""How a dead letter looks: the original bytes as value, its origin in the headers; written by any consumer.

The key is `<topic>/<partition>/<offset>` of the origin, so replicas that meet the same poison write the same key.
"""

from contracts.values import EventModel

HEADER_TOPIC = "dlq-origin-topic"
HEADER_PARTITION = "dlq-origin-partition"
HEADER_OFFSET = "dlq-origin-offset"
HEADER_KEY = "dlq-origin-key"
HEADER_ERROR = "dlq-error-class"
HEADER_REASON = "dlq-error-message"
HEADER_SERVICE = "dlq-service"
HEADER_FAILED_AT = "dlq-failed-at"
HEADER_TOMBSTONE = "dlq-origin-tombstone"


class DeadLetterOrigin(EventModel):
    """Where a dead letter came from and why it was put aside."""

    topic: str
    partition: int
    offset: int
    error_class: str
    error_message: str
    service: str
    failed_at: str


def dead_letter_key(topic: str, partition: int, offset: int) -> bytes:
    """Key of the dead letter of one record: the same whichever replica writes it."""
    return f"{topic}/{partition}/{offset}".encode()
