"""Hands `python -m deploy.local` over to the CLI."""

from deploy.local.cli import main

main(prog_name="python -m deploy.local")
