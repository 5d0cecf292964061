"""The composition root: from names in the configuration to things that work.

The one place that knows which adapter serves which word. Everything expensive (boto3, SQLAlchemy,
the repository) is imported by the function that needs it, so that help and completion stay fast.
"""
