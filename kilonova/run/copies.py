"""What Ansible has parsed is copied without copying its texts.

Ansible keeps what it has read from a file, and hands out a deep copy whenever a play loads a role: some 480 times in site.yml,
because every play has the role openstack. copy.deepcopy takes each text, with the tags that say where it is from, to pieces and
builds it again, though nobody can change a text: that was 2 of the 5 CPU seconds before the first task begins.
"""

from __future__ import annotations

import copy
import types
from typing import Any

from ansible.parsing import dataloader

try:
    from ansible.module_utils._internal._datatag import AnsibleTagHelper, _AnsibleTaggedDict, _AnsibleTaggedList
except ImportError:  # ansible-core 2.18, whose texts have no tags
    AnsibleTagHelper = None


def install() -> None:
    """Let Ansible's loader of files, in this process and its workers, copy that way."""
    if AnsibleTagHelper is not None and getattr(dataloader, "copy", None) is copy:
        dataloader.copy = types.SimpleNamespace(deepcopy=copied)


def copied(value: Any) -> Any:
    """Return a deep copy that has the same texts and numbers, and mappings and lists of its own with the same tags."""
    kind = type(value)
    if kind is dict or kind is _AnsibleTaggedDict:
        fresh: Any = {key: copied(item) for key, item in value.items()}
    elif kind is list or kind is _AnsibleTaggedList:
        fresh = [copied(item) for item in value]
    elif isinstance(value, str | int | float | None):
        return value
    else:
        return copy.deepcopy(value)
    return fresh if kind is dict or kind is list else AnsibleTagHelper.tag_copy(value, fresh)
