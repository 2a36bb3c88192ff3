"""The page's gateway: serves browsers over HTTP what a Dejavu server answers over gRPC.

A client of the server like any other, in a process of its own: the program `dejavu-dashboard` (extra `dashboard`).
"""
