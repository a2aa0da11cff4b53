"""Proves that Kafka's jars are what the lock says, and that a refused download says what to do."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.jars import MIRROR_VARIABLE, DownloadRefused, class_path
from deploy.local.ports import free_port


class Junk(http.server.BaseHTTPRequestHandler):
    """Answers everything with bytes that are no jar."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"junk")

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def junk_mirror() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Junk)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_refused_download_names_the_file_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(DownloadRefused) as refusal:
        class_path(tmp_path)
    text = str(refusal.value)
    assert "jar at.yawk.lz4:lz4-java:1.10.2 could not be downloaded" in text
    for advice in (MIRROR_VARIABLE, "HTTPS_PROXY", "KAFKA_BOOTSTRAP_SERVERS", "PMS_STACK=containers"):
        assert advice in text


def test_a_jar_with_other_bytes_than_locked_is_refused_and_not_kept(
    tmp_path: Path, junk_mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, junk_mirror)
    for _ in range(2):
        with pytest.raises(DownloadRefused, match=r"SHA-256 is .*, expected"):
            class_path(tmp_path)
    assert not list(tmp_path.glob("*.complete"))
    assert not list(tmp_path.rglob("lz4-java-*.jar"))


def test_a_jar_cut_off_by_an_interruption_is_not_taken_for_whole(
    tmp_path: Path, junk_mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, junk_mirror)
    cut = tmp_path / "maven/at/yawk/lz4/lz4-java/1.10.2/lz4-java-1.10.2.jar"
    cut.parent.mkdir(parents=True)
    cut.write_bytes(b"PK")
    with pytest.raises(DownloadRefused):
        class_path(tmp_path)
    assert not cut.exists()
