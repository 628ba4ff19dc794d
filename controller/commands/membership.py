"""The commands about people and programs: what they ask the API, and what they print.

Knows nothing of how anybody signs in.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Group, RenderableType

from controller.commands.client import Client, ClientError, segment
from controller.commands.display import line, plain, row, table, when
from controller.people import Role

Json = Mapping[str, Any]
Arguments = argparse.Namespace
ROLES = tuple(role.value for role in Role)


def people(answers: tuple[Json, Json, Json]) -> RenderableType:
    """Who may sign in, on which devices they are, and who is invited."""
    found, sessions, invitations = answers
    if not found["people"] and not invitations["invitations"]:
        return plain("Nobody may sign in yet; make a link with: graphwall people invite NAME --role manager")
    shown = table("Id", "Name", "Role", "Since")
    for person in found["people"]:
        row(shown, person["id"], person["name"], person["role"], when(person["created"]))
        for session in sessions["sessions"]:
            if session["person"]["id"] == person["id"]:
                row(
                    shown,
                    f"  {session['id']}",
                    f"  {session['device_label']}",
                    "",
                    when(session["last_seen"]),
                )
    for one in invitations["invitations"]:
        row(
            shown,
            one["id"],
            one["name"] or "(anybody)",
            f"invited as {one['role']}",
            f"until {when(one['expires'])}",
        )
    return shown


def tokens(answer: Json) -> RenderableType:
    if not answer["tokens"]:
        return plain("No program has a token; make one with: graphwall tokens add NAME --role viewer")
    shown = table("Id", "Name", "Role", "Made by", "Since")
    for one in answer["tokens"]:
        row(shown, one["id"], one["name"], one["role"], one["by"], when(one["created"]))
    return shown


def add_people(parser: argparse.ArgumentParser) -> None:
    """The arguments of `graphwall people`."""
    parser.add_argument("what", nargs="?", default="list", choices=tuple(_PEOPLE), help="default: list")
    parser.add_argument("who", nargs="?", metavar="NAME|ID", help="whom to invite; else an id of the list")
    parser.add_argument("--role", choices=ROLES, default=None, help="default for an invitation: resident")
    parser.add_argument("--hours", type=float, default=48.0, help="that an invitation is valid, up to 168")


def add_tokens(parser: argparse.ArgumentParser) -> None:
    """The arguments of `graphwall tokens`."""
    parser.add_argument("what", nargs="?", default="list", choices=("list", "add", "remove"))
    parser.add_argument("who", nargs="?", metavar="NAME|ID", help="of the program; else an id of the list")
    parser.add_argument("--role", choices=ROLES, default=Role.VIEWER.value, help="default: viewer")


def _list(client: Client, _: Arguments) -> tuple[Any, RenderableType]:
    answers = client.get("people"), client.get("sessions"), client.get("invitations")
    merged = {key: value for answer in answers for key, value in answer.items()}
    return merged, people(answers)


def _invite(client: Client, arguments: Arguments) -> tuple[Any, RenderableType]:
    body = {"name": arguments.who or "", "role": arguments.role or "resident", "hours": arguments.hours}
    made = client.post("people/invitations", body)
    text = f"This link signs in one device as {body['role']}, once, until {when(made['expires'])}:"
    return made, plain(text)


def _role(client: Client, arguments: Arguments) -> tuple[Any, RenderableType]:
    if arguments.role is None:
        raise ClientError("say which role: graphwall people role ID --role manager")
    changed = client.patch(f"people/{segment(_id(arguments))}", {"role": arguments.role})
    return changed, line(plain(changed["name"], "bold"), f" is {changed['role']} now.")


def _gone(where: str, text: str) -> Callable[[Client, Arguments], tuple[Any, RenderableType]]:
    def remove(client: Client, arguments: Arguments) -> tuple[Any, RenderableType]:
        return client.delete(f"{where}/{segment(_id(arguments))}"), plain(text)

    return remove


def _id(arguments: Arguments) -> str:
    if not arguments.who:
        raise ClientError(f"say which one, by its id: graphwall {arguments.verb} {arguments.what} ID")
    return str(arguments.who)


_PEOPLE: Mapping[str, Callable[[Client, Arguments], tuple[Any, RenderableType]]] = {
    "list": _list,
    "invite": _invite,
    "role": _role,
    "remove": _gone("people", "Removed, and signed out everywhere."),
    "sign-out": _gone("sessions", "Signed out on that device."),
    "withdraw": _gone("invitations", "The link is worth nothing any more."),
}


def carry_out_people(client: Client, arguments: Arguments) -> tuple[Any, RenderableType]:
    """The API's answer, and what to print of it."""
    return _PEOPLE[arguments.what](client, arguments)


def carry_out_tokens(client: Client, arguments: Arguments) -> tuple[Any, RenderableType]:
    """The API's answer, and what to print of it."""
    if arguments.what == "list":
        answer = client.get("tokens")
        return answer, tokens(answer)
    if arguments.what == "remove":
        return _gone("tokens", "That program may not ask any more.")(client, arguments)
    made = client.post("tokens", {"name": _id(arguments), "role": arguments.role})
    return made, Group(plain("The token, shown this once:"), plain(f"  {made['token']}"))
