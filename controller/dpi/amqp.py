"""AMQP 0-9-1 as a client sends it: what it publishes to exchanges and consumes from queues.

Knows nothing of connections and brokers. Follows "AMQP: Advanced Message Queuing Protocol, Protocol
Specification, Version 0-9-1" (the section numbers below) and its reference; basic.nack, exchange.bind
and the like are RabbitMQ's.
"""

import re
from collections.abc import Callable, Mapping
from typing import ClassVar

from controller.dpi.cursor import Cursor, text
from controller.dpi.framed import FramedStream
from controller.dpi.message import Malformed, Message, Operation

PORT = 5672
_NAME = "amqp"
_PROTOCOL = b"AMQP\0\0\x09\x01"  # 4.2.2
_LARGEST = 131072  # bytes of a frame, as all clients and brokers propose
_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_END = 0xCE
_REMEMBERED = 1024  # names of queues and consumers, of one connection
_MORE_KEYS = re.compile(rb"\x02CC|\x03BCC")  # fields in a content's header, by which RabbitMQ routes it, too
_OWN = "(own)"  # a queue that has the name that the broker gave it

_PASSIVE, _NOTHING = 1, ""


class _Session:
    """What a connection's earlier methods mean for later ones."""

    def __init__(self) -> None:
        self.user: str | None = None
        self._queues: dict[int, str] = {}  # by channel: the one that was declared last
        self._consumers: dict[tuple[int, str], str] = {}  # by channel and tag: the queue

    def declared(self, channel: int, queue: str) -> None:
        self._queues[channel] = queue
        self._bounded(len(self._queues))

    def queue(self, channel: int, name: str) -> str:
        """1.7.2.1: no name means the last that was declared on the channel."""
        return name or self._queues.get(channel, _OWN)

    def consumes(self, channel: int, tag: str, queue: str) -> None:
        self._consumers[channel, tag] = queue
        self._bounded(len(self._consumers))

    def consumed(self, channel: int, tag: str) -> str:
        return self._consumers.pop((channel, tag), f"consumer {tag}")

    def _bounded(self, number: int) -> None:
        if number > _REMEMBERED:
            raise Malformed(f"amqp: more than {_REMEMBERED} queues or consumers")


_Found = tuple[str, Mapping[str, object]]
_Reads = Callable[[Cursor, _Session, int], _Found]


def _short(cursor: Cursor) -> str:
    """4.2.5.3"""
    return text(cursor.take(cursor.byte()))


def _table(cursor: Cursor) -> None:
    """4.2.5.5"""
    cursor.skip(cursor.big(4))


def _exchange_name(name: str) -> str:
    """So that two names in one resource are told from one."""
    return name.replace(" key ", "\\x20key ")


def _routed(exchange: str, key: str) -> str:
    """3.1.3.1: the default exchange leads to the queue of that name."""
    return f"exchange {_exchange_name(exchange)} key {key}" if exchange else f"queue {key}"


def _rest(cursor: Cursor, session: _Session, channel: int) -> _Found:
    del session, channel
    cursor.skip(cursor.left)
    return _NOTHING, {}


def _start(cursor: Cursor, session: _Session, channel: int) -> _Found:
    """1.4.2.2: who logs in, and how."""
    del channel
    _table(cursor)
    mechanism = _short(cursor)
    response = cursor.take(cursor.big(4))
    _short(cursor)
    parts = response.split(b"\0")
    if mechanism == "PLAIN" and len(parts) == 3:  # RFC 4616, section 2
        session.user = text(parts[1]) or None
    return _NOTHING, {"mechanism": mechanism}


def _virtual_host(cursor: Cursor, session: _Session, channel: int) -> _Found:
    """1.4.2.7"""
    del session, channel
    host = _short(cursor)
    _short(cursor)
    cursor.skip(1)
    return host, {}


