"""Requests as bytes: what they consist of is seen before they are parsed."""
