"""A tree of files, read where it lies: the ``files`` source (docs/sources-files.md).

Whoever owns the tree may be hostile and may change it while it is read. So everything is reached
from an open directory by a single name that is never followed when it is a link, and what was
opened is compared with what was listed before anything is believed about it.
"""

from drkeeper.sources.files.source import FilesSource, FilesView
from drkeeper.sources.files.spec import FilesSpec
from drkeeper.sources.files.tally import Tally

__all__ = ["FilesSource", "FilesSpec", "FilesView", "Tally"]