def _declare_exchange(cursor: Cursor, session: _Session, channel: int) -> _Found:
    """1.6.2.1"""
    del session, channel
    cursor.skip(2)
    name, kind, bits = _short(cursor), _short(cursor), cursor.byte()
    _table(cursor)
    return f"exchange {name}", {"type": kind, **({"passive": True} if bits & _PASSIVE else {})}


def _exchange(cursor: Cursor, session: _Session, channel: int) -> _Found:
    """1.6.2.3"""
    del session, channel
    cursor.skip(2)
    name = _short(cursor)
    cursor.skip(1)
    return f"exchange {name}", {}


def _bind_exchange(cursor: Cursor, session: _Session, channel: int) -> _Found:
    del session, channel
    cursor.skip(2)
    target, source, key = _short(cursor), _short(cursor), _short(cursor)
    cursor.skip(1)
    _table(cursor)
    return _routed(source, key), {"exchange": target}


def _declare_queue(cursor: Cursor, session: _Session, channel: int) -> _Found:
    """1.7.2.1"""
    cursor.skip(2)
    name, bits = _short(cursor) or _OWN, cursor.byte()
    _table(cursor)
    session.declared(channel, name)
    return f"queue {name}", {"passive": True} if bits & _PASSIVE else {}


def _bind_queue(cursor: Cursor, session: _Session, channel: int) -> _Found:
    """1.7.2.3, 1.7.2.5: only the former says whether to wait."""
    cursor.skip(2)
    queue, exchange, key = session.queue(channel, _short(cursor)), _short(cursor), _short(cursor)
    cursor.skip(cursor.left)
    return _routed(exchange, key), {"queue": queue}


def _queue(cursor: Cursor, session: _Session, channel: int) -> _Found:
    """1.7.2.7, 1.7.2.9, 1.8.3.10"""
    cursor.skip(2)
    name = session.queue(channel, _short(cursor))
    cursor.skip(1)
    return f"queue {name}", {}


def _consume(cursor: Cursor, session: _Session, channel: int) -> _Found:
    """1.8.3.3"""
    cursor.skip(2)
    queue, tag = f"queue {session.queue(channel, _short(cursor))}", _short(cursor)
    cursor.skip(1)
    _table(cursor)
    if tag:
        session.consumes(channel, tag, queue)
    return queue, {"tag": tag} if tag else {}


def _cancel(cursor: Cursor, session: _Session, channel: int) -> _Found:
    """1.8.3.5"""
    tag = _short(cursor)
    cursor.skip(1)
    return session.consumed(channel, tag), {"tag": tag}


def _publish(cursor: Cursor, session: _Session, channel: int) -> _Found:
    """1.8.3.7"""
    del session, channel
    cursor.skip(2)
    exchange, key = _short(cursor), _short(cursor)
    cursor.skip(1)
    return _routed(exchange, key), {}


