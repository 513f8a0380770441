"""Where SIP callers reach us: the addresses that the options ask for, bound and named as URIs."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from harness.protocols.sip.flow import host_port
from harness.signalling.tls import server_context
from target_stack.edge.behind import SipSockets
from target_stack.edge.sip_options import SipOptions


@dataclass(frozen=True, slots=True)
class SipAddresses:
    """What is listened on, as URIs without a user."""

    udp: str = ""
    tcp: str = ""
    tls: str = ""


async def listen(
    sockets: SipSockets, options: SipOptions, keep_tls: Callable[[ssl.SSLContext], None] | None = None
) -> SipAddresses:
    """Have `sockets` listen; return where. OSError when an address cannot be bound, ScenarioError for a certificate.

    After an error they are closed. `keep_tls` is given what TLS is accepted with.
    """
    udp, tcp, tls = "", "", ""
    try:
        if options.port is not None:
            bound = await sockets.listen(options.host, options.port)
            address = host_port((options.host, bound[1]))
            udp, tcp = f"sip:{address}", f"sip:{address};transport=tcp"
        if options.tls_port is not None and options.certificate is not None and options.key is not None:
            context = server_context(options.certificate, options.key)
            bound = await sockets.listen_tcp(options.host, options.tls_port, tls=context)
            if keep_tls is not None:
                keep_tls(context)
            tls = f"sips:{host_port((options.host, bound[1]))}"
    except BaseException:
        await sockets.aclose()
        raise
    return SipAddresses(udp, tcp, tls)
