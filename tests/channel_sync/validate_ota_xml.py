"""Validates every message the OpenTravel XML adapter writes against a release of OpenTravel's schemas.

For those who have the schemas (docs/channels/ota-xml.md); `make test` has not and does not collect this file. Run it:
`OTA_SCHEMAS=<folder> python -m pytest tests/channel_sync/validate_ota_xml.py`.
"""

import os
from pathlib import Path

from lxml import etree

from channel_sync.adapters.ota_xml_parser import name_of, root_of
from tests.channel_sync.test_ota_xml_schema import messages


def test_every_message_we_write_validates_against_opentravels_schema() -> None:
    folder = Path(os.environ["OTA_SCHEMAS"])
    names = set()
    for body in messages():
        root = root_of(body)
        names.add(name_of(root))
        etree.XMLSchema(etree.parse(folder / f"{name_of(root)}.xsd")).assertValid(root)
    assert len(names) == 4
