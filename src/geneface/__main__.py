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
    except Exception as error:
        # Not even the command line could be loaded.
        from geneface.apps.causes import explain

        status, sentence = explain(error)
        process.say(f"geneface: {sentence}")
        process.leave(status)


if __name__ == "__main__":
    main()
