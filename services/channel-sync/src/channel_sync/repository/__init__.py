"""Owns all the SQL of channel-sync, one named function per statement, a module per table; called by service.

Functions take the connection first. Those with an `agency_id` run under either role and filter by it; the others run as
the system role.
"""
