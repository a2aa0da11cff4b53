"""Booking's own command line verbs; `main` gives `COMMANDS` to the runtime."""

from booking.commands.accounts import COMMANDS as ACCOUNT_COMMANDS
from booking.commands.guests import GUEST_COMMANDS
from booking.commands.ledger import LEDGER_COMMANDS

__all__ = ["COMMANDS"]

COMMANDS = (*ACCOUNT_COMMANDS, *LEDGER_COMMANDS, *GUEST_COMMANDS)
