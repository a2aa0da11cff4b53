"""Booking's use cases: one function, one transaction. Called by api, consumers and workers alike."""
