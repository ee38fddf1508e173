"""Ask a host whether it does its part, and compare its clock with ours."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run.instrument import TellsTheTime


class ActionModule(TellsTheTime):
    """See the module of the same name (library/host_health.py)."""
