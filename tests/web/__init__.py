"""Tests of the page; a package, so that they share a browser."""
