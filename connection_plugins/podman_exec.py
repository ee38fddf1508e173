# Copyright: the Kilonova authors
# SPDX-License-Identifier: Apache-2.0
"""Reach a container through one `podman exec` per task."""

from __future__ import annotations

import os
import shlex
import subprocess

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: podman_exec
short_description: Run tasks in a podman container, one podman call per task
description:
  - Needs no collection from Galaxy, asks sudo when the caller is not root (the sandbox's containers belong to root), and calls a
    container that does not run unreachable, not failed. Hands a module over the standard input of a single podman call.
options:
  remote_addr:
    description: Name of the container.
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: ansible_host
  remote_user:
    description: User inside the container. Empty means the container's own, root.
    default: ""
    vars:
      - name: ansible_user
extends_documentation_fragment:
  - connection_pipelining
"""


class Connection(ConnectionBase):
    """One `podman exec` per task; errors of podman itself mean that the host is unreachable."""

    transport = "podman_exec"
    has_pipelining = True

    def _connect(self):
        self._connected = True
        return self

    def _podman_exec(self, argv: list[str], stdin) -> subprocess.CompletedProcess:
        command = ["podman", "exec", "--interactive"]
        if os.geteuid() != 0:
            command = ["sudo", "--non-interactive", *command]
        user = self.get_option("remote_user")
        if user:
            command.append(f"--user={user}")
        command += [self.get_option("remote_addr"), *argv]
        source = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
        try:
            result = subprocess.run(command, capture_output=True, check=False, **source)
        except FileNotFoundError as error:
            raise AnsibleConnectionFailure(f"{command[0]} is not installed on this machine") from error
        # podman's own failures: 125 (no such container), and 255 for one that does not run, with which a command may end as well.
        if result.returncode == 125 or (result.returncode == 255 and b"container state improper" in result.stderr):
            raise AnsibleConnectionFailure(result.stderr.decode(errors="replace").strip())
        return result

    def exec_command(self, cmd, in_data=None, sudoable=True):
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        result = self._podman_exec(["/bin/sh", "-c", cmd], in_data or b"")
        return result.returncode, result.stdout, result.stderr

    def put_file(self, in_path, out_path):
        super().put_file(in_path, out_path)
        if not os.path.exists(in_path):
            raise AnsibleFileNotFound(f"There is no file {in_path}")
        with open(in_path, "rb") as stream:
            result = self._podman_exec(["/bin/sh", "-c", f"cat > {shlex.quote(out_path)}"], stream)
        if result.returncode != 0:
            raise AnsibleError(f"Writing {out_path} failed: {result.stderr.decode(errors='replace')}")

    def fetch_file(self, in_path, out_path):
        super().fetch_file(in_path, out_path)
        result = self._podman_exec(["cat", "--", in_path], b"")
        if result.returncode != 0:
            raise AnsibleError(f"Reading {in_path} failed: {result.stderr.decode(errors='replace')}")
        with open(out_path, "wb") as stream:
            stream.write(result.stdout)

    def close(self):
        self._connected = False
