"""The suite on one machine with a real PostgreSQL and Kafka; its modules are the library of `tests/conftest.py` too."""
