"""`python -m gs_reg` is the same program as `gs-reg`."""

from gs_reg.apps.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
