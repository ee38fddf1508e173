#!/usr/bin/python
"""Run several modules at once, in processes that are forked from this one, and return what they said."""

import contextlib
import json
import os
import signal
import sys

from ansible.module_utils import basic
from ansible.module_utils.basic import AnsibleModule

# What the modules import, so that Ansible sends it along.
from ansible.module_utils.kilonova import (
    address,
    auth,
    ceph,
    command,
    database,
    files,
    foreign,
    http,
    lock,
    manage,
    masking,
    proxy,
    rabbitmq,
    result,
    schema,
    unit_state,
)

DOCUMENTATION = r"""
module: ask_ahead
short_description: What later tasks of this run would ask this host, asked at once
description:
  - The action of the same name makes the questions (kilonova/run/ahead.py), and keeps the answers for those tasks.
  - A module that does not end in time, or by itself, has no answer. Nothing is changed.
options:
  questions:
    type: list
    elements: dict
    required: true
    description: >-
      digest of the question; name, source and arguments of the module; compares, whether it runs in check mode, as one does that
      could change something.
  timeout: {type: int, default: 30, description: Seconds that all of them may take together.}
"""

IMPORTED = (
    *(address, auth, ceph, command, database, files, foreign, http, lock, manage, masking, proxy, rabbitmq, result, schema),
    unit_state,
)
# As Ansible writes it into a module's arguments.
CHECK = "_ansible_check_mode"


def run(question, internal):
    """Run a module in this process, which ends with it."""
    arguments = {**internal, **question["arguments"], CHECK: question["compares"] or internal.get(CHECK, False)}
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    if hasattr(basic, "_ANSIBLE_PROFILE"):
        basic._ANSIBLE_PROFILE = "legacy"
    code = compile(question["source"], "<%s>" % question["name"], "exec")
    exec(code, {"__name__": "__main__", "__file__": question["name"]})


def begin(question, internal):
    """Fork the process of a question; returns its id, and what it says."""
    sys.stdout.flush()
    reads, writes = os.pipe()
    process = os.fork()
    if process:
        os.close(writes)
        return process, reads
    status = 1
    try:
        os.dup2(writes, 1)
        run(question, internal)
    except SystemExit:
        status = 0
    finally:
        # Whatever happened: this process must not go on as the one that it was forked from.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(status)


def said(stream):
    """The result that a module has printed; None where it is not one."""
    with os.fdopen(stream, encoding="utf-8", errors="replace") as lines:
        try:
            found = json.loads(lines.read())
        except ValueError:
            return None
    # Ansible adds the arguments.
    return {key: value for key, value in found.items() if key != "invocation"}


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            # Not no_log: that would hide every word of it in the answers. The modules hide their own secrets in them.
            "questions": {"type": "list", "elements": "dict", "required": True, "no_log": False},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
        no_log=True,
    )
    internal = {name: value for name, value in basic._load_params().items() if name.startswith("_ansible_")}
    begun = {question["digest"]: begin(question, internal) for question in module.params["questions"]}

    def stop(_signal, _frame):
        for process, _stream in begun.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(module.params["timeout"])
    answers = {digest: said(stream) for digest, (_process, stream) in begun.items()}
    signal.alarm(0)
    for process, _stream in begun.values():
        os.waitpid(process, 0)
    # Without the arguments, which Ansible adds.
    module.exit_json(changed=False, answers={digest: one for digest, one in answers.items() if one}, invocation={})


if __name__ == "__main__":
    main()
