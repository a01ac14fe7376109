"""Agents with scoped tools over a document server of a hundred tools."""
