"""`python -m contracts [--check]`: writes `contracts/schemas`, or says whether it is current; run by `make`."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from contracts.compatibility import incompatibilities
from contracts.generate import ASYNCAPI_FILE, Document, asyncapi, may_widen, schemas

FOLDER = Path(__file__).parents[2] / "schemas"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when the files are written or current, 1 when they are not or a change was refused."""
    parser = argparse.ArgumentParser(prog="python -m contracts", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a file is not current")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the schemas are kept")
    options = parser.parse_args(arguments)
    documents = schemas()
    refused = _refused(options.folder, documents)
    if refused:
        print(
            "These changes break a v1 contract; make them a v2 on a new topic:", *refused, sep="\n  ", file=sys.stderr
        )
        return 1
    wanted = {name: _text(document) for name, document in {**documents, ASYNCAPI_FILE: asyncapi()}.items()}
    stale = {name: text for name, text in wanted.items() if not _is_current(options.folder / name, text)}
    if options.check:
        for name in stale:
            print(f"{name} is not current: run python -m contracts", file=sys.stderr)
        return 1 if stale else 0
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, text in stale.items():
        (options.folder / name).write_text(text)
        print(f"wrote {name}")
    return 0


def _refused(folder: Path, documents: Mapping[str, Document]) -> list[str]:
    found = []
    for path in sorted(folder.glob("*.json")):
        if path.name == ASYNCAPI_FILE:
            continue
        if path.name not in documents:
            found.append(f"{path.name}: no contract makes this file any more")
            continue
        old = json.loads(path.read_text())
        broken = incompatibilities(old, documents[path.name], may_widen=may_widen(path.name))
        found += [f"{path.name}: {sentence}" for sentence in broken]
    return found


def _is_current(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text


def _text(document: Document) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
