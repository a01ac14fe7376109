"""Headrace: Kafka-based orchestration of LLM work. Import the parts as ``headrace.<folder>``."""

__version__ = "0.1.0"
