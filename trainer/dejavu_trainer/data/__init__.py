"""Games: read, imported, simulated, fetched from the NBA, and split by date."""
