"""What passes on a network in the clear: counts packets, and those that have one of some words.

python wire.py INTERFACE < JSON with words; ends when its standard input does, and prints {"packets": ..., word: count}.
"""

import json
import select
import socket
import sys

EVERY = 3
"""ETH_P_ALL (packet(7))."""


def main():
    """Watch until the input ends."""
    interface, words = sys.argv[1], json.loads(sys.stdin.readline())
    seen = {"packets": 0, **dict.fromkeys(words, 0)}
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY)) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 25)
        wire.bind((interface, 0))
        print("ready", flush=True)
        while True:
            ready, _write, _error = select.select([wire, sys.stdin], [], [])
            if wire in ready:
                packet = wire.recv(65535)
                seen["packets"] += 1
                for word in words:
                    seen[word] += word.encode("latin-1") in packet
            elif sys.stdin in ready:
                break
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
