"""The front door: one public REST API that forwards to the services; no database, no Kafka, no decision of its own."""
