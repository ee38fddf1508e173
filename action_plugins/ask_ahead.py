"""Ask the host at once what later tasks of the run would ask it one after the other."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import ahead, answers, workers
from kilonova.run.instrument import Instrument, OnceARun


class ActionModule(Instrument):
    """See the module of the same name (library/ask_ahead.py), and kilonova/run/ahead.py."""

    def run(self, tmp=None, task_vars=None):
        """Return the answers as a fact. What has no answer is asked later, by its own task."""
        self.variables = task_vars
        result = {"changed": False}
        # Where nothing was installed yet, nobody answers.
        if not workers.are_installed() or not answers.reported(task_vars, "files", {}):
            return result
        questions = self.questions()
        if not questions:
            return result
        said = self._execute_module(module_args={"questions": questions}, task_vars=task_vars)
        if said.get("unreachable"):
            return said
        if said.get("failed"):
            result["msg"] = f"nothing was asked ahead: {said.get('msg')}"
        return ahead.noted(result, said.get("answers") or {})

    def questions(self):
        """What the coming tasks would ask, in the form of the module."""
        supposed, found = {}, []
        host = ahead.Run.play.get_variable_manager()._inventory.get_host(self.variables["inventory_hostname"])
        for play, task in ahead.coming_tasks(host):
            variables = play.get_variable_manager().get_vars(play=play, host=host, task=task)
            question = workers.would_ask(host, play, task, answers.supposing(variables, supposed), self)
            if question is None:
                continue
            source = Path(self._shared_loader_obj.module_loader.find_plugin(question.module)).read_text(encoding="utf-8")
            found.append(question.request(source))
            kind = self._shared_loader_obj.action_loader.get(task.action, class_only=True)
            if isinstance(kind, type) and issubclass(kind, OnceARun):
                names = {one[kind.NAME] for one in question.arguments[kind.OPTION]}
                supposed[kind.KEPT] = sorted(names | set(supposed.get(kind.KEPT, ())))
        return found
