"""The daemon: what runs when nobody looks."""
