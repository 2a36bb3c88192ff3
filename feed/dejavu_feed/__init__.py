"""Feeds of NBA games. Does not depend on gRPC, numpy or other packages of the project."""
