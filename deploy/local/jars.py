"""Owns the download of Kafka's and Kafka Connect's jars: pinned by locks, kept in one cache; called by the stack."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from jgo.maven import MavenContext, PythonResolver
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

MIRROR_VARIABLE = "PMS_MAVEN_MIRROR"
AT_ONCE = 4
TIMEOUT_S = 60
# The `!` says "this version, whatever its dependency management wants": without it log4j's drags kafka-clients down to
# 3.8 and the broker dies with NoSuchMethodError.
LOG4J = ("org.apache.logging.log4j:log4j-slf4j-impl:2.24.3!", "org.apache.logging.log4j:log4j-core:2.24.3!")


@dataclass(frozen=True)
class JarSet:
    """What one program needs on its class path: asked for by `coordinates`, written down whole in `lock`."""

    name: str
    lock: Path
    coordinates: tuple[str, ...]


KAFKA = JarSet("Kafka", Path(__file__).with_name("kafka_jars.lock"), ("org.apache.kafka:kafka_2.13:4.3.1", *LOG4J))
CONNECT_FILE = "org.apache.kafka:connect-file:4.3.1"
CONNECT = JarSet(
    "Kafka Connect",
    Path(__file__).with_name("connect_jars.lock"),
    ("org.apache.kafka:connect-runtime:4.3.1!", f"{CONNECT_FILE}!", *LOG4J),
)


class DownloadRefused(Exception):
    """A file that the local stack needs could not be downloaded; the text says which, why, and what to do."""


def class_path(cache_dir: Path, jars: JarSet = KAFKA) -> str:
    """The class path of a set, downloading what is missing first (with a progress bar). Raises `DownloadRefused`.

    Safe for several processes at once: one downloads, the others wait.
    """
    wanted = [line.split() for line in jars.lock.read_text().splitlines() if line and not line.startswith("#")]
    cache_dir.mkdir(parents=True, exist_ok=True)
    complete = cache_dir / f"{jars.lock.stem.removesuffix('_jars')}-{_sha256(jars.lock)[:16]}.complete"
    if not complete.exists():
        with (cache_dir / "download.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not complete.exists():
                _download(cache_dir, jars.name, wanted)
                complete.touch()
    context = _context(cache_dir)
    return os.pathsep.join(str(_path(context, coordinate)) for coordinate, _ in wanted)


def jar_path(cache_dir: Path, coordinate: str) -> Path:
    """Where the cache keeps one jar of a set that `class_path` has downloaded."""
    return _path(_context(cache_dir), coordinate)


def write_lock(cache_dir: Path, jars: JarSet = KAFKA) -> int:
    """Resolve a set anew and write its lock: one line per jar, `group:artifact:version sha256`. The number."""
    context = _context(cache_dir)
    inputs, transitive = context.resolver.resolve([context.create_dependency(text) for text in jars.coordinates])
    lines = []
    for dependency in [*inputs, *transitive]:
        component = dependency.artifact.component
        name = f"{component.groupId}:{component.artifactId}:{component.version}"
        lines.append(f"{name} {_sha256(dependency.artifact.resolve())}\n")
    jars.lock.write_text(f"# Written by `make lock`: the jars of {jars.name}'s class path.\n" + "".join(sorted(lines)))
    return len(lines)


def _context(cache_dir: Path, resolver: PythonResolver | None = None) -> MavenContext:
    mirror = os.environ.get(MIRROR_VARIABLE)
    return MavenContext(
        repo_cache=cache_dir / "maven",
        resolver=resolver or PythonResolver(),
        remote_repos={"mirror": mirror} if mirror else None,
        timeout=TIMEOUT_S,
    )


def _path(context: MavenContext, coordinate: str) -> Path:
    path = context.create_dependency(coordinate).artifact.cached_path
    assert path is not None  # a jar's coordinate always has a place in the cache
    return path


def _download(cache_dir: Path, name: str, wanted: list[list[str]]) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(f"{name} ({len(wanted)} jars, once)", total=0)

        @contextmanager
        def on_file(_name: str, size: int) -> Iterator[Callable[[int], None]]:
            progress.update(task, total=(progress.tasks[0].total or 0) + size)
            yield lambda count: progress.update(task, advance=count)

        context = _context(cache_dir, PythonResolver(progress_callback=on_file))
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            list(pool.map(lambda line: _fetch(context, *line), wanted))
        finally:
            pool.shutdown(cancel_futures=True)  # after a refusal or Ctrl-C: end with the files under way


def _fetch(context: MavenContext, coordinate: str, sha256: str) -> None:
    path = _path(context, coordinate)
    if path.exists() and _sha256(path) != sha256:
        path.unlink()  # cut off by an earlier interruption
    try:
        context.create_dependency(coordinate).artifact.resolve()
    except (requests.RequestException, RuntimeError) as error:
        raise DownloadRefused(_advice(coordinate, str(error))) from error
    if (found := _sha256(path)) != sha256:
        path.unlink()
        raise DownloadRefused(_advice(coordinate, f"its SHA-256 is {found}, expected {sha256}"))


def _advice(coordinate: str, reason: str) -> str:
    return (
        f"Kafka's jar {coordinate} could not be downloaded from Maven Central: {reason}\n"
        "What to do: check that this machine may reach Maven Central (HTTPS_PROXY and REQUESTS_CA_BUNDLE count),\n"
        f"or name a mirror of it in {MIRROR_VARIABLE}, or use a broker that you have: KAFKA_BOOTSTRAP_SERVERS and\n"
        "DATABASE_URL, or containers: PMS_STACK=containers. The next run goes on with what was downloaded."
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
