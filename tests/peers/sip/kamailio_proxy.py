"""kamailio as registrar and proxy on loopback: digests, Record-Route, and media through rtpengine if asked to."""

import contextlib

from foreign import free_port, installed, is_listening, running

DOMAIN, USER, PASSWORD = "callquake.test", "load", "s3cret"
CONFIG = """\
#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=2
tcp_children=2
auto_aliases=no
alias="{domain}"
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/aarch64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "xlog.so"
{modules}
modparam("rr", "enable_double_rr", 1)
modparam("usrloc", "db_mode", 0)

request_route {{
    xlog("L_ERR", "SAW $rm $ru over $proto routes=$hdr(Route)\\n");
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (has_totag()) {{
        if (!loose_route()) {{
            if (is_method("ACK") && t_check_trans()) {{ t_relay(); exit; }}
            sl_send_reply("404", "Not here");
            exit;
        }}
        xlog("L_ERR", "LOOSE $rm\\n");
        {media}
        if (is_method("INVITE|UPDATE")) {{ record_route(); t_on_reply("ANSWERS"); }}
        t_relay();
        exit;
    }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
    t_check_trans();
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("{domain}", "{password}", "0")) {{ www_challenge("{domain}", "1"); exit; }}
        xlog("L_ERR", "REGISTERED $tu as $ct\\n");
        save("location");
        exit;
    }}
    if (!pv_proxy_authenticate("{domain}", "{password}", "0")) {{ proxy_challenge("{domain}", "1"); exit; }}
    xlog("L_ERR", "LETIN $au\\n");
    consume_credentials();
    if (is_method("INVITE")) {{
        if (!registered("location", "$fu")) {{ sl_send_reply("403", "Register first"); exit; }}
        record_route();
        {media}
    }}
    loose_route();
    $ru = "sip:agent@127.0.0.1:{agent};transport={transport}";
    $du = $null;
    t_on_reply("ANSWERS");
    if (!t_relay()) sl_reply_error();
}}

onreply_route[ANSWERS] {{
    {answers}
    xlog("L_ERR", "ANSWER $rs\\n");
}}
"""


class Proxy:
    """`process` and where it is."""

    def __init__(self, process, port):
        self.process, self.port = process, port

    def sip(self, transport, **settings):
        """Return what a caller has to know to call through it."""
        suffix = "" if transport == "udp" else f";transport={transport}"
        return {
            "proxy": f"sip:127.0.0.1:{self.port}{suffix};lr",
            "transport": transport,
            "username": USER,
            "password": PASSWORD,
            "register": True,
            **settings,
        }

    @property
    def url(self):
        return f"sip:agent@{DOMAIN}"


@contextlib.contextmanager
def kamailio(folder, agent, transport, *, rtpengine=None, to_caller="", to_agent=""):
    """Run it before the agent at port `agent`; `rtpengine`: its control port, with words for each side's answers."""
    program = installed("kamailio", "kamailio")
    port = free_port()
    words = {"domain": DOMAIN, "password": PASSWORD, "port": port, "agent": agent, "transport": transport}
    words |= {"modules": "", "media": "", "answers": ""}
    if rtpengine is not None:
        common = "replace-origin replace-session-connection ICE=remove"
        words["modules"] = (
            'loadmodule "rtpengine.so"\n' + f'modparam("rtpengine", "rtpengine_sock", "udp:127.0.0.1:{rtpengine}")'
        )
        words["media"] = (
            f'if (is_method("INVITE") && has_body("application/sdp")) rtpengine_offer("{common} {to_agent}");\n'
            'if (is_method("BYE")) rtpengine_delete();'
        )
        words["answers"] = f'if (has_body("application/sdp")) rtpengine_answer("{common} {to_caller}");'
    (folder / "kamailio.cfg").write_text(CONFIG.format(**words))
    command = [program, "-f", folder / "kamailio.cfg", "-DD", "-E", "-m", "64", "-M", "8", "-Y", folder]
    with running(command, folder, "kamailio") as process:
        process.wait_for(lambda: is_listening(port), "listening")
        yield Proxy(process, port)
