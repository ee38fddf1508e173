"""Ask the database server only for accounts that this run has not completed yet."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import answers
from kilonova.run.instrument import Instrument


class ActionModule(Instrument):
    """See the module of the same name (library/service_database.py).

    The playbook of the environment makes the accounts of all pages at once, because each task costs a third of a second; each
    page's own task finds its account there.
    """

    SHARED = (
        ("hosts", "openstack_database_grant_hosts"),
        ("others", "openstack_database_other_accounts"),
        ("login", "openstack_database_administrator"),
    )

    def must_ask(self, arguments):
        """Whether one of the accounts may be incomplete."""
        return not {account["user"] for account in arguments["accounts"]} <= set(self._complete())

    def learned(self, arguments, answer):
        """Whose databases, accounts and grants are complete now."""
        return {"accounts": sorted({*self._complete(), *answer.get("complete", ())})}

    def _complete(self):
        return answers.done(self.variables).get("accounts", ())
