"""Bundles: the folders that hold everything a forecast needs, and the ones that a process has loaded."""
