"""The use cases of accounts: log in, manage users and API keys, an operator's commands; called by api and commands."""
