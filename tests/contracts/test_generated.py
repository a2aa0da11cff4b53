"""The committed schemas are current, and `python -m contracts` refuses to break a v1."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from contracts.__main__ import main
from contracts.generate import ASYNCAPI_FILE, HTTP_MODULES, asyncapi, schemas
from contracts.topics import TOPICS
from tests.contracts.conftest import SCHEMAS, read

GENERATED = schemas()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copied = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, copied)
    return copied


def edit(path: Path, *keys: str, **values: Any) -> None:
    document = read(path)
    node = document
    for key in keys:
        node = node[key]
    node.update(values)
    path.write_text(json.dumps(document, indent=2) + "\n")


def test_the_committed_files_are_current() -> None:
    documents = {**GENERATED, ASYNCAPI_FILE: asyncapi()}
    assert {path.name for path in SCHEMAS.iterdir()} == set(documents)
    for name, document in documents.items():
        assert read(SCHEMAS / name) == document, f"{name}: run python -m contracts"


def test_there_is_a_schema_of_the_envelope_of_every_topic_with_events_and_of_every_http_module() -> None:
    expected = {"envelope.v1", "dead-letters.v1", *HTTP_MODULES, *(topic.name for topic in TOPICS if topic.events)}
    assert {name.removesuffix(".json") for name in GENERATED} == expected
    for document in GENERATED.values():
        Draft202012Validator.check_schema(document)


def test_check_passes_on_the_committed_files_as_a_command() -> None:
    done = subprocess.run([sys.executable, "-m", "contracts", "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_check_fails_on_a_stale_file_and_a_missing_one_and_changes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder / "envelope.v1.json", description="older words")
    (folder / ASYNCAPI_FILE).unlink()
    before = {path.name: path.read_text() for path in folder.iterdir()}
    assert main(["--check", "--folder", str(folder)]) == 1
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    said = capsys.readouterr().err
    assert "envelope.v1.json is not current" in said
    assert f"{ASYNCAPI_FILE} is not current" in said


def test_writing_makes_stale_files_current(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(folder / "envelope.v1.json", description="older words")
    assert main(["--folder", str(folder)]) == 0
    assert capsys.readouterr().out == "wrote envelope.v1.json\n"
    assert (folder / "envelope.v1.json").read_text() == (SCHEMAS / "envelope.v1.json").read_text()


def test_writing_into_an_empty_folder_writes_everything(tmp_path: Path) -> None:
    assert main(["--folder", str(tmp_path / "new")]) == 0
    for path in SCHEMAS.iterdir():
        assert (tmp_path / "new" / path.name).read_text() == path.read_text()


@pytest.mark.parametrize(
    ("file", "keys", "values", "sentence"),
    [
        # What was committed had a field more, so the models of today have lost it, and so on.
        (
            "booking.reservations.v1.json",
            ("$defs", "HoldPlaced", "properties"),
            {"lost": {"type": "string"}},
            "HoldPlaced.data: field lost was removed",
        ),
        (
            "booking.reservations.v1.json",
            ("$defs", "Watermark"),
            {"required": ["partition"]},
            "field database_time became required",
        ),
        (
            "channel-sync.reservations.v1.json",
            ("$defs", "ChannelGuest", "properties", "name"),
            {"maxLength": 300},
            "maxLength changed from 300 to 200",
        ),
        ("booking.http.v1.json", ("$defs", "Booking", "properties", "nights"), {"type": "string"}, "type changed"),
        ("envelope.v1.json", ("$defs", "Envelope", "properties"), {"lost": {}}, "field lost was removed"),
    ],
    ids=["field lost", "field became required", "bound narrowed", "type changed", "envelope changed"],
)
def test_an_incompatible_change_is_refused_and_nothing_is_written(
    file: str,
    keys: tuple[str, ...],
    values: dict[str, Any],
    sentence: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    edit(folder / file, *keys, **values)
    before = {path.name: path.read_text() for path in folder.iterdir()}
    for arguments in ([], ["--check"]):
        assert main([*arguments, "--folder", str(folder)]) == 1
        said = capsys.readouterr().err
        assert file in said
        assert sentence in said
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_a_contract_that_vanished_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "old.topic.v1.json").write_text((folder / "envelope.v1.json").read_text())
    assert main(["--folder", str(folder)]) == 1
    assert "old.topic.v1.json: no contract makes this file any more" in capsys.readouterr().err
