"""Distributions by the second before a horizon and in overtime, where whole minutes are too coarse."""
