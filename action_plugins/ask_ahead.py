"""Ask the host at once what later tasks of the run would ask it one after the other, and see whether any has anything to do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import ahead, answers, settled, workers
from kilonova.run.instrument import Instrument


class ActionModule(Instrument):
    """See the module of the same name (library/ask_ahead.py), kilonova/run/ahead.py and kilonova/run/settled.py."""

    # Until it knows what to ask: what templates of later tasks have become stays in Ansible's own process.
    ASKS_NO_HOST = True

    def run(self, tmp=None, task_vars=None):
        """Return the answers as a fact, and how many plays have nothing to do. What has no answer, its own task asks later."""
        self.variables = task_vars
        result = {"changed": False}
        # Where nothing was installed yet, nobody answers.
        if not workers.are_installed() or not answers.reported(task_vars, "files", {}):
            return result
        if ahead.Run.seen is None:
            ahead.Run.seen = settled.look(task_vars["inventory_hostname"], list(task_vars["ansible_play_hosts"]), self)
        seen = ahead.Run.seen
        questions = {question.digest: self.request(task, question) for _play, task, question in seen.questions}
        said = {}
        if questions:
            said = self._execute_module(module_args={"questions": list(questions.values())}, task_vars=task_vars)
            if said.get("unreachable"):
                return said
        known = ahead.settled(said.get("answers") or {})
        quiet, first = self.first_left(seen, known)
        message = f"something may be left to do, first {first}" if first else "nothing is left to do on any host"
        if said.get("failed"):
            message = f"nothing was asked ahead: {said.get('msg')}"
        return ahead.noted({**result, "quiet": quiet, "msg": message}, known)

    def first_left(self, seen, known):
        """Return how many plays come before the first task that may have something to do, and that task."""
        lost = set(self.variables["ansible_play_hosts_all"]) - set(self.variables["ansible_play_hosts"])
        found = [(0, f"{name}: is down") for name in sorted(lost)[:1]]
        found.append((seen.quiet, seen.first))
        host = self.variables["inventory_hostname"]
        found += [(play, f"{host}: {task.get_name()}") for play, task, one in seen.questions if one.digest not in known]
        return min(found, key=lambda one: one[0])

    def request(self, task, question):
        """Return a question in the form of the module."""
        return question.request(
            Path(self._shared_loader_obj.module_loader.find_plugin(question.module)).read_text(encoding="utf-8")
        )
