"""Messages as JSON and as query parameters, by the JSON mapping of protobuf."""
