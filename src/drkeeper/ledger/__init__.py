"""The local record of runs and recovery points."""
