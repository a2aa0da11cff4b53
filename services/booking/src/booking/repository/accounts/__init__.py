"""The SQL of accounts, a module per group of tables; called by service."""
