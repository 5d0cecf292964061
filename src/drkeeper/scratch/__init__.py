"""Where a restore is proven: a place on disk, and programs run there that can do no harm."""
