"""Use cases of availability: keep the cache, repair it from booking, answer from it."""
