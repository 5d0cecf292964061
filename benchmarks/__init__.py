"""drkeeper measured beside its peers: the same data, the same machine, in turn."""
