"""Where the contracts keep their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "contracts" / "examples"
SCHEMAS = ROOT / "contracts" / "schemas"


def read(path: Path) -> dict[str, Any]:
    """A JSON file as a dict."""
    document: dict[str, Any] = json.loads(path.read_text())
    return document
