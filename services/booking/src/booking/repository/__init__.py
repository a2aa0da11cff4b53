"""ALL the SQL of booking, one named function per statement; called by service. Import its modules, not this package."""
