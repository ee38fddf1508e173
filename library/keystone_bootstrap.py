#!/usr/bin/python
"""Bootstrap the Identity service: keys, the administrator and the Identity endpoints."""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import database, files, lock, manage, result

try:
    from bcrypt import checkpw
except ImportError:
    try:
        from passlib.hash import bcrypt as _passlib_bcrypt

        def checkpw(password, stored):
            """bcrypt.checkpw by passlib, for distributions whose Keystone has only that."""
            return _passlib_bcrypt.verify(password, stored.decode())

    except ImportError:  # check mode on a fresh host: the packages come with this very run
        checkpw = None

DOCUMENTATION = r"""
module: keystone_bootstrap
short_description: The guide's keystone-manage fernet_setup, credential_setup and bootstrap
description:
  - Bootstraps when the administrator is missing or the password is another one, which is read from the stored hash.
    C(keystone-manage bootstrap) takes the password from argv or from its environment (C(OS_BOOTSTRAP_PASSWORD)), which others
    can see; it is started by a program that reads it from a pipe and puts it there.
options:
  password: {type: str, required: true, description: Password of the administrator, any characters.}
  region: {type: str, required: true, description: Region of the Identity endpoints.}
  endpoints: {type: dict, required: true, description: 'public, internal and admin URL of the Identity service.'}
  database: {type: str, default: keystone, description: Database of the Identity service.}
  unix_socket: {type: path, default: /run/mysqld/mysqld.sock, description: MariaDB's local socket.}
  login: {type: dict, description: 'host, port, user and password of an external server; without it, the local socket.'}
"""

# Each repository begins with two keys; with one, the setup was killed in between, and would not go on.
KEYS = {"fernet_setup": "/etc/keystone/fernet-keys", "credential_setup": "/etc/keystone/credential-keys"}
PROGRAM = ("keystone-manage", "keystone.cmd.manage")
ADMIN = """
SELECT password_hash FROM `{db}`.password
JOIN `{db}`.local_user ON local_user.id = password.local_user_id
JOIN `{db}`.assignment ON assignment.actor_id = local_user.user_id AND assignment.type = 'UserProject'
JOIN `{db}`.project ON project.id = assignment.target_id AND project.name = 'admin'
JOIN `{db}`.role ON role.id = assignment.role_id AND role.name = 'admin'
JOIN `{db}`.system_assignment ON system_assignment.actor_id = local_user.user_id AND system_assignment.role_id = role.id
WHERE local_user.name = 'admin' ORDER BY password.id DESC LIMIT 1
"""


def administrator_is_right(module):
    """Whether user, project and role `admin` exist and the stored hash fits the password."""
    params = module.params
    try:
        rows = database.ask(module, ADMIN.format(db=params["database"]))
    except database.NoServer:
        if not module.check_mode or not database.on_disk(module, params["database"], "password"):
            return False
        database.warn_of_guess(module, "the administrator")
        return True
    except database.Error:
        return False
    # Keystone itself cuts passwords to the 72 bytes that bcrypt takes.
    return bool(rows) and checkpw(params["password"].encode()[:72], rows[0][0].encode())


def begun(module, directory):
    """Whether a repository of keys is missing, or was left with one key by a run that was killed; that key is removed."""
    try:
        here, _safe = files.open_directory(directory)
    except FileNotFoundError:
        return True
    except files.Refused as error:
        module.fail_json(msg=str(error))
    try:
        keys = os.listdir(here)
        for key in keys if len(keys) < 2 and not module.check_mode else ():
            os.unlink(key, dir_fd=here)
    finally:
        os.close(here)
    return len(keys) < 2


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "password": {"type": "str", "required": True, "no_log": True},
            "region": {"type": "str", "required": True},
            "endpoints": {"type": "dict", "required": True},
            "database": {"type": "str", "default": "keystone"},
            **database.options(),
        },
        supports_check_mode=True,
    )
    lock.take(module)
    p = module.params
    actions, commands, bootstrap = [], [], []
    for command, directory in KEYS.items():
        if begun(module, directory):
            actions.append("create the keys of %s" % directory)
            commands.append([command, "--keystone-user", "keystone", "--keystone-group", "keystone"])
    if database.pymysql is None or checkpw is None or not administrator_is_right(module):
        actions.append("bootstrap the Identity service")
        bootstrap.append(["bootstrap", "--bootstrap-region-id", p["region"]])
        for interface, url in p["endpoints"].items():
            bootstrap[-1] += ["--bootstrap-%s-url" % interface, url]
    if actions and not module.check_mode:
        # The bootstrap refuses to begin without a repository of keys. As Keystone's user: root would follow its links.
        with result.doing(module, actions):
            manage.run(module, PROGRAM, commands, bootstrap, user="keystone", secrets={"OS_BOOTSTRAP_PASSWORD": p["password"]})
    result.leave(module, actions)


if __name__ == "__main__":
    main()
