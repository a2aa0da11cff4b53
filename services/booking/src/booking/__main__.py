"""`python -m booking ...`: hands over to the command line of the runtime."""

from booking.main import SERVICE
from runtime.cli import command_line

command_line(SERVICE)()
