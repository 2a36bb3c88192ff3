"""From a request to a recorded forecast: batching, recording, and what outcomes teach the models."""
