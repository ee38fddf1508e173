"""The scenario's hosts, its secrets and its cloud, for the tests in this directory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import openstack
import pytest
import testinfra
import yaml
from trust import hostile

import kilonova.run.secrets

PROJECT = Path(__file__).resolve().parents[3]
INVENTORY = Path(os.environ["KILONOVA_INVENTORY"])
SANDBOX, NETWORK = os.environ["KILONOVA_SANDBOX"], os.environ["KILONOVA_NETWORK"]


def _host(name: str):
    return testinfra.get_host(f"podman://{SANDBOX}-{name}")


@pytest.fixture(scope="session")
def controller():
    """The controller node."""
    return _host("controller")


@pytest.fixture(scope="session")
def compute1():
    """The compute node."""
    return _host("compute1")


@pytest.fixture(scope="session")
def addresses() -> dict[str, str]:
    """Management addresses."""
    return {"controller": f"{NETWORK}.0.11", "compute1": f"{NETWORK}.0.21"}


@pytest.fixture(scope="session")
def inventory_directory() -> Path:
    """The inventory that was deployed."""
    return INVENTORY


@pytest.fixture(scope="session")
def secrets() -> dict[str, set[str]]:
    """The inventory's secrets, in every form that they may be written in."""
    return {name: hostile.words_of({name: value}) for name, value in kilonova.run.secrets.values(INVENTORY).items()}


@pytest.fixture(scope="session")
def cloud(controller, tmp_path_factory):
    """An administrator's connection, by the clouds.yaml that the installation wrote."""
    entry = yaml.safe_load(controller.file("/etc/openstack/clouds.yaml").content_string)["clouds"]["admin"]
    authority = tmp_path_factory.mktemp("authority") / "authority.pem"
    authority.write_text(controller.file(entry["cacert"]).content_string)
    return openstack.connect(
        load_yaml_config=False, load_envvars=False, auth=entry["auth"], region_name=entry["region_name"], cacert=str(authority)
    )


@pytest.fixture(scope="session")
def get(controller):
    """GET a URL from the controller, which is the gateway of the provider network; returns (status, text)."""
    program = (
        "import json,ssl,sys,urllib.request,urllib.error\n"
        "known=ssl.create_default_context(cafile='/etc/ssl/certs/openstack-authority.pem')\n"
        "try:\n r=urllib.request.urlopen(sys.argv[1],timeout=5,context=known)\n"
        " print(json.dumps([r.status,r.read(4096).decode()]))\n"
        "except urllib.error.HTTPError as e: print(json.dumps([e.code,e.read(4096).decode()]))\n"
        "except OSError as e: print(json.dumps([0,str(e)]))\n"
    )

    def fetch(url: str) -> tuple[int, str]:
        return tuple(json.loads(controller.check_output("python3 -c %s %s", program, url)))

    return fetch
