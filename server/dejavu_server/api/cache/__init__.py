"""The cache of what-ifs: equal requests are answered without being computed again while their inputs are unchanged."""
