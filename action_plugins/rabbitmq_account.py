"""The message queue's account is made once: a cluster of RabbitMQ has one list of them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run.instrument import OfTheCloud


class ActionModule(OfTheCloud):
    """See the module of the same name (library/rabbitmq_account.py)."""
