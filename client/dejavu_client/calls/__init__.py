"""Calls of the clients beyond forecasts and the record: of columns, of the cache, of leases and of models."""
