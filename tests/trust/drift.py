"""What somebody may have done to a cloud by hand: something of every kind that a run repairs."""

# A service of the network backend each: one on the controller, one on the compute node. STARTED: what becomes of nova-compute,
# whose package goes with genisoimage on the distribution that has OVN.
SERVICES = {
    "openvswitch": {
        "DISABLED": "neutron-l3-agent",
        "STOPPED": "neutron-openvswitch-agent",
        "STARTED": "restart nova-compute (changed: [libvirt] of /etc/nova/nova-compute.conf)",
    },
    "ovn": {"DISABLED": "neutron-periodic-workers", "STOPPED": "neutron-ovn-metadata-agent", "STARTED": "start nova-compute"},
}


def sql(statement):
    """A command that runs a statement as MariaDB's administrator."""
    return f"mariadb <<'SQL'\n{statement};\nSQL\n"


def in_keystone(statement):
    """The same for Keystone's database. Keystone forgets what it has read, or it would not see what is done to it."""
    return "systemctl restart memcached\n" + sql(statement)


# Host, what is done there, and what a plan must name of it, whatever else it says.
PIECES = [
    (
        "controller",
        r"printf '\n[scheduler]\nmax_attempts = 7\n' >> /etc/nova/nova.conf",
        {"write /etc/nova/nova.conf ([scheduler])", "restart nova-scheduler (changed: [scheduler] of /etc/nova/nova.conf)"},
    ),
    ("controller", "chmod 644 /etc/glance/glance-api.conf", {"give /etc/glance to root:glance"}),
    ("controller", "systemctl stop nova-conductor", {"start nova-conductor"}),
    ("controller", "systemctl disable --quiet DISABLED", {"enable DISABLED"}),
    (
        "controller",
        "systemctl restart memcached; rm /etc/memcached.conf",
        {"write /etc/memcached.conf", "restart memcached (changed: /etc/memcached.conf)"},
    ),
    ("controller", "rabbitmqctl --quiet clear_permissions openstack", {"grant openstack all permissions on vhost /"}),
    ("controller", "rabbitmqctl --quiet add_user guest a-guest-is-back", {"delete user guest"}),
    (
        "controller",
        sql(r"REVOKE ALL PRIVILEGES ON `nova\_api`.* FROM nova@localhost"),
        {"grant all privileges on nova_api to 'nova'@'localhost'"},
    ),
    ("controller", sql("CREATE USER glance@'%' IDENTIFIED BY 'open to everybody'"), {"remove account 'glance'@'%'"}),
    (
        "controller",
        sql("ALTER USER placement@localhost IDENTIFIED BY 'not the password'"),
        {"set the password of 'placement'@'localhost'"},
    ),
    ("controller", sql("DROP DATABASE nova_cell0"), {"create database nova_cell0", "populate nova_cell0 (at no revision)"}),
    ("controller", sql("DELETE FROM nova_api.host_mappings"), {"map compute1 to cell1"}),
    (
        "controller",
        sql("UPDATE nova_api.cell_mappings SET transport_url = 'rabbit://nobody@nowhere/' WHERE name = 'cell1'"),
        {"correct the mapping of cell1"},
    ),
    (
        "controller",
        in_keystone("DELETE FROM keystone.endpoint WHERE interface = 'public' AND url LIKE '%:9292%'"),
        set(),  # its name has its address
    ),
    (
        "controller",
        in_keystone(
            """UPDATE keystone.service SET extra = '{"name": "nova", "description": "by hand"}' WHERE type = 'compute'"""
        ),
        {"correct description of service nova"},
    ),
    (
        "controller",
        in_keystone(
            "UPDATE keystone.user JOIN keystone.local_user ON local_user.user_id = user.id SET enabled = 0 WHERE name = 'neutron'"
        ),
        {"correct enabled of user neutron"},
    ),
    (
        "controller",
        in_keystone(
            "DELETE keystone.assignment FROM keystone.assignment JOIN keystone.local_user ON user_id = actor_id"
            " JOIN keystone.role ON role.id = role_id WHERE local_user.name = 'placement' AND role.name = 'service'"
        ),
        {"add role service to user placement in project service"},
    ),
    ("compute1", "apt-get -qq --yes remove genisoimage >/dev/null 2>&1", {"STARTED"}),
    ("compute1", "sed -i 's/^virt_type *=.*/virt_type = lxc/' /etc/nova/nova-compute.conf", {"STARTED"}),
    ("compute1", "rm /etc/systemd/network/10-openstack-hybrid.link", {"write /etc/systemd/network/10-openstack-hybrid.link"}),
    ("compute1", "systemctl stop STOPPED", {"start STOPPED"}),
]


def pieces(sandbox) -> list[tuple[str, str, set[str]]]:
    """PIECES as this sandbox's network backend has them."""
    backend = sandbox.sh("controller", "systemctl cat ovn-central >/dev/null 2>&1 && echo ovn || echo openvswitch")

    def named(text):
        for word, unit in SERVICES[backend].items():
            text = text.replace(word, unit)
        return text

    return [(host, named(command), {named(item) for item in items}) for host, command, items in PIECES]


def drift(sandbox) -> set[str]:
    """Do all of it; returns what a plan must name."""
    found = pieces(sandbox)
    for host, command, _items in found:
        sandbox.sh(host, command)
    return set().union(*(items for _host, _command, items in found))
