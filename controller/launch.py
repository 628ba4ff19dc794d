"""Starts the os-ken application in this process, and stops it without leaving anything behind.

Knows os-ken's options and its AppManager; nothing of what the application does.
"""

import errno
import logging
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from os_ken import cfg
from os_ken.base.app_manager import AppManager
from os_ken.lib import hub

from controller.app import GraphwallApp
from controller.config import Config, OpenFlow
from controller.keeper.backlog import Store
from controller.keeper.keeper import Core, Inspector
from controller.switches.gate import Gate

log = logging.getLogger(__name__)

_APPLICATION = "controller.app"
_OFP_HANDLER = "os_ken.controller.ofp_handler"
_WAITING = 50  # connections that wait for accept()


class LaunchError(Exception):
    """The controller cannot start. The message says what, where and what to do."""


@dataclass(slots=True)
class Running:
    """A controller that runs. `address` and `port`: where it listens for switches."""

    app: GraphwallApp
    address: str
    port: int
    _manager: AppManager
    _gate: Gate

    def stop(self) -> None:
        """Save, end all connections and threads; within a second. May be called twice."""
        self.app.finish()
        self._gate.end()
        self._manager.close()
        cfg.CONF.reset()
        for name in _OPTIONS:
            cfg.CONF.clear_override(name)


def start(config: Config, firewall: Core, store: Store | None, inspector: Inspector | None) -> Running:
    """Listen for switches and run. Raises LaunchError when that cannot be; then nothing is left running."""
    if hub.HUB_TYPE != "native":
        raise LaunchError(f"OSKEN_HUB_TYPE={hub.HUB_TYPE} is set; Graphwall needs native threads: unset it")
    tls = _tls(config.openflow)
    listener = _listen(config.openflow, tls is not None)
    address, port = listener.getsockname()[:2]
    _set_options(config.openflow, port, tls is not None)
    manager = AppManager()
    try:
        manager.load_apps([_APPLICATION])
        manager.applications_cls[_OFP_HANDLER] = Gate
        manager.instantiate_apps(
            firewall=firewall,
            store=store,
            inspector=inspector,
            drop_fragments=config.fragments == "drop",
            listener=listener,
            tls=tls,
        )
    except BaseException:
        listener.close()
        manager.close()
        raise
    app = manager.applications[GraphwallApp.__name__]
    gate = next(a for a in manager.applications.values() if isinstance(a, Gate))
    log.info("listening for switches on %s port %d%s", address, port, " with TLS" if tls else "")
    return Running(app, address, port, manager, gate)


_OPTIONS = (
    "ofp_listen_host",
    "ofp_tcp_listen_port",
    "ofp_ssl_listen_port",
    "ctl_privkey",
    "ctl_cert",
    "ca_certs",
)


def _set_options(openflow: OpenFlow, port: int, tls: bool) -> None:
    """What any os-ken application finds in its configuration."""
    cfg.CONF([], project="graphwall", default_config_files=[], default_config_dirs=[])
    ports = (None, port) if tls else (port, None)
    values = (openflow.listen, *ports, openflow.key, openflow.certificate, openflow.ca)
    for name, value in zip(_OPTIONS, values, strict=True):
        cfg.CONF.set_override(name, value)


def _listen(openflow: OpenFlow, tls: bool) -> socket.socket:
    host, port, key = openflow.listen, openflow.port, "openflow.port"
    if tls:
        port, key = openflow.tls_port, "openflow.tls_port"
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_WAITING)
    except OSError as error:
        listener.close()
        match error.errno:
            case errno.EADDRINUSE:
                text = (
                    f"port {port} on {host} is in use, perhaps by another controller (ss -ltnp shows by "
                    f"which program): stop that one, or set {key} in site.yaml"
                )
            case errno.EADDRNOTAVAIL:
                text = f"{host} is no address of this machine: set openflow.listen in site.yaml"
            case errno.EACCES:
                text = f"port {port} is only for root: set {key} in site.yaml to one above 1023"
            case _:
                text = f"cannot listen on {host} port {port}: {error.strerror}: set {key} in site.yaml"
        raise LaunchError(text) from None
    return listener


def _tls(openflow: OpenFlow) -> ssl.SSLContext | None:
    """The context that asks a switch for a certificate of our CA; None: plain TCP."""
    key, certificate, ca = openflow.key, openflow.certificate, openflow.ca
    if key is None or certificate is None or ca is None:
        return None
    for name, path in (("key", key), ("certificate", certificate), ("ca", ca)):
        if not os.access(path, os.R_OK):
            there = "is not readable" if Path(path).exists() else "does not exist"
            raise LaunchError(f"{path} {there}: correct openflow.{name} in site.yaml")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    wrong = f"{certificate} and {key} are no certificate with its key, in PEM"
    remedy = "correct openflow.certificate and openflow.key in site.yaml"
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
        wrong, remedy = f"{ca} is no CA certificate in PEM", "correct openflow.ca in site.yaml"
        context.load_verify_locations(ca)
    except (OSError, ValueError) as error:
        raise LaunchError(f"{wrong} ({getattr(error, 'reason', None) or error}): {remedy}") from None
    return context


def _no_password() -> str:
    """Else OpenSSL would ask the terminal for the password of a key."""
    raise ValueError("the key is encrypted")
