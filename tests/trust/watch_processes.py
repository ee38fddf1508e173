"""Look at every process of the machine, many times a second, for words: each find is a line, `argv COMMAND` or `environ COMMAND`.

Words come line by line until an empty line; the next line ends it. No word is ever in an argument of this program.
"""

import os
import select
import sys
import time

# Seconds in which a new process is looked at each time, since it may still become another program; and between two looks at all.
YOUNG, ALL = 2, 1
STAGES = {"cmdline": "argv", "environ": "environ"}


def read(pid: str, kind: str) -> bytes:
    """A file of a process; empty when it has ended."""
    try:
        with open(f"/proc/{pid}/{kind}", "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def main() -> None:
    """Watch until told to stop."""
    words = []
    for line in sys.stdin:
        if line == "\n":
            break
        words.append(line.rstrip("\n").encode())
    found, first, looked = set(), {}, 0.0
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        now = time.monotonic()
        first = {pid: first.get(pid, now) for pid in filter(str.isdecimal, os.listdir("/proc"))}
        everything = now - looked > ALL
        looked = now if everything else looked
        for pid in (pid for pid, began in first.items() if everything or now - began < YOUNG):
            for kind, name in STAGES.items():
                text = read(pid, kind)
                for number, word in enumerate(words):
                    if word in text:
                        text = text.replace(word, b"(secret %d)" % number)
                        command = read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")[:160].replace("\n", " ")
                        for other in words:
                            command = command.replace(other.decode(), "(secret)")
                        found.add(f"{name} {command}")
    for line in sorted(found):
        print(line)


if __name__ == "__main__":
    main()
