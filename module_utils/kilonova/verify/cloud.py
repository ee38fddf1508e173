"""A connection to the cloud that remembers every call's request id, by openstacksdk of any release."""

from __future__ import annotations

import threading
import time
from urllib.parse import urlsplit

from ..http import connect
from .engine import Failure

# What a row's failure keeps of its calls.
KEPT_CALLS = 12
# Train's: flavors inside servers, hosts for administrators, faults; every Nova since has it.
COMPUTE_MICROVERSION = "2.79"
PLACEMENT_MICROVERSION = "1.28"
_IDS = ("x-openstack-request-id", "x-compute-request-id")


class ApiError(Failure):
    """An answer that says no."""

    def __init__(self, status: int, message: str, call: str):
        """Say what was asked and what was answered."""
        super().__init__(f"{call}: HTTP {status}: {message}")
        self.status, self.message = status, message


class Calls:
    """The calls of each thread, newest last."""

    def __init__(self):
        """Begin with none."""
        self._local = threading.local()

    def start(self) -> None:
        """Forget this thread's calls."""
        self._local.calls, self._local.notes = [], []

    def add(self, call: dict) -> None:
        """Keep a call of this thread."""
        if not hasattr(self._local, "calls"):
            self.start()
        self._local.calls.append(call)

    def note(self, text: str) -> None:
        """Keep a remark on this thread's row."""
        if not hasattr(self._local, "calls"):
            self.start()
        if text not in self._local.notes:
            self._local.notes.append(text)

    def notes(self) -> list[str]:
        """Remarks of this thread."""
        return list(getattr(self._local, "notes", []))

    def kept(self) -> list[dict]:
        """Calls worth showing: those that changed something or were refused, and the last one."""
        calls = getattr(self._local, "calls", [])
        worth = [call for call in calls if not call["reads"] or call["status"] >= 400]
        return [{key: value for key, value in call.items() if key != "reads"} for call in (worth or calls[-1:])[-KEPT_CALLS:]]


class Cloud:
    """One account's view of the cloud."""

    def __init__(self, auth: dict, region: str, calls: Calls, cacert: str = ""):
        """Connect lazily; nothing is asked yet."""
        import openstack  # not at the top: the unit tests need no cloud

        options = {"cacert": cacert} if cacert else {}
        self.calls = calls
        self.connection = connect(
            openstack,
            auth=auth,
            region_name=region,
            app_name="kilonova-verify",
            compute_api_version="2",
            image_api_version="2",
            network_api_version="2",
            identity_api_version="3",
            api_timeout=150,
            **options,
        )
        self.connection.session.session.hooks["response"].append(self._seen)

    def _seen(self, response, *_args, **_kwargs) -> None:
        path = urlsplit(response.url).path
        if path.endswith("/auth/tokens") and response.request.method == "POST":
            return
        # Asking for console output is a POST, but it changes nothing.
        reads = response.request.method in ("GET", "HEAD") or "os-getConsoleOutput" in str(response.request.body or "")
        self.calls.add(
            {
                "reads": reads,
                "method": response.request.method,
                "path": path,
                "status": response.status_code,
                "request_id": next((response.headers[name] for name in _IDS if name in response.headers), ""),
                "seconds": round(response.elapsed.total_seconds(), 2),
            }
        )

    def warm_up(self) -> None:
        """Make what openstacksdk makes at first use, while there is one thread."""
        for service in ("compute", "network", "image", "identity", "placement"):
            getattr(self.connection, service).get_endpoint_data()

    def call(self, service: str, method: str, path: str, body=None, ok=(), raw: bool = False, **options):
        """Ask, and return the decoded answer (None where it is empty); `ok` lists statuses of an answer that is no error."""
        from keystoneauth1 import exceptions

        proxy = getattr(self.connection, service)
        if service == "compute":
            options.setdefault("microversion", COMPUTE_MICROVERSION)
        elif service == "placement":
            options.setdefault("microversion", PLACEMENT_MICROVERSION)
        if body is not None:
            options["json"] = body
        name = f"{method} {service} {path.partition('?')[0]}"
        for attempt in (1, 2, 3):
            try:
                response = proxy.request(path, method, **options)
                break
            except exceptions.ConnectFailure as error:
                # Only a question may be asked again: nobody knows how much of a command was done.
                if method != "GET" or attempt == 3:
                    raise Failure(f"{name}: {error}") from error
                self.calls.note(f"{name}: {error.__class__.__name__}, asked again")
                time.sleep(1)
            except exceptions.ClientException as error:
                raise Failure(f"{name}: {error.__class__.__name__}: {error}") from error
        if response.status_code >= 400 and response.status_code not in ok:
            raise ApiError(response.status_code, reason_of(response), name)
        if raw:
            return response
        return response.json() if response.content and response.status_code < 400 else None

    def get(self, service: str, path: str, **options):
        """GET."""
        return self.call(service, "GET", path, **options)

    def post(self, service: str, path: str, body, **options):
        """POST."""
        return self.call(service, "POST", path, body, **options)

    def delete(self, service: str, path: str, **options):
        """DELETE; what is gone already is no error."""
        return self.call(service, "DELETE", path, ok=(404,), **options)


def reason_of(response) -> str:
    """The message in an error's body: each service wraps it in its own way."""
    try:
        body = response.json()
    except ValueError:
        return response.text.strip()[:300] or response.reason
    if isinstance(body, dict):
        for value in (*body.values(), body):
            if isinstance(value, dict) and value.get("message"):
                return str(value["message"])
            if isinstance(value, list) and value and isinstance(value[0], dict):
                return str(value[0].get("detail") or value[0])
            if isinstance(value, str):
                return value
    return str(body)[:300]
