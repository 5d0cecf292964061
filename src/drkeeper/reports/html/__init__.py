"""A report as one page of HTML: no script, no other file, readable on paper and on a telephone."""
