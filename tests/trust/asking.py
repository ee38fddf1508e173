"""Run on a controller: ask all APIs, each time by a new connection, until the standard input ends; print what became of it.

python asking.py THREADS; for each line of the standard input it prints how many requests there were so far.
"""

import collections
import json
import os
import sys
import threading

import requests

auth, verify = os.environ["OS_AUTH_URL"], os.environ["OS_CACERT"]
LOGIN = {
    "auth": {
        "identity": {
            "methods": ["password"],
            "password": {
                "user": {
                    "name": os.environ["OS_USERNAME"],
                    "domain": {"name": os.environ["OS_USER_DOMAIN_NAME"]},
                    "password": os.environ["OS_PASSWORD"],
                }
            },
        },
        "scope": {"project": {"name": os.environ["OS_PROJECT_NAME"], "domain": {"name": os.environ["OS_PROJECT_DOMAIN_NAME"]}}},
    }
}
PATHS = {8774: "/v2.1/servers", 9292: "/v2/images", 9696: "/v2.0/networks", 8778: "/resource_providers"}
# Of a login, which costs as much as many questions, because Keystone's hashes of passwords are slow on purpose.
QUESTIONS = 6
seen, wrong, ended = collections.Counter(), [], threading.Event()


def asked(method, url, **more):
    """One request by a connection of its own."""
    try:
        answer = requests.request(method, url, verify=verify, timeout=60, **more)
    except requests.RequestException as error:
        seen["failed"] += 1
        wrong.append(f"{method} {url}: {error}")
        return None
    seen[answer.status_code] += 1
    if answer.status_code >= 400:
        wrong.append(f"{method} {url}: {answer.status_code} {answer.text[:300]}")
    return answer


def ask():
    """A login, and some questions to each service, again and again."""
    host = auth.split("//")[1].split(":5000")[0]
    while not ended.is_set():
        answer = asked("POST", auth.rstrip("/") + "/auth/tokens", json=LOGIN)
        token = answer.headers.get("X-Subject-Token", "") if answer is not None else ""
        for port, path in list(PATHS.items()) * QUESTIONS:
            if not ended.is_set():
                asked("GET", f"https://{host}:{port}{path}", headers={"X-Auth-Token": token})


threads = [threading.Thread(target=ask) for _number in range(int(sys.argv[1]))]
for thread in threads:
    thread.start()
print("ready", flush=True)
for _line in sys.stdin:
    print(sum(seen.values()), flush=True)
ended.set()
for thread in threads:
    thread.join()
print(json.dumps({"seen": dict(seen), "wrong": wrong[:20]}))
