"""Port and adapters of channels: who is told, and how."""
