"""How a module that changes something ends: `result.leave(module, actions)`, or `result.fail(module, message, actions)`.

`actions` says what it did, or would do in check mode: one line each, with why, and without secrets. A run prints them, and
outside of check mode the host keeps them in its history (history.py). Whatever else the module returns are further arguments:

    result.leave(module, ["restart nova-api (changed: [api] of /etc/nova/nova.conf)"], ansible_facts={...})
    result.fail(module, "nova-api does not start", done, journal=lines)

Neither returns. Where something deeper may fail, by fail_json or an exception, the part that acts goes into

    with result.doing(module, actions):

which keeps what was done so far. A module that fails before it has changed anything calls `module.fail_json`, as ever.
"""

import contextlib

from . import history


def leave(module, actions, **more):
    """End well. The diff has an action per line, where `more` has no `diff` of its own."""
    actions = list(actions)
    _remember(module, actions)
    diff = {"before": "", "after": "".join(f"{action}\n" for action in actions)}
    module.exit_json(changed=bool(actions), actions=actions, **{"diff": diff, **more})


def fail(module, message, actions=(), **more):
    """Fail, after `actions` were done or begun. Not within doing(), which does this by itself."""
    with doing(module, list(actions)):
        module.fail_json(msg=message, **more)


@contextlib.contextmanager
def doing(module, actions):
    """Do `actions`, a list that may grow meanwhile. What fails within, fails with them, and the host's history has them."""
    fail_json = module.fail_json

    def fail_with_actions(**more):
        fail_json(**{"changed": bool(actions), "actions": list(actions), **more})

    module.fail_json = fail_with_actions
    try:
        yield
    except BaseException:
        _remember(module, actions, failed=True)
        raise
    finally:
        module.fail_json = fail_json


def _remember(module, actions, failed=False):
    """The host knows of it from now on."""
    if actions and not module.check_mode:
        history.append(module, actions, failed)
