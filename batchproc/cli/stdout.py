"""Standard output, for documents."""

from __future__ import annotations

import os
import sys

from batchproc.errors import DiskFailed


def write_document(document: bytes) -> None:
    """Write a document to standard output. Raises DiskFailed where it is full or closed."""
    if sys.stdout is None:
        raise DiskFailed(
            "standard output is closed, and the document has no other place",
            "type the same command again with a standard output, for example `> FILE`",
        )
    try:
        sys.stdout.buffer.write(document)
        sys.stdout.buffer.flush()
    except OSError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left must not fail again at exit
        hint = "nothing but this document is lost: type the same command again with another standard output"
        raise DiskFailed(f"writing to standard output failed: {e.strerror or e}", hint) from e
