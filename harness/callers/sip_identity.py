"""Who calls over SIP, for whom, by which proxy: what INVITE and REGISTER say of it, from the scenario's words."""

from typing import Any

from harness.callers.sip_accounts import Account
from harness.model.plan import SipSpec, TargetSpec
from harness.protocols.sip.flow import Flow, host_port
from harness.protocols.sip.uri import Uri


def routes_of(spec: SipSpec) -> tuple[str, ...]:
    """Return the Route values that lead to the outbound proxy."""
    return () if spec.proxy is None else (f"<{spec.proxy}>",)


def from_of(spec: SipSpec, uri: Uri, flow: Flow) -> str:
    """Return From: what the scenario says, the account at the target's domain, or this machine."""
    if spec.from_uri is not None:
        return f"<{spec.from_uri}>"
    if spec.username is not None:
        return f"<sip:{spec.username}@{uri.host}>"
    return f"<sip:callquake@{host_port(flow.local)}>"


def invitation(spec: SipSpec, target: TargetSpec, uri: Uri, flow: Flow, name: str, body: bytes) -> dict[str, Any]:
    """Return what the INVITE of the call `name` says besides where it goes, as UserAgent.invite takes it."""
    return {
        "body": body,
        "from_": from_of(spec, uri, flow),
        "headers": (("X-Call-Id", name), *target.headers.items()),
        "routes": routes_of(spec),
        "session_expires_s": spec.session_expires_s,
        "prack": "supported" if spec.prack else "off",
    }


def account_of(spec: SipSpec, uri: Uri) -> Account:
    """Return what is registered: the caller's address, at the target's domain."""
    port = f":{uri.port}" if uri.port is not None else ""
    record = spec.from_uri or f"sip:{spec.username or 'callquake'}@{uri.host}"
    return Account(f"{uri.scheme}:{uri.host}{port}", record, routes_of(spec), spec.username)
