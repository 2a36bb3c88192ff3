"""Converts messages to domain types and back; validates requests field by field."""
