"""Hands `python -m channel_sync` over to the command line every service has."""

from channel_sync.main import SERVICE
from runtime.cli import command_line

if __name__ == "__main__":
    command_line(SERVICE)()
