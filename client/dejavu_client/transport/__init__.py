"""Transport of calls to workers: channel pool, deadlines, stream resumption, call statistics."""
