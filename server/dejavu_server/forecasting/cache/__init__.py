"""Cache of what-ifs: answers that equal requests get again while nothing that determines them has changed."""
