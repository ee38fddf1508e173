"""Questions to the RabbitMQ server of this host."""

import os
import subprocess

# What `rabbitmqctl eval` would run, asked by Erlang's own client: milliseconds instead of the start of an Erlang VM.
# The node is asked at its port, by no name: the client would look for that at an address where nobody listens.
CLIENT = ["erl_call", "-fetch_stdout", "-no_result_term", "-e", "-address", "127.0.0.1:25672"]
# Where the client finds the cookie of the server.
HOME = "/var/lib/rabbitmq"
# An expression that fails prints nothing, and the client calls that a success.
END = "end of the answer\n"


def rows(statement):
    """Lines of what an Erlang expression gives, a list of texts. Raises RuntimeError with what RabbitMQ says."""
    expression = f'io:format("~ts{END[:-1]}~n", [[[Row, $\\n] || Row <- {statement}]]).\n'
    try:
        done = subprocess.run(
            CLIENT, input=expression.encode(), stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env={**os.environ, "HOME": HOME}, check=False, timeout=30,
        )
        answer = done.stdout.decode("utf-8", "replace")
    except (OSError, subprocess.TimeoutExpired):
        answer = ""
    if not answer.endswith(END):
        # Another port of the node, another home, no such client: the long way knows them.
        done = subprocess.run(
            ["rabbitmqctl", "--quiet", "eval", expression], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False,
        )
        answer = done.stdout.decode("utf-8", "replace")
        # rabbitmqctl prints the value of the expression, too.
        if done.returncode or END not in answer:
            raise RuntimeError(f"rabbitmqctl eval failed: {answer.strip()[-400:]}")
    return answer.partition(END)[0].splitlines()
