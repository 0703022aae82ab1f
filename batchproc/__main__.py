"""`python -m batchproc` is the same program as `batchproc`."""

from batchproc.cli.main import main

if __name__ == "__main__":
    main()
