"""The page's gateway: serves the answers of a Dejavu server to browsers over HTTP.

It is a client of the server like any other, in a process of its own: the program `dejavu-dashboard` (extra
`dashboard`).
"""
