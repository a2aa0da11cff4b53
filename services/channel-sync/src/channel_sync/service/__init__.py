"""Owns the use cases of channel-sync, one function each, one transaction each; called by api, consumers and workers."""
