"""Access control: TLS, tokens, scopes, and the caller of the current call."""
