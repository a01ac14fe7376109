"""The contract: what crosses Kafka, how it is named, how it can be wrong. Imports stdlib and pydantic only."""
