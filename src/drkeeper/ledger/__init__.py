"""The local record of runs and recovery points: a hash chain of events and its projections.

Importing this package costs nothing; :mod:`drkeeper.ledger.ledger` brings SQLAlchemy with it (0.2 s),
so the command line imports that module only when a ledger is opened.
"""
