#!/usr/bin/python
"""The results of the last run of Tempest. Runs with the interpreter of Tempest's own environment."""

import io
import subprocess
import sys

from ansible.module_utils.basic import AnsibleModule

try:
    import subunit
    import testtools

    MISSING = ""
except ImportError as error:
    MISSING = str(error)

DOCUMENTATION = r"""
module: tempest_results
short_description: Every test of the last run, with what it said
description:
  - Reads stestr's repository in C(directory) and changes nothing. Needs python-subunit and testtools, which come with
    Tempest; set C(ansible_python_interpreter) to that environment's.
options:
  directory: {type: path, required: true, description: Working directory of Tempest.}
  stestr: {type: path, required: true, description: The command stestr of Tempest's environment.}
  limit: {type: int, default: 6000, description: Characters of each test's traceback that are returned, from its end.}
"""

# What a test attaches besides its traceback: logs, which are long and in Tempest's own files.
ATTACHED = ("pythonlogging", "stdout", "stderr")


def said(test, limit):
    """The tracebacks or the reason of a test."""
    texts = [
        content.as_text()
        for name, content in sorted(test["details"].items())
        if not name.startswith(ATTACHED) and content.content_type.type == "text"
    ]
    return "\n".join(texts)[-limit:]


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "stestr": {"type": "path", "required": True},
            "limit": {"type": "int", "default": 6000},
        },
        supports_check_mode=True,
    )
    p = module.params
    if MISSING:
        module.fail_json(msg="%s: %s; ansible_python_interpreter must be Tempest's own" % (sys.executable, MISSING))
    # Not by command.py, which decodes: the stream is not text.
    stream = subprocess.run([p["stestr"], "last", "--subunit"], cwd=p["directory"], stdout=subprocess.PIPE, check=False).stdout
    tests = []

    def collect(test):
        begin, end = [*test["timestamps"], None, None][:2]
        seconds = (end - begin).total_seconds() if begin and end else 0.0
        tests.append({"id": test["id"], "status": test["status"], "seconds": round(seconds, 3), "text": said(test, p["limit"])})

    result = testtools.StreamToDict(collect)
    result.startTestRun()
    subunit.ByteStreamToStreamResult(io.BytesIO(stream), non_subunit_name="stdout").run(result)
    result.stopTestRun()
    module.exit_json(changed=False, tests=[test for test in tests if test["id"] != "stdout"])


if __name__ == "__main__":
    main()
