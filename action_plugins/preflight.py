"""Run the checks of kilonova.run.preflight over an inventory, or over what its hosts said of themselves; changes nothing."""

import sys
from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.config import galera, inventories, migration, releases
from kilonova.problems import Problem, merged
from kilonova.run import fitness, preflight, settings, variables, volumes


class ActionModule(ActionBase):
    """`preflight: {part: inventory|hosts, ...}`; see roles/preflight."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Fail with every problem at once, one line each."""
        result = super().run(tmp, task_vars)
        arguments, hostvars = self._task.args, task_vars["hostvars"]
        inventory = inventories.Inventory.of_ansible(task_vars)
        if arguments["part"] == "inventory":
            problems = self._inventory(arguments, inventory)
        else:
            problems = []
            # `--limit` leaves out localhost, where the inventory is checked: then it is done here.
            if "__preflight_inventory" not in hostvars.get("localhost", {}):
                problems = self._inventory(arguments, inventory)
            if not problems:
                problems, identities, older = self._hosts(arguments, inventory, hostvars)
                # The role nova_compute puts identities back; Compute's configuration heeds compute nodes of an older release.
                result["ansible_facts"] = {"openstack_compute_ids": identities, "openstack_older_compute": older}
        result["changed"] = False
        if problems:
            result["failed"] = True
            result["problems"] = [str(problem) for problem in problems]
            result["msg"] = "Nothing was changed. " + " | ".join(result["problems"])
        return result

    def _inventory(self, arguments, inventory):
        problems, warnings = variables.check_inventory(inventory, arguments["foreign"])
        problems += settings.problems({host: inventory.variables(host) for host in inventory.hosts()})
        for line in [*settings.warnings(), *warnings]:
            Display().warning(line)
        return problems

    def _hosts(self, arguments, inventory, hostvars):
        problems, names, identities, heard, given = [], {}, {}, {}, {}
        lost, nodes = {}, self._compute_nodes(inventory, hostvars)
        controllers = inventory.groups["controllers"]
        told = hostvars[controllers[0]].get("openstack_host")
        problems += variables.tls(inventory, told) if told else []
        for name in inventory.hosts():
            seen = hostvars[name].get("openstack_host")
            if not seen:  # left out by --limit
                continue
            names[name] = seen["hostname"]
            if seen["compute_id"]:
                identities[name] = seen["compute_id"]
            host = inventory.host(name)
            limits = {key: hostvars[name].get(key, value) for key, value in arguments["limits"].items()}
            own = {**variables.addresses(host), **(variables.listened(host) if name in controllers else {})}
            problems += preflight.check_host(name, seen, own, host.find("openstack_release"), variables.distributions(inventory))
            problems += preflight.check_listening(name, seen, variables.servers(host))
            problems += preflight.check_resources(name, seen, limits)
            problems += fitness.check_machine(name, seen, inventory.role_vars["openstack_architectures"])
            # With another distribution, these follow.
            if not any(problem.where == name and problem.variable == "openstack_release" for problem in problems):
                problems += fitness.check_version(name, seen, host.find("openstack_release"))
            bridges = host.find("openstack_bridges") or []
            problems += fitness.check_bridges(
                name, seen, {**own, **variables.login(host)}, bridges, variables.datapath(host, seen)
            )
            mapped = (host.find("openstack_bridge_mappings") or {}).values()
            problems += fitness.check_backends(
                name, seen, host.find("openstack_take_over") or [], [*(bridge["name"] for bridge in bridges), *mapped]
            )
            heard[name], given[name] = seen, variables.hosts(host)
            problems += preflight.check_packages(name, seen, variables.packages(host))
            problems += preflight.check_units(name, seen, variables.units(host))
            problems += preflight.check_ways(name, seen, variables.ways(host), variables.units(host))
            problems += preflight.check_files(name, seen)
            problems += migration.check_host(name, seen, host)
            if "nova_compute" in host.roles():
                problems += volumes.check_images(name, seen, host.find("nova_compute_images"))
            asked = hostvars[name].get("__preflight_backends", {}).get("problems") or []
            problems += [Problem(name, **row) for row in asked]
            kvm = hostvars[name].get("__preflight_kvm", {})
            if kvm.get("works") is False:
                problems.append(preflight.no_kvm(name, kvm["reason"]))
        if len(controllers) > 1:
            problems += preflight.check_cluster_hosts({name: names[name] for name in controllers if name in names})
            if "mysql" in inventory.host(controllers[0]).roles():
                problems += galera.check(galera.told(controllers, hostvars))
        doubles = preflight.check_hostnames(names) + preflight.check_identities(identities)
        for name in [name for name in inventory.groups["computes"] if name in heard]:
            if not doubles:  # these would be said again, in other words
                host = inventory.host(name)
                wrong, identity = fitness.check_compute_node(
                    name, heard[name], nodes, host.find("openstack_management_address"), host.find("openstack_release")
                )
                problems += wrong
                lost.update({name: identity} if identity else {})
        problems += doubles
        problems += fitness.check_names(heard, given)
        release = inventory.host(controllers[0]).find("openstack_release")
        older = "" if problems else fitness.older_release(nodes, release, inventory.role_vars["openstack_service_versions"])
        if older:
            titles = [releases.find(name).title for name in (older, release)]
            Display().warning(
                f"A compute node runs {titles[0]}: until all run {titles[1]}, services call them as {titles[0]} understands "
                "([upgrade_levels]). Run this again when the last one is upgraded."
            )
        return merged(problems), lost, older

    def _compute_nodes(self, inventory, hostvars):
        """What Nova's database says about compute nodes. The controller was asked even where `--limit` leaves it out."""
        for name in inventory.hosts():
            for seen in (hostvars[name].get("openstack_host"), hostvars[name].get("__preflight_controller", {}).get("host")):
                if seen and seen.get("compute_nodes") is not None:
                    return seen["compute_nodes"]
        return []
