"""From the ledger to subscribers, and what keeps ledger and streams up."""
