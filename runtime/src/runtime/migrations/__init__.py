"""The floor's own migrations, applied before those of the service."""
