"""Commands of a service's management program (nova-manage, keystone-manage), many for one start of the program.

The service's code takes longer to load than most of its commands take, so it is loaded once, and a copy of that process runs each
command.
"""

import json

from . import command, masking

# argv: the module of the program, its name, and JSON lists of commands to run at once. What a process sets in its own environment
# is not in /proc/PID/environ.
PROGRAM = """
import importlib, json, os, sys
main = importlib.import_module(sys.argv[1]).main
name = sys.argv[2]
os.environ.update(json.loads(sys.stdin.buffer.read()))
for commands in map(json.loads, sys.argv[3:]):
    begun = []
    for command in commands:
        process = os.fork()
        if not process:
            sys.argv = [name, *command]
            sys.exit(main())
        begun.append((process, command))
    # All end before one is reported, so that none goes on behind a failed run.
    failed = [command for process, command in begun if os.waitpid(process, 0)[1]]
    if failed:
        sys.exit("%s %s failed" % (name, " ".join(failed[0][:2])))
"""


def run(module, program, *waves, user="root", secrets=None):
    """Run lists of commands (argv without the program), all of one list at once; fail with the last words.

    `program`: (name, module that has its `main`). `secrets`: variables of the commands' environment.
    """
    name, code = program
    argv = ["python3", "-c", PROGRAM, code, name, *[json.dumps(wave) for wave in waves if wave]]
    done = command.run(*argv, user=user, text=json.dumps(secrets or {}), locked=True)
    if done.status:
        output = masking.without_passwords(done.output).strip()
        module.fail_json(msg=output[-600:], output=output.splitlines()[-30:])