_CONNECT = Operation.CONNECT
# Class and method (reference, section 1) -> name, what it asks for, what is read from it
_METHODS: Mapping[tuple[int, int], tuple[str, Operation, _Reads]] = {
    (10, 11): ("connection.start-ok", _CONNECT, _start),
    (10, 21): ("connection.secure-ok", _CONNECT, _rest),
    (10, 31): ("connection.tune-ok", _CONNECT, _rest),
    (10, 40): ("connection.open", _CONNECT, _virtual_host),
    (10, 50): ("connection.close", _CONNECT, _rest),
    (10, 51): ("connection.close-ok", _CONNECT, _rest),
    (10, 70): ("connection.update-secret", _CONNECT, _rest),
    (20, 10): ("channel.open", _CONNECT, _rest),
    (20, 20): ("channel.flow", _CONNECT, _rest),
    (20, 21): ("channel.flow-ok", _CONNECT, _rest),
    (20, 40): ("channel.close", _CONNECT, _rest),
    (20, 41): ("channel.close-ok", _CONNECT, _rest),
    (40, 10): ("exchange.declare", Operation.REGISTER, _declare_exchange),
    (40, 20): ("exchange.delete", Operation.DELETE, _exchange),
    (40, 30): ("exchange.bind", Operation.SUBSCRIBE, _bind_exchange),
    (40, 40): ("exchange.unbind", Operation.UNSUBSCRIBE, _bind_exchange),
    (50, 10): ("queue.declare", Operation.REGISTER, _declare_queue),
    (50, 20): ("queue.bind", Operation.SUBSCRIBE, _bind_queue),
    (50, 30): ("queue.purge", Operation.DELETE, _queue),
    (50, 40): ("queue.delete", Operation.DELETE, _queue),
    (50, 50): ("queue.unbind", Operation.UNSUBSCRIBE, _bind_queue),
    (60, 10): ("basic.qos", _CONNECT, _rest),
    (60, 20): ("basic.consume", Operation.SUBSCRIBE, _consume),
    (60, 30): ("basic.cancel", Operation.UNSUBSCRIBE, _cancel),
    (60, 31): ("basic.cancel-ok", _CONNECT, _rest),
    (60, 40): ("basic.publish", Operation.PUBLISH, _publish),
    (60, 70): ("basic.get", Operation.READ, _queue),
    (60, 80): ("basic.ack", _CONNECT, _rest),
    (60, 90): ("basic.reject", _CONNECT, _rest),
    (60, 100): ("basic.recover-async", _CONNECT, _rest),
    (60, 110): ("basic.recover", _CONNECT, _rest),
    (60, 120): ("basic.nack", _CONNECT, _rest),
    (85, 10): ("confirm.select", _CONNECT, _rest),
    (90, 10): ("tx.select", _CONNECT, _rest),
    (90, 20): ("tx.commit", Operation.COMMIT, _rest),
    (90, 30): ("tx.rollback", Operation.ROLLBACK, _rest),
}


class AmqpStream(FramedStream):
    """Reads the methods that one client calls."""

    HEADER: ClassVar[int] = 7  # 4.2.3: type, channel, size

    def __init__(self, resumed: bool = False) -> None:
        super().__init__()
        self._begun = resumed
        self._session = _Session()

    def size(self, header: bytes) -> int:
        if not self._begun:
            return len(_PROTOCOL)
        size = int.from_bytes(header[3:], "big")
        if header[0] not in (_METHOD, _HEADER, _BODY, _HEARTBEAT) or size > _LARGEST:
            raise Malformed(f"amqp: frame of type {header[0]} with {size} bytes")
        return self.HEADER + size + 1

    def read(self, data: bytes, messages: list[Message]) -> bool:
        if not self._begun:
            if data != _PROTOCOL:
                raise Malformed("amqp: another version")
            self._begun = True
            messages.append(self._message("protocol header", _CONNECT, _NOTHING, {}))
            return True
        if data[-1] != _END:  # 4.2.3
            raise Malformed("amqp: a frame without its end")
        if data[0] == _HEADER and _MORE_KEYS.search(data):
            raise Malformed("amqp: a publication that goes to more than the key it names")
        if data[0] == _METHOD:
            cursor = Cursor(_NAME, data, self.HEADER, len(data) - 1)
            messages.append(self._method(cursor, data[1] << 8 | data[2]))
        return True

    def _method(self, cursor: Cursor, channel: int) -> Message:
        called = cursor.big(2), cursor.big(2)
        known = _METHODS.get(called)
        if known is None:
            raise cursor.wrong("method {}.{} from a client".format(*called))
        verb, operation, reads = known
        resource, detail = reads(cursor, self._session, channel)
        cursor.done()
        if "passive" in detail:  # it is only asked whether there is one
            operation = Operation.LOOKUP
        return self._message(verb, operation, resource, detail)

    def _message(
        self, verb: str, operation: Operation, resource: str, detail: Mapping[str, object]
    ) -> Message:
        return Message(_NAME, verb, operation, resource, self._session.user, None, False, detail)


def recognise(prefix: bytes, server_port: int) -> bool | None:
    """By its protocol header, on any port."""
    del server_port
    if not _PROTOCOL.startswith(prefix[: len(_PROTOCOL)]):
        return False
    return True if len(prefix) >= len(_PROTOCOL) else None
