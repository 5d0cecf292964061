"""One module a page: from what is known to what is shown; no file, socket or clock is touched."""
