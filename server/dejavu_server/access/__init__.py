"""Who may call what: TLS, tokens, scopes, and the caller of the current call."""
