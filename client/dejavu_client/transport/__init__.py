"""How calls reach workers: channels and their pool, retries, deadlines, streams that resume, figures of calls."""
