"""Backups that are restored, proven and measured."""

__version__ = "0.1.0"
