"""The contract: what crosses Kafka, how it is named, and how it can be wrong. Imports the standard library and pydantic only."""
