"""The life of models in a worker: which are loaded, which of them answers, and how that changes."""
