"""The steps from one shape of the ledger to the next; run by :mod:`drkeeper.ledger.schema`."""
