"""The situations in which booking refuses; the docstring is the message, `main` chooses the HTTP answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from rules.stay_rules import RuleViolation


@dataclass(frozen=True, slots=True)
class Competitor:
    """What already holds the nights: kind and stay, nothing about its guest."""

    kind: str
    start_date: date
    end_date: date


class DatesUnavailable(Exception):
    """The nights are not available."""

    def __init__(self, competitor: Competitor) -> None:
        super().__init__(
            f"The nights overlap a {competitor.kind} from {competitor.start_date} to {competitor.end_date}."
        )
        self.competitor = competitor


class StayRulesViolated(Exception):
    """The stay breaks rules of the property."""

    def __init__(self, violations: Sequence[RuleViolation]) -> None:
        super().__init__("The stay breaks rules of the property: " + ", ".join(v.code for v in violations) + ".")
        self.violations = tuple(violations)


class IllegalTransition(Exception):
    """The reservation cannot change like this from its current status."""

    def __init__(self, action: str, status: str, allowed: Sequence[str]) -> None:
        super().__init__(f"A reservation that is {status} cannot {action}.")
        self.allowed = tuple(allowed)


class InvalidStay(Exception):
    """A stay has 1 to 730 nights."""


class TermsRefused(Exception):
    """The stay rules or rates cannot be stored as they are."""


class PriceChanged(Exception):
    """The stay has another price than expected."""

    def __init__(self, total_minor: int | None, currency: str) -> None:
        price = "has no price" if total_minor is None else f"costs {total_minor} in minor units of {currency}"
        super().__init__(f"The stay {price}, which is not what was expected.")
        self.total_minor = total_minor


class HoldNotActive(Exception):
    """The hold is over: its nights are no longer kept."""

    def __init__(self, state: str) -> None:
        super().__init__(f"The hold is {state}: its nights are no longer kept.")


class QuoteExpired(Exception):
    """The quote has run out: ask for a new one."""


class QuoteMismatch(Exception):
    """A quote or the hold it names is of another stay; `field` is the one of the request that names it."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"body.{field}: {why}")
        self.field = f"body.{field}"
        self.why = why


class TooManyQuotes(Exception):
    """The property has as many quotes as it can have at a time. Quotes run out within minutes."""


class PropertyInUse(Exception):
    """The property cannot be deleted: nights of it are still taken, or asked for."""

    def __init__(self, competitor: Competitor) -> None:
        super().__init__(
            f"The property has a {competitor.kind} from {competitor.start_date} to {competitor.end_date}, "
            "which must end first."
        )
        self.competitor = competitor


class NotFound(Exception):
    """There is no such record in this agency."""

    def __init__(self, what: str) -> None:
        super().__init__(f"There is no such {what}.")


class RulesMoved(Exception):
    """Stay rules or prices changed while the request was judged."""


class HoldsOverdue(Exception):
    """Overdue holds of the property must be expired first."""


class ConflictClosed(Exception):
    """The conflict is settled already."""


class GuestExists(Exception):
    """The agency has a guest with this e-mail."""


class AnswerErased(Exception):
    """What this Idempotency-Key was answered with belonged to a guest who was erased."""


class GuestAppeared(Exception):
    """A guest with this e-mail was created meanwhile."""


class RangeMoved(Exception):
    """A range to release was released meanwhile."""


class KeyWonElsewhere(Exception):
    """A concurrent request with the same idempotency key was first."""
