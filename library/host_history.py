#!/usr/bin/python
"""Read what was changed on a host, when and why. Changes nothing."""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import files, history

DOCUMENTATION = r"""
module: host_history
short_description: What was changed on a host, when and why
description:
  - Reads what every module that changed something has written into C(/var/lib/kilonova/history). The callback plugin C(stages)
    prints it, for all hosts in the order of time.
  - Returns history, a list of when (UTC), run, version, playbook, module, action and, where the module failed, failed.
options:
  since: {type: str, default: '', description: 'Only what was done from then on: UTC, as C(2026-11-24T10:00:00Z).'}
"""


def main():
    """Entry point."""
    module = AnsibleModule(argument_spec={"since": {"type": "str", "default": ""}}, supports_check_mode=True)
    try:
        entries, strange = history.read(module.params["since"])
    except files.Refused as error:
        module.fail_json(msg=str(error))
    if strange:
        module.warn("%d lines in %s are not as they were written here, and are left out" % (strange, history.directory()))
    module.exit_json(changed=False, history=entries)


if __name__ == "__main__":
    main()
