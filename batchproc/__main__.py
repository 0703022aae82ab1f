"""The program's first lines, for `python -m batchproc` and `batchproc` alike."""

from batchproc.interrupt import quiet

quiet()

from batchproc.cli.main import main  # noqa: E402 - Ctrl-C meanwhile shows no traceback

if __name__ == "__main__":
    main()
