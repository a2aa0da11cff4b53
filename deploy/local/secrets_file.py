"""Owns the random secrets of one run folder, in a file only its user can read; called by provisioning and the specs."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from deploy.local.process_state import write_json

FILE = "secrets.json"
ROLES = tuple(
    f"{service}_{role}" for service in ("booking", "channel_sync") for role in ("owner", "app", "system")
)  # also the names of the database roles


@dataclass(frozen=True, repr=False)  # a failing test prints its arguments
class Secrets:
    """`jwt_secret`: 64 characters; `credentials_key`: a Fernet key; `role_passwords`: one per name in `ROLES`."""

    jwt_secret: str
    credentials_key: str
    postgres_password: str
    role_passwords: dict[str, str]


def load_secrets(run_dir: Path) -> Secrets:
    """The secrets of this run folder, made at the first call. They live and die with its data."""
    path = run_dir / FILE
    try:
        return Secrets(**json.loads(path.read_text()))
    except FileNotFoundError:
        made = Secrets(
            jwt_secret=secrets.token_hex(32),
            credentials_key=Fernet.generate_key().decode(),
            postgres_password=secrets.token_hex(24),
            role_passwords={role: secrets.token_hex(24) for role in ROLES},
        )
        write_json(path, asdict(made), mode=0o600)
        return made
