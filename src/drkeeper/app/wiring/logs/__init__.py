"""What the daemon writes about itself: one event a line, bounded, without secrets.

``redacting`` is for everybody and needs nothing but the standard library; ``setup`` imports
structlog, and only the daemon imports ``setup``.
"""
