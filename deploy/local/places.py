"""Owns where the local stack keeps its files and which system user runs PostgreSQL; called by the stack and the CLI."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RUN_DIR = REPOSITORY / ".run"
CACHE_DIR = REPOSITORY / ".cache"


def unprivileged_user() -> str | None:
    """The system user to run PostgreSQL as when we are root (PostgreSQL refuses root); None when we are not."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known), "daemon")


def can_enter(folder: Path, user: str | None) -> bool:
    """Whether that user can traverse to the folder: asked of the kernel, because modes alone do not tell."""
    if user is None:
        return True
    found = subprocess.run(
        ["/bin/sh", "-c", 'cd "$1" 2>/dev/null', "sh", str(folder)],
        user=user,
        group=pwd.getpwnam(user).pw_gid,
        extra_groups=[],
        cwd="/",
        check=False,
    )
    return found.returncode == 0


def outside() -> Path:
    """A state folder every user can traverse, for a checkout or cache that lies under a private home (0700).

    Only root needs it. /var/tmp survives a restart of the machine, which the data must; the folder is used only when it
    is ours, because anyone may create a name there.
    """
    folder = Path(f"/var/tmp/pms-suite-{os.geteuid()}")  # noqa: S108 - ownership is checked below
    folder.mkdir(mode=0o711, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another user: remove it, then start again.")
    folder.chmod(0o711)
    return folder


def postgres_folder(run_dir: Path, user: str | None) -> Path:
    """The folder for PostgreSQL's data, owned by `user`: inside the run folder, or `outside()` when unreachable."""
    run_dir.mkdir(parents=True, exist_ok=True)
    inside = run_dir / "postgres"
    folder = inside if can_enter(run_dir, user) else _outside_of(run_dir)
    folder.mkdir(mode=0o700, exist_ok=True)
    if user is not None:
        shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)
    return folder


def remove_run_dir(run_dir: Path) -> None:
    """Delete a run folder with everything in it and what it keeps outside."""
    shutil.rmtree(run_dir, ignore_errors=True)
    if os.geteuid() == 0:
        shutil.rmtree(_outside_of(run_dir), ignore_errors=True)


def _outside_of(run_dir: Path) -> Path:
    key = hashlib.sha256(str(run_dir.resolve()).encode()).hexdigest()[:16]
    return outside() / key
