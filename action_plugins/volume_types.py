"""Ask the Block Storage service about its types, unless it has answered when the run began (kilonova/run/ahead.py)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run.instrument import Instrument


class ActionModule(Instrument):
    """See the module of the same name (library/volume_types.py)."""
