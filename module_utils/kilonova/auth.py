"""The login that modules take which talk to the cloud, described once.

`cacert` is the file of the authority that the cloud's certificates are checked against; without it, the system's authorities.
"""

AUTH = {
    "type": "dict",
    "required": True,
    "options": {
        "auth_url": {"type": "str", "required": True},
        "username": {"type": "str", "default": "admin"},
        "password": {"type": "str", "required": True, "no_log": True},
        "project_name": {"type": "str", "default": "admin"},
        "user_domain_name": {"type": "str", "default": "Default"},
        "project_domain_name": {"type": "str", "default": "Default"},
        "cacert": {"type": "str", "default": ""},
    },
}
