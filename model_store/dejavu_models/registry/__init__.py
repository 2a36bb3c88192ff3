"""Model bundles: loading, publishing, and the registry of loaded models."""
