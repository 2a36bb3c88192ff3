"""Lifecycle of the models in a worker: loading, the choice of the answering model, and its changes."""
