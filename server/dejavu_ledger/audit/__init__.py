"""Tamper evidence: the hash chain, signed checkpoints and verification of a whole ledger."""
