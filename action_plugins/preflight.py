"""Run the checks of kilonova.preflight over an inventory, or over what its hosts said of themselves; changes nothing."""

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from kilonova import config_files, generate, preflight


class ActionModule(ActionBase):
    """`preflight: {part: inventory|hosts, ...}`; see roles/preflight."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Fail with every problem at once, one line each."""
        result = super().run(tmp, task_vars)
        arguments, hostvars, groups = self._task.args, task_vars["hostvars"], task_vars["groups"]
        members = {name: list(hosts) for name, hosts in groups.items()}
        hosts = list(dict.fromkeys(host for name in preflight.GROUPS for host in members.get(name, ())))
        if arguments["part"] == "inventory":
            problems = self._inventory(arguments, hostvars, members, hosts)
            # With groups, release, addresses and secrets in order, every file can be made: is it one that Nova reads as meant?
            problems = problems or self._files(task_vars)
        else:
            problems = self._hosts(arguments, hostvars, hosts)
        result["changed"] = False
        if problems:
            result["failed"] = True
            result["problems"] = [str(problem) for problem in problems]
            result["msg"] = "Nothing was changed. " + " | ".join(result["problems"])
        return result

    def _inventory(self, arguments, hostvars, members, hosts):
        problems = preflight.check_groups(members)
        for release in dict.fromkeys(str(hostvars[host].get("openstack_release", arguments["release"])) for host in hosts):
            problems += preflight.check_release(release, arguments["distributions"])
        backends, known = arguments["backends"], {}
        if not problems:
            for host in hosts:
                release = hostvars[host].get("openstack_release", arguments["release"])
                default = config_files.for_release(arguments["default_backends"], str(release))
                known[host] = {"release": release, "backend": str(hostvars[host].get("openstack_network_backend", default))}
            problems += preflight.check_backends(known, backends)
        names = ("openstack_management_address", "openstack_tunnel_address")
        problems += preflight.check_addresses({host: {name: hostvars[host].get(name) for name in names} for host in hosts})
        for group, secrets in arguments["secrets"].items():
            for host in members.get(group, ())[:1]:
                if group == "computes":
                    more = backends.get(known.get(host, {}).get("backend"), {}).get("compute_secrets", ())
                    secrets = {**secrets, **{name: arguments["secrets"]["controllers"][name] for name in more}}
                values = {name: hostvars[host].get(name) for name in secrets}
                named = {problem.variable for problem in problems}
                found = preflight.check_secrets(values, secrets, group)
                problems += [problem for problem in found if problem.variable not in named]
        return problems

    def _files(self, task_vars):
        """What Nova would not accept, or silently ignore, in the files that the hosts are going to get."""
        found = generate.complaints(generate.Inventory.of_ansible(task_vars))
        for line in generate.lines(found, "warning"):
            Display().warning(line)
        return generate.lines(found, "error")

    def _hosts(self, arguments, hostvars, hosts):
        problems, names = [], {}
        for host in hosts:
            seen = hostvars[host].get("openstack_host")
            if not seen:  # left out by --limit
                continue
            names[host] = seen["hostname"]
            management = hostvars[host]["openstack_management_address"]
            addresses = {
                "openstack_management_address": management,
                "openstack_tunnel_address": hostvars[host].get("openstack_tunnel_address", management),
            }
            release = hostvars[host].get("openstack_release", arguments["release"])
            problems += preflight.check_host(host, seen, addresses, release, arguments["distributions"])
        return problems + preflight.check_hostnames(names)
