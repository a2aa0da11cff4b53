"""One realistic example per public model of channels; `examples` adds them to the others."""

from typing import Any

from pydantic import BaseModel

from contracts import channel_sync_http_v1 as channels

_PROPERTY_ID = "0192f1c4-5d3a-7c1e-9b60-3f6f2d1a7e01"
_CONNECTION_ID = "0192f1c6-21c8-7a44-b1e9-5d0f7a9b3c04"
_LISTING_ID = "0192f1c6-9e02-7d55-8c3b-2e6a1f4d5b05"
_LOG_ID = "0192f1c7-3344-7f66-9a2d-7b8c9d0e1f06"
_RESERVATION_ID = "0192f1ca-6677-7c99-ad50-0e1f2a3b4c09"
_TASK_ID = "0192f1cb-7788-7daa-be61-1f2a3b4c5d10"
_BATCH_ID = "0192f1cf-bbcc-7bee-82a5-5d6e7f809114"
_TIMES = {"created_at": "2026-03-02T09:30:00.000000Z", "updated_at": "2026-03-02T09:30:00.000000Z"}

_CONNECTION = {
    "id": _CONNECTION_ID,
    "name": "Example Travel",
    "adapter": "generic-json",
    "endpoint_url": "https://channel.example/availability",
    "settings": {},
    "enabled": True,
    "inbound_url": f"https://pms.example/api/v1/inbound/{_CONNECTION_ID}",
    **_TIMES,
}
_LISTING_CREATE = {"property_id": _PROPERTY_ID, "ota_listing_id": "EX-4711", "markup_percent": "12.50", "min_stay": 3}
_LISTING = {
    "id": _LISTING_ID,
    "connection_id": _CONNECTION_ID,
    **_LISTING_CREATE,
    "dirty": False,
    "pushed_version": 2,
    "markup_percent": "12.50",
    "close_out": False,
    "min_stay": 3,
    "created_at": _TIMES["created_at"],
}
_OPERATION = {
    "log_id": _LOG_ID,
    "connection_id": _CONNECTION_ID,
    "listing_id": _LISTING_ID,
    "batch_id": _BATCH_ID,
    "task_id": _TASK_ID,
    "operation_type": "availability_update",
    "direction": "outbound",
    "status": "success",
    "attempt": 1,
    "inventory_version": 2,
    "payload_digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "staleness_ms": 180,
    "duration_ms": 41,
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    **_TIMES,
}
_REVISION = {
    "revision_id": "rev-1",
    "published_at": "2026-03-02T09:59:58Z",
    "status": "new",
    "ota_name": "Example Travel",
    "ota_reservation_code": "EX-R-1001",
    "ota_listing_id": "EX-4711",
    "check_in": "2026-07-08",
    "check_out": "2026-07-12",
    "occupancy": {"adults": 2},
    "guest": {"name": "Grace Example", "email": "grace@example.com"},
    "total_amount_minor": 64000,
    "currency": "EUR",
}
_INBOUND_REVISION = {
    "log_id": _LOG_ID,
    "connection_id": _CONNECTION_ID,
    "revision_id": "rev-1",
    "ota_reservation_code": "EX-R-1001",
    "revision_no": 1,
    "state": "applied",
    "reservation_id": _RESERVATION_ID,
    "received_at": "2026-03-02T10:00:00.000000Z",
    "settled_at": "2026-03-02T10:00:00.040000Z",
}
_BATCH = {
    "batch_id": _BATCH_ID,
    "connection_id": _CONNECTION_ID,
    "sync_type": "availability",
    "batch_status": "success",
    **_TIMES,
}
_STALENESS = {
    "listings": [
        {
            "listing_id": _LISTING_ID,
            "property_id": _PROPERTY_ID,
            "ota_listing_id": "EX-4711",
            "stale_since": "2026-03-02T09:30:00.000000Z",
            "age_ms": 4200,
            "attempts": 3,
            "error": "the channel answered 503",
        }
    ],
    "told": 118,
    "p50_ms": 160.5,
    "p99_ms": 940.0,
    "histogram": [{"up_to_ms": 1000, "count": 117}, {"count": 1}],
}


CHANNEL_EXAMPLES: dict[type[BaseModel], dict[str, Any]] = {
    channels.ConnectionCreate: {
        "name": "Example Travel",
        "adapter": "generic-json",
        "endpoint_url": "https://channel.example/availability",
    },
    channels.ConnectionCreated: {**_CONNECTION, "secret": "shown-once-in-this-answer-alone"},
    channels.Connection: _CONNECTION,
    channels.ConnectionList: {"items": [_CONNECTION]},
    channels.ListingCreate: _LISTING_CREATE,
    channels.Listing: _LISTING,
    channels.ListingList: {"items": [_LISTING]},
    channels.SyncOperationList: {"items": [_OPERATION], "total": 1},
    channels.GenericJsonRevision: _REVISION,
    channels.RevisionAccepted: {"revision_id": "rev-1", "log_id": _LOG_ID},
    channels.InboundRevisionList: {"items": [_INBOUND_REVISION]},
    channels.ConnectionUpdate: {"enabled": False},
    channels.ConnectionTested: {"ok": False, "status": 401, "error": "the channel answered 401", "duration_ms": 84},
    channels.ListingUpdate: {"markup_percent": "10.00", "close_out": False},
    channels.RevisionReprocessed: {"log_id": _LOG_ID},
    channels.SyncRequest: {"sync_type": "availability"},
    channels.SyncStarted: {"batch_id": _BATCH_ID, "task_ids": [_TASK_ID]},
    channels.SyncOperation: _OPERATION,
    channels.SyncBatchList: {"items": [_BATCH], "total": 1, "limit": 50, "offset": 0},
    channels.SyncBatchDetails: {**_BATCH, "operations": [_OPERATION]},
    channels.BatchesPurged: {"batches": 12, "operations": 40, "dry_run": True},
    channels.Staleness: _STALENESS,
}

CALENDAR_EXAMPLE = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//PMS//Closed nights//EN
CALSCALE:GREGORIAN
METHOD:PUBLISH
BEGIN:VEVENT
SUMMARY:Not available
DTSTART;VALUE=DATE:20270601
DTEND;VALUE=DATE:20270604
DTSTAMP:20270501T120000Z
UID:2f1a9a52-8f5c-5d0f-9b37-1c7f5a2f6a10@export.pms.invalid
TRANSP:OPAQUE
END:VEVENT
END:VCALENDAR
"""
