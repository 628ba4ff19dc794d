"""What Graphwall is compared with: a learning switch on os-ken that holds every message for its controller.

No flow is ever installed: each packet goes to the controller, which sends it out where it learnt its
destination to be. So has it to be where a controller must see each message. `packet_in.py PORT` runs it.
"""

import sys
import threading
from typing import Any

from os_ken import cfg
from os_ken.base import app_manager  # must come before os_ken.controller
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.ofproto import ofproto_v1_3 as ofp


class LearningSwitch(app_manager.OSKenApp):
    OFP_VERSIONS = (ofp.OFP_VERSION,)

    def __init__(self, *arguments: Any, **others: Any) -> None:
        super().__init__(*arguments, **others)
        self._ports: dict[bytes, int] = {}

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def _connected(self, ev: Any) -> None:
        path = ev.msg.datapath
        parser = path.ofproto_parser
        actions = [parser.OFPActionOutput(ofp.OFPP_CONTROLLER, ofp.OFPCML_NO_BUFFER)]
        instructions = [parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions)]
        path.send_msg(parser.OFPFlowMod(path, priority=0, match=parser.OFPMatch(), instructions=instructions))

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def _packet(self, ev: Any) -> None:
        message, path = ev.msg, ev.msg.datapath
        frame, port = message.data, message.match["in_port"]
        self._ports[frame[6:12]] = port
        actions = [path.ofproto_parser.OFPActionOutput(self._ports.get(frame[:6], ofp.OFPP_FLOOD))]
        path.send_msg(
            path.ofproto_parser.OFPPacketOut(path, ofp.OFP_NO_BUFFER, port, actions, data=bytes(frame))
        )


def main(port: int) -> None:
    cfg.CONF([], project="packet-in", default_config_files=[], default_config_dirs=[])
    cfg.CONF.set_override("ofp_listen_host", "127.0.0.1")
    cfg.CONF.set_override("ofp_tcp_listen_port", port)
    manager = app_manager.AppManager()
    manager.load_apps(["tests.benchmarks.packet_in", "os_ken.controller.ofp_handler"])
    manager.instantiate_apps()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))
