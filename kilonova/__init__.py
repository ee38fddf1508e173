"""Kilonova: configuration of OpenStack Nova as data, for every release from Ocata to 2026.2."""

__version__ = "0.1.0"
