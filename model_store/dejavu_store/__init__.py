"""Bundles: read and written, verified, stored by version, and the registry of those that a server has loaded."""
