"""`python -m jobs`, and the file that spark-submit is given."""

import sys
from pathlib import Path

# spark-submit puts this file's own folder on the path, where `text` or `tables` would hide other packages of these names
sys.path[0] = str(Path(__file__).resolve().parents[1])

from jobs.cli import main  # noqa: E402  the path must be right first

if __name__ == "__main__":
    main()
