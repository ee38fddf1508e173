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

CONTROLLER = r"""
set -e
printf '\n[scheduler]\nmax_attempts = 7\n' >> /etc/nova/nova.conf
chmod 644 /etc/glance/glance-api.conf
systemctl stop nova-conductor
systemctl disable --quiet DISABLED
# Keystone forgets what it has read, or it would not see what is done to its database below.
systemctl restart memcached
rm /etc/memcached.conf
rabbitmqctl --quiet clear_permissions openstack
rabbitmqctl --quiet add_user guest a-guest-is-back
mariadb <<SQL
REVOKE ALL PRIVILEGES ON \`nova\\_api\`.* FROM nova@localhost;
CREATE USER glance@'%' IDENTIFIED BY 'open to everybody';
ALTER USER placement@localhost IDENTIFIED BY 'not the password';
DROP DATABASE nova_cell0;
DELETE FROM nova_api.host_mappings;
UPDATE nova_api.cell_mappings SET transport_url = 'rabbit://nobody@nowhere/' WHERE name = 'cell1';
DELETE FROM keystone.endpoint WHERE interface = 'public' AND url LIKE '%:9292%';
UPDATE keystone.service SET extra = '{"name": "nova", "description": "by hand"}' WHERE type = 'compute';
UPDATE keystone.user JOIN keystone.local_user ON local_user.user_id = user.id SET enabled = 0 WHERE name = 'neutron';
DELETE keystone.assignment FROM keystone.assignment JOIN keystone.local_user ON user_id = actor_id
  JOIN keystone.role ON role.id = role_id WHERE local_user.name = 'placement' AND role.name = 'service';
SQL
"""

COMPUTE = r"""
set -e
apt-get -qq --yes remove genisoimage >/dev/null 2>&1
sed -i 's/^virt_type *=.*/virt_type = lxc/' /etc/nova/nova-compute.conf
rm /etc/systemd/network/10-openstack-hybrid.link
systemctl stop STOPPED
"""

# What of it a plan must name, whatever else it says.
NAMED = {
    "write /etc/nova/nova.conf ([scheduler])",
    "give /etc/glance to root:glance",
    "write /etc/memcached.conf",
    "start nova-conductor",
    "enable DISABLED",
    "grant openstack all permissions on vhost /",
    "delete user guest",
    "grant all privileges on nova_api to 'nova'@'localhost'",
    "remove account 'glance'@'%'",
    "set the password of 'placement'@'localhost'",
    "create database nova_cell0",
    "populate nova_cell0 (at no revision)",
    "correct the mapping of cell1",
    "map compute1 to cell1",
    "correct description of service nova",
    "correct enabled of user neutron",
    "add role service to user placement in project service",
    "restart nova-scheduler (changed: [scheduler] of /etc/nova/nova.conf)",
    "restart memcached (changed: /etc/memcached.conf)",
    "STARTED",
    "write /etc/systemd/network/10-openstack-hybrid.link",
    "start STOPPED",
}


def drift(sandbox) -> set[str]:
    """Do all of it; returns NAMED as this sandbox's network backend has it."""
    backend = sandbox.sh("controller", "systemctl cat ovn-central >/dev/null 2>&1 && echo ovn || echo openvswitch")

    def named(text):
        for word, unit in SERVICES[backend].items():
            text = text.replace(word, unit)
        return text

    sandbox.sh("controller", named(CONTROLLER))
    sandbox.sh("compute1", named(COMPUTE))
    return {named(item) for item in NAMED}
