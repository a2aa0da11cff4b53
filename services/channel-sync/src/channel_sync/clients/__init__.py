"""HTTP to others: booking's internal routes, and channels anywhere; called by service."""
