"""The part of the contract that is between our own programs."""
