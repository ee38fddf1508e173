"""Filters of the project: thin names over kilonova.config.config_files and its neighbours, where the logic is and is tested."""

import sys
from pathlib import Path

from ansible.errors import AnsibleFilterError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.config import addresses, config_files, declared, galera, listening, migration, overrides, releases, storage, tls
from kilonova.proof import tempest, trace, verification
from kilonova.run import changes


def _explained(function):
    """Turn an error of the data into the one that Ansible prints with the task's place."""

    def wrapper(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError) as error:
            raise AnsibleFilterError(str(error)) from error

    return wrapper


def service_url(database_or_path, scheme, host, port, user, password):
    """`'nova_api' | service_url('mysql+pymysql', host, 3306, 'nova', password)`: a URL that holds any password."""
    return config_files.url(scheme, host, port, user, password, database_or_path)


def with_overrides(files, role, variables):
    """`files | with_overrides('nova_compute', {'openstack_overrides': ..., ...})`: as the action config_files would add them."""
    return [overrides.with_overrides(role, entry, variables.get) for entry in files]


class FilterModule:
    """Names as the roles use them."""

    def filters(self):
        """Return name -> function."""
        return {
            "backend_sections": _explained(storage.backend_sections),
            "canonical_address": _explained(addresses.canonical),
            "ceph_key": storage.ceph_key,
            "ceph_mons": _explained(storage.ceph_mons),
            "certificate_files": tls.certificate_files,
            "content_sources": _explained(addresses.content_sources),
            "config_owners": declared.config_owners,
            "database_login": _explained(config_files.database_login),
            "declared": declared.of_services,
            "each_unit": storage.each_unit,
            "erlang_address": _explained(addresses.erlang_address),
            "for_release": _explained(config_files.for_release),
            "galera_founder": galera.founder,
            "host_port": _explained(addresses.host_port),
            "instances_path": _explained(migration.instances_path),
            "ip_version": _explained(addresses.ip_version),
            "is_elsewhere": _explained(addresses.is_elsewhere),
            "literal": _explained(config_files.literal),
            "moment": _explained(changes.moment),
            "options_for_release": _explained(config_files.options_for_release),
            "names_of": _explained(addresses.names_of),
            "nova_version": _explained(lambda value: releases.find(str(value)).nova),
            "one_address": _explained(listening.one_address),
            "ovn_remotes": _explained(listening.ovn_remotes),
            "own_addresses": _explained(listening.own_addresses),
            "proxied_servers": _explained(listening.proxied_servers),
            "proxy_files": _explained(listening.proxy_files),
            "rabbit_password": config_files.rabbit_password,
            "release_name": _explained(lambda value: releases.find(str(value)).name),
            "role_files": _explained(config_files.role_files),
            "role_packages": _explained(config_files.role_packages),
            "service_roles": declared.service_roles,
            "service_url": _explained(service_url),
            "sockets": _explained(listening.sockets),
            "tempest_report": tempest.report,
            "tempest_seconds": tempest.seconds,
            "tempest_summary": tempest.summary,
            "trace_report": trace.report,
            "trace_table": trace.table,
            "trace_verdict": trace.verdict,
            "verification": verification.assemble,
            "verification_lines": verification.lines,
            "url_host": _explained(addresses.url_host),
            "volume_types": storage.volume_types,
            "with_overrides": _explained(with_overrides),
        }
