"""Questions to the RabbitMQ server of this host, and, as a client, to an external one."""

import contextlib
import ssl

from . import command
from .address import bare, host_port

# Login to an external one.
LOGIN = {
    "host": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "vhost": {"type": "str", "default": "/"},
    "external": {"type": "bool", "default": False},
    "cacert": {"type": "str", "default": ""},
}

# What `rabbitmqctl eval` would run, asked by Erlang's own client: milliseconds instead of the start of an Erlang VM.
# The node is asked at its port, not by name: the client would resolve a name to an address where nothing listens.
CLIENT = ["erl_call", "-fetch_stdout", "-no_result_term", "-e", "-address", "127.0.0.1:25672"]
# Where the client finds the cookie of the server.
HOME = "/var/lib/rabbitmq"
# An expression that fails prints nothing, and the client calls that a success.
END = "end of the answer\n"

# What is asked, in Erlang and of functions of RabbitMQ's own: names of virtual hosts, and of users.
VHOSTS = "rabbit_vhost:list_names()"
USERS = "[N || U <- rabbit_auth_backend_internal:list_users(), {user, N} <- U]"


def rows(statement):
    """Lines of what an Erlang expression gives, a list of texts. Raises RuntimeError with what RabbitMQ says."""
    expression = f'io:format("~ts{END[:-1]}~n", [[[Row, $\\n] || Row <- {statement}]]).\n'
    answer = command.run(*CLIENT, text=expression, environment={"HOME": HOME}, apart=True, timeout=30).output
    if not answer.endswith(END):
        # Another port of the node, another home, no such client: the long way knows them.
        status, answer, _errors = command.run("rabbitmqctl", "--quiet", "eval", expression)
        # rabbitmqctl prints the value of the expression, too.
        if status or END not in answer:
            raise RuntimeError(f"rabbitmqctl eval failed: {answer.strip()[-400:]}")
    return answer.partition(END)[0].splitlines()


def connection(amqp, login, timeout=10):
    """A connection that is not open yet. `amqp` is that library, which is not everywhere."""
    return amqp.Connection(
        host=host_port(login["host"], login["port"]),
        userid=login["user"],
        password=login["password"],
        virtual_host=login["vhost"],
        connect_timeout=timeout,
        read_timeout=timeout,
        login_method="PLAIN",
        ssl=_verified(login),
    )


def _verified(login):
    """How the server proves who it is; False without TLS."""
    if not login.get("cacert"):
        return False
    return {"ca_certs": login["cacert"], "cert_reqs": ssl.CERT_REQUIRED, "server_hostname": bare(login["host"])}


def consumed(amqp, login, names):
    """The queues of `names` that have a consumer, as a client sees it."""
    found = set()
    for name in names:
        # Asking for a queue that does not exist closes the channel.
        with contextlib.suppress(amqp.exceptions.AMQPError, OSError), connection(amqp, login) as opened:
            opened.connect()
            if opened.channel().queue_declare(name, passive=True).consumer_count:
                found.add(name)
    return found
