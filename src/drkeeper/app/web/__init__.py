"""The listener: metrics, health, and a page to look at; read-only."""
