"""What an entry of the ledger is: its canonical bytes, the rows that follow from it, and how an outcome settles it."""
