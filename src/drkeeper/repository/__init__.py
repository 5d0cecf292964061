"""One journal, one keyring, one object store."""
