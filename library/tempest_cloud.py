#!/usr/bin/python
"""Make what Tempest needs of a cloud, and describe the cloud in the options of tempest.conf."""

import configparser

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import result
from ansible.module_utils.kilonova.auth import AUTH
from ansible.module_utils.kilonova.http import connect

try:
    import openstack
except ImportError:
    openstack = None

DOCUMENTATION = r"""
module: tempest_cloud
short_description: Flavors, a second image, and tempest.conf's options as the cloud's own APIs give them
description:
  - Creates two flavors and a copy of the image (Tempest wants two images that differ in their id), where they are missing.
  - Returns C(sections), a mapping of tempest.conf's sections to options without any password. What only the configuration of Nova
    tells (consoles, resize on one host, scheduler filters) is read from C(nova_conf) on this host.
options:
  auth: {type: dict, required: true, description: 'auth_url, username, password, project_name and domain names.'}
  region: {type: str, required: true, description: Region of the endpoints.}
  state: {type: str, choices: [present, absent], default: present, description: absent removes the flavors and the second image.}
  name: {type: str, default: tempest, description: Name of the first flavor; the second and the image have C(-alt) after it.}
  image: {type: str, required: true, description: Image that the instances boot from, name or id.}
  flavors: {type: list, elements: dict, required: true, description: 'Two, each with ram (MiB), disk (GiB) and vcpus.'}
  external_network: {type: str, description: Name or id of the network that floating addresses come from.}
  nova_conf: {type: path, default: /etc/nova/nova.conf, description: The deployed configuration of Nova.}
"""

# Type in the catalogue -> option of [service_available].
SERVICES = {
    "compute": "nova",
    "network": "neutron",
    "image": "glance",
    "volumev3": "cinder",
    "block-storage": "cinder",
    "object-store": "swift",
}


