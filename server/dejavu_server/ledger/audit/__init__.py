"""Proof that nothing was changed afterwards: hash chain, signed checkpoints, verification of a whole ledger."""
