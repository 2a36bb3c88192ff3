"""Version 1 of the contract between our own programs."""
