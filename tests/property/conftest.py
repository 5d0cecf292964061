"""Servers for the laws that hold on servers, too."""

from services.postgresql import postgresql  # noqa: F401 - a fixture