def nova_options(path):
    """Section -> option -> value of the deployed nova.conf."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, default_section="")
    parser.read(path)
    return lambda section, option, default="": (
        parser.get(section, option) if parser.has_section(section) and parser.has_option(section, option) else default
    )


def microversions(cloud, service):
    """Lowest and highest microversion that the service names at its root."""
    data = getattr(cloud, service).get_endpoint_data()
    return [".".join(str(part) for part in version) for version in (data.min_microversion, data.max_microversion) if version]


class Cloud:
    """What is there, and what has to be made."""

    def __init__(self, module, cloud):
        """Take the module and a connection."""
        self.module, self.cloud, self.p = module, cloud, module.params
        self.actions = []

    def flavors(self):
        """The ids of the two flavors."""
        found = []
        for wanted, name in zip(self.p["flavors"], (self.p["name"], self.p["name"] + "-alt"), strict=False):
            flavor = self.cloud.compute.find_flavor(name)
            size = {key: int(wanted[key]) for key in ("ram", "disk", "vcpus")}
            if flavor and any(getattr(flavor, key) != value for key, value in size.items()):
                # A flavor cannot be changed; instances keep a copy of theirs.
                self.actions.append("remove flavor %s of another size" % name)
                self.cloud.compute.delete_flavor(flavor)
                flavor = None
            if not flavor:
                self.actions.append("create flavor %s" % name)
                flavor = self.cloud.compute.create_flavor(name=name, **size)
            found.append(flavor.id)
        return found

    def images(self):
        """The ids of the image and of its copy."""
        image = self.cloud.image.find_image(self.p["image"], ignore_missing=False)
        name = self.p["name"] + "-alt"
        other = self.cloud.image.find_image(name)
        if other and other.checksum != image.checksum:
            self.actions.append("remove image %s, the copy of another image" % name)
            self.cloud.image.delete_image(other)
            other = None
        if not other:
            self.actions.append("create image %s" % name)
            kept = {"visibility": "public", "disk_format": image.disk_format, "container_format": image.container_format}
            other = self.cloud.image.create_image(name=name, data=self.cloud.image.download_image(image).content, **kept)
        return [image.id, other.id]

    def external_network(self):
        """The network of floating addresses: the named one, or the only external one."""
        if self.p["external_network"]:
            return self.cloud.network.find_network(self.p["external_network"], ignore_missing=False)
        networks = list(self.cloud.network.networks(is_router_external=True))
        if len(networks) > 1:
            names = ", ".join(network.name for network in networks)
            self.module.fail_json(msg="tempest_external_network is empty, and there are several (%s): name one" % names)
        return networks[0] if networks else None

    def remove(self):
        """Remove what the other state made."""
        for name in (self.p["name"], self.p["name"] + "-alt"):
            flavor = self.cloud.compute.find_flavor(name)
            if flavor:
                self.actions.append("remove flavor %s" % name)
                self.cloud.compute.delete_flavor(flavor)
        image = self.cloud.image.find_image(self.p["name"] + "-alt")
        if image:
            self.actions.append("remove image %s-alt" % self.p["name"])
            self.cloud.image.delete_image(image)

    def sections(self):
        """tempest.conf without the lines that hold a secret."""
        cloud, p = self.cloud, self.p
        nova = nova_options(p["nova_conf"])

        def yes(section, option, default):
            return nova(section, option, default).strip().lower() in ("true", "1", "yes", "on")

        catalogue = {service["type"] for service in cloud.session.auth.get_access(cloud.session).service_catalog.catalog}
        images, flavors = self.images(), self.flavors()
        external = self.external_network()
        extensions = sorted(extension.alias for extension in cloud.network.extensions())
        services = cloud.compute.services(binary="nova-compute")
        computes = [service for service in services if (service.status, service.state) == ("enabled", "up")]
        several = len(computes) > 1
        compute_versions, placement_versions = microversions(cloud, "compute"), microversions(cloud, "placement")
        reply = cloud.image.get("/info/import")
        methods = reply.json()["import-methods"]["value"] if reply.status_code == 200 else []
        filters = nova("filter_scheduler", "enabled_filters")
        found = {
            "auth": {
                "use_dynamic_credentials": True,
                "create_isolated_networks": True,
                "tempest_roles": "member",
                "admin_username": p["auth"]["username"],
                "admin_project_name": p["auth"]["project_name"],
                "admin_domain_name": p["auth"]["user_domain_name"],
            },
            "identity": {
                "uri_v3": p["auth"]["auth_url"],
                "auth_version": "v3",
                "region": p["region"],
                "v3_endpoint_type": "public",
            },
            "identity-feature-enabled": {
                "api_v2": False,
                "api_v2_admin": False,
                "api_v3": True,
                "project_tags": True,
                "application_credentials": True,
                "access_rules": True,
            },
            "compute": {
                "region": p["region"],
                "image_ref": images[0],
                "image_ref_alt": images[1],
                "flavor_ref": flavors[0],
                "flavor_ref_alt": flavors[1],
                "min_compute_nodes": len(computes),
                "min_microversion": compute_versions[0],
                "max_microversion": compute_versions[-1],
                "endpoint_type": "public",
            },
            "compute-feature-enabled": {
                "vnc_console": yes("vnc", "enabled", "true"),
                "spice_console": yes("spice", "enabled", "false"),
                "serial_console": yes("serial_console", "enabled", "false"),
                # The scheduler never chooses the host that an instance is on, unless configured to.
                "resize": several or yes("DEFAULT", "allow_resize_to_same_host", "false"),
                "cold_migration": several,
                "live_migration": several,
                "block_migration_for_live_migration": several,
                "shelve_migrate": several,
                "attach_encrypted_volume": False,
                "swap_volume": False,
                "scheduler_enabled_filters": filters or None,
            },
            "placement": {
                "region": p["region"],
                "min_microversion": placement_versions[0],
                "max_microversion": placement_versions[-1],
            },
            "image": {"region": p["region"]},
            "image-feature-enabled": {"import_image": "glance-direct" in methods},
            "network": {
                "region": p["region"],
                "public_network_id": external and external.id,
                "floating_network_name": external and external.name,
                # Instances of tests are reached by floating addresses.
                "project_networks_reachable": False,
            },
            "network-feature-enabled": {
                "api_extensions": ",".join(extensions),
                "floating_ips": bool(external) and "router" in extensions,
                "ipv6": True,
                "port_security": "port-security" in extensions,
            },
            "service_available": {option: False for option in SERVICES.values()},
        }
        found["service_available"].update({SERVICES[kind]: True for kind in catalogue if kind in SERVICES}, horizon=False)
        return found


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "auth": AUTH,
            "region": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "name": {"type": "str", "default": "tempest"},
            "image": {"type": "str", "required": True},
            "flavors": {"type": "list", "elements": "dict", "required": True},
            "external_network": {"type": "str"},
            "nova_conf": {"type": "path", "default": "/etc/nova/nova.conf"},
        },
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        module.exit_json(changed=True)
    if openstack is None:
        module.fail_json(msg="python3-openstacksdk is missing on this host; the role keystone installs it")
    try:
        connection = connect(
            openstack,
            auth=p["auth"],
            region_name=p["region"],
            compute_api_version="2",
            image_api_version="2",
            network_api_version="2",
        )
        cloud = Cloud(module, connection)
        if p["state"] == "absent":
            with result.doing(module, cloud.actions):
                cloud.remove()
            result.leave(module, cloud.actions)
        with result.doing(module, cloud.actions):
            sections = cloud.sections()
    except openstack.exceptions.SDKException as error:
        module.fail_json(msg=str(error))
    result.leave(module, cloud.actions, sections=sections)


if __name__ == "__main__":
    main()
