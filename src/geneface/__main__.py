"""`geneface` and `python -m geneface`. Light: the process is made safe before anything heavy is imported."""

from __future__ import annotations

from geneface.apps import process


def main() -> None:
    """Entry point of the `geneface` script."""
    try:
        process.protect()
        from geneface.apps.cli import main as run

        run()
    except KeyboardInterrupt:
        # Commands say it themselves; here nothing has begun yet.
        process.say("geneface: interrupted: nothing was written")
        process.leave(process.interrupted_status())
    except SystemExit as stop:
        process.leave(stop.code)


if __name__ == "__main__":
    main()
