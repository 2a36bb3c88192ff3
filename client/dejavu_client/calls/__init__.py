"""Client calls other than forecasts and the record: columns, cache, leases and models."""
