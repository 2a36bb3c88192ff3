"""Stores of bundles by version, in a folder or in storage that several servers share."""
