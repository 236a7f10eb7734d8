"""Prints the hash of what a URL gives, several times: fetch.py URL TIMES."""
import hashlib
import sys
import urllib.request

for _ in range(int(sys.argv[2])):
    with urllib.request.urlopen(sys.argv[1]) as answer:
        print(hashlib.sha256(answer.read()).hexdigest())
