"""Reports: what a quarter has shown, computed from the ledger, and how it is shown.

One value is computed, :func:`drkeeper.reports.report.compute`, of what JSON can say; everything that is
rendered is rendered from that alone.
"""
