"""How work is spread over threads, and how it is told how far it is."""
