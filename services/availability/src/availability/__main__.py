"""`python -m availability`: hands over to `runtime.cli`."""

from availability.main import SERVICE
from runtime.cli import command_line

if __name__ == "__main__":
    command_line(SERVICE)()
