"""`python -m controller` is the command `graphwall`."""

import sys


def main() -> int:
    """Carry out one command; `dissect` without loading what only the others need."""
    if sys.argv[1:2] == ["dissect"]:
        from controller.commands import dissect  # noqa: PLC0415  # starts in a third of the time

        return dissect.main(sys.argv[2:])
    from controller import cli  # noqa: PLC0415

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
