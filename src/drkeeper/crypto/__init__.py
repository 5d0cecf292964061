"""Sealing, key slots, signatures, digests: bytes in, bytes out, no I/O."""
