"""Messages to domain types and back; what a message may not say is refused here, field by field."""
