"""Files that have several names: their content is read once in a run."""

import os
from threading import Lock

from drkeeper.sources.files.reading import Reading, is_same


class Links:
    """Remembers readings of files with several names until the last name was seen."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._readings: dict[tuple[int, int], tuple[Reading, int]] = {}

    def find(self, status: os.stat_result) -> Reading | None:
        """Return what an earlier name of this file gave, if the file is still the same."""
        key = status.st_dev, status.st_ino
        with self._lock:
            reading, names_left = self._readings.get(key, (None, 0))
            if reading is None or not is_same(reading.status, status):
                return None
            if names_left > 1:
                self._readings[key] = reading, names_left - 1
            else:
                del self._readings[key]
            return reading

    def add(self, reading: Reading) -> None:
        """Remember a reading for the names that are still to come."""
        status = reading.status
        with self._lock:
            self._readings[status.st_dev, status.st_ino] = reading, status.st_nlink - 1
