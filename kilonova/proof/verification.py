"""Put together what the cloud's hosts say about a verification: the rows of one module, the logs and disks of all hosts."""

from __future__ import annotations

from typing import Any

# Lines of one host that a row shows at most.
LINES = 12
# Warnings that say nothing about what went wrong.
NOISE = ("Using RPCClient manually", "Deprecated: ", "monkey patching", "CryptographyDeprecationWarning")


def assemble(result: dict[str, Any], hosts: dict[str, dict[str, Any]], warn_days: int = 30) -> dict[str, Any]:
    """Return the verification for the report: rows with their log lines, the cloud, the hosts.

    `result` is what verify_cloud returned, `hosts` maps a host to what verify_host returned there. `warn_days` before its end, a
    certificate is one that ends soon.
    """
    rows = [explained(row, hosts) for row in result["rows"]]
    if any(row["name"] == "delete" and row["status"] != "skipped" for row in rows) or result.get("servers"):
        rows.append(disk_row(result.get("servers", []), hosts))
    counts = {status: sum(row["status"] == status for row in rows) for status in ("passed", "failed", "skipped")}
    return {
        "name": result["name"],
        "started": result["begun"],
        "seconds": result["seconds"],
        "stopped": result.get("stopped", False),
        "counts": counts,
        "rows": rows,
        "cloud": result.get("cloud", {}),
        "warn_days": int(warn_days),
        "hosts": {host: {**said.get("facts", {}), "units": said.get("units", [])} for host, said in hosts.items()},
    }


def explained(row: dict[str, Any], hosts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A failed row with the log lines of its requests from every host, and the units that do not run."""
    if row["status"] != "failed":
        return row
    # Of what was done to the instance before, only what failed.
    calls = [*row.get("requests", []), *(action for action in row.get("actions", []) if action.get("message"))]
    wanted = [call["request_id"] for call in calls if call.get("request_id")]
    logs: dict[str, list[str]] = {}
    advice: list[str] = []
    is_explained = False
    for host, said in hosts.items():
        lines = [line for request in dict.fromkeys(wanted) for line in said.get("logs", {}).get(request, [])]
        lines = [line for line in lines if not any(word in line for word in NOISE)]
        # Errors first: a request that failed late has many quiet lines before.
        loud = [line for line in lines if any(word in line for word in (" ERROR ", " CRITICAL ", " WARNING "))]
        if chosen := (loud or lines)[-LINES:]:
            logs[host] = chosen
        is_explained = is_explained or bool(loud)
        advice += [item for request in wanted for item in said.get("advice", {}).get(request, [])]
    if not is_explained:
        # Nothing went wrong with these requests that anybody logged: then the errors of the same time are the next best thing.
        for host, said in hosts.items():
            if said.get("errors"):
                logs[host] = [*logs.get(host, [])[-LINES // 2 :], *said["errors"][-LINES // 2 :]]
    if not is_explained or row.get("fault"):
        # The traceback that ended in the fault has no request id.
        advice += [item for said in hosts.values() for item in said.get("errors_advice", [])]
    stopped = [f"{host}: {unit}" for host, said in hosts.items() for unit in said.get("units", [])]
    return {**row, "logs": logs, "look_at": list(dict.fromkeys([*stopped, *row.get("look_at", []), *advice]))}


def disk_row(servers: list[str], hosts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Whether the compute nodes kept something of the instances."""
    left = [f"{host}: {item}" for host, said in hosts.items() for item in said.get("left", [])]
    return {
        "name": "disk",
        "title": "Nothing is left on the disks and in libvirt of the compute nodes",
        "status": "failed" if left else "passed",
        "detail": f"{len(servers)} instances looked for on {len(hosts)} hosts",
        "reason": "; ".join(left),
        "started": 0.0,
        "seconds": 0.0,
        **({"look_at": ["nova-compute.log of that host"]} if left else {}),
    }


def lines(verification: dict[str, Any]) -> list[str]:
    """The verification as text: one line a row, and what is known of each failure."""
    width = max(len(row["name"]) for row in verification["rows"])
    text = []
    for row in verification["rows"]:
        words = row["reason"] if row["status"] != "passed" else row["detail"]
        text.append(f"{row['status']:<8}{row['name']:<{width}} {row['seconds']:6.1f} s  {words}")
        text += [f"{'':8}fault: {row['fault']}"] if row.get("fault") else []
        text += [f"{'':8}look at: {advice}" for advice in row.get("look_at", [])]
        for host, found in row.get("logs", {}).items():
            text += [f"{'':8}{host}: {line}" for line in found]
    counts = verification["counts"]
    summary = ", ".join(f"{number} {status}" for status, number in counts.items())
    return [*text, f"{summary}, {verification['seconds']:.0f} s"]
