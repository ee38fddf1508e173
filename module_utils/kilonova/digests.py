"""Digests by which two sides see that they have the same: all that say something of files and units are made here."""

import hashlib
import json


def plain(text):
    """Digest of a section's text, for files that root alone reads: what it covers may be a weak password."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def keyed(content, key):
    """Digest of bytes that says nothing to who does not have the key of this run."""
    return hashlib.blake2b(content, key=key, digest_size=16).hexdigest()


def keyed_sections(sections, key):
    """One keyed digest of all sections that a unit uses; the plain digest of a section that it does not use is empty."""
    return keyed(json.dumps(sorted((name, digest) for name, digest in sections.items() if digest)).encode(), key)
