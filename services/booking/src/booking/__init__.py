"""The booking service: owns the inventory ledger and everything that is sold from it."""
