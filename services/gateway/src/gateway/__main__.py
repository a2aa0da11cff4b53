"""Hands over to the command line of `runtime.cli`; run as `python -m gateway`."""

from gateway.main import SERVICE
from runtime.cli import command_line

if __name__ == "__main__":
    command_line(SERVICE)()
