"""`dejavu models`: a server's models, and the changes between them."""
