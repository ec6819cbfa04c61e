"""Install and try the package on the Python of another Debian release: `make other-python`. Debian or Ubuntu, as root.

    python tests/other_python/run.py --suite trixie --video my.mp4 --consent 'I am the person in the video and agree'

`debootstrap` makes the release in a folder, which is kept for the next run. In it: a wheel, or the one given by --wheel,
in a new virtual environment without any extra; `geneface doctor` and `geneface demo`; with a video also check, prepare,
train and render. Then the suite, with the small libraries that it compares with and without torch and MediaPipe: tests
that need these are skipped. The release knows nothing of the machine but
what apt and pip are told here: the mirror, pip's settings, certificates and proxies are those of the machine.
Prints versions and seconds; the status is 1 if a step failed.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ["python3-venv", "python3-dev", "g++"]
"""What the release needs to build a wheel: cmake and ninja come with pip."""
TEST_PACKAGES = [
    "pytest",
    "pytest-timeout",
    "onnx",
    "pillow",
    "jsonschema",
    "scipy",
    "scikit-image",
    "opencv-python-headless",
]
"""What tests run on and compare with, as far as it is small; installed after the core was tried alone."""
PASSED = ("PIP_", "SSL_CERT_FILE", "REQUESTS_CA", "CURL_CA")
"""Beginnings of the names of environment variables that say how the machine reaches its registries."""
SUITE = "the suite, without torch and MediaPipe"


class MachineError(Exception):
    """This machine can't make another release; the message says why and what helps."""


def machine_mirror() -> str:
    """The address that this machine's apt takes Debian from."""
    lines = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    mirrors = [line.split()[2] for line in lines if line.startswith("Debian Debian ")]
    if not mirrors:
        raise MachineError("apt knows no mirror of Debian: run `apt-get update`, or name one with --mirror")
    return mirrors[0]


def pip_settings() -> dict[tuple[str, str], str]:
    """(section, name) -> value, as this machine's pip has them; what the environment says goes before the files."""
    lines = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    settings: dict[tuple[str, str], str] = {}
    for line in sorted(lines, key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        settings["global" if section == ":env:" else section, key] = str(ast.literal_eval(value))
    return settings


def machine_environment() -> dict[str, str]:
    """What a program in the release may know of this machine."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(PASSED) or name.endswith("_proxy")}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {**kept, "PATH": path, "HOME": "/root", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def local_places(settings: dict[tuple[str, str], str]) -> list[Path]:
    """Files and folders of this machine that its settings name: certificates, constraints, folders of wheels."""
    words = [word for value in settings.values() for word in value.split()]
    # An index in a folder names files that lie next to it.
    places = [Path(w.removeprefix("file://")).parent if w.startswith("file:///") else Path(w) for w in words]
    places += [Path(value) for name, value in machine_environment().items() if name.startswith(PASSED)]
    return sorted({p for p in places if p.is_absolute() and (p.is_file() or (p.is_dir() and len(p.parts) > 2))})


class Release:
    """A Debian release in a folder. Mounts live in a namespace of each command, so that none is ever left behind."""

    def __init__(self, folder: Path, suite: str, mirror: str) -> None:
        self.folder = folder.resolve()
        self.suite = suite
        self.mirror = mirror
        self.settings = pip_settings()

    def run(self, *command: str | Path, cwd: str = "/") -> int:
        """Run a command in the release; its status."""
        shared = []
        for place in local_places(self.settings):
            inside = self.folder / place.relative_to("/")
            if place.is_dir():
                inside.mkdir(parents=True, exist_ok=True)
                shared.append(place)
            else:
                # A copy, and not a mount: the release's own packages replace such files.
                inside.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(place, inside)
        # A chroot knows no folder to start in, so a shell goes there.
        script = (
            'root=$1 cwd=$2; shift 2; mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; '
            'while [ "$1" != -- ]; do mount -o bind,ro "$1" "$root$1"; shift; done; shift; '
            'exec chroot "$root" sh -c \'cd "$0" && exec "$@"\' "$cwd" "$@"'
        )
        arguments = ["unshare", "--mount", "sh", "-ec", script, "sh", self.folder, cwd, *shared, "--", *command]
        return subprocess.run(arguments, env=machine_environment()).returncode

    def make(self) -> None:
        """Bootstrap the release unless a run before did; give it pip's settings of today."""
        done = self.folder / ".made"
        if not done.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            # debootstrap leaves /proc mounted when it fails.
            bootstrap = ["unshare", "--mount", "debootstrap", "--variant=minbase", self.suite, self.folder, self.mirror]
            subprocess.run(bootstrap, check=True, stdout=subprocess.DEVNULL)
            install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *PACKAGES]
            # A mirror may stand still for weeks; its signatures are checked all the same.
            update = "apt-get update -qq -o Acquire::Check-Valid-Until=false"
            if self.run("sh", "-c", f"{update} && {' '.join(install)} >/dev/null"):
                raise MachineError(f"apt could not install {', '.join(PACKAGES)} in {self.folder}")
            done.touch()
        sections = sorted({section for section, _ in self.settings})
        lines = []
        for section in sections:
            lines.append(f"[{section}]")
            lines += [f"{key} = {' '.join(v.split())}" for (s, key), v in self.settings.items() if s == section]
        (self.folder / "etc" / "pip.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def copy(self, video: Path | None, wheel: Path | None) -> None:
        """Put what git would commit from the checkout, the video and the wheel into /work of the release."""
        place = self.folder / "work"
        # The folder of compiled objects stays.
        for entry in place.glob("checkout/*"):
            if entry.name != "build":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=CHECKOUT,
            capture_output=True,
            check=True,
        ).stdout
        for name in filter(None, os.fsdecode(listed).split("\0")):
            if (CHECKOUT / name).is_file():
                target = place / "checkout" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(CHECKOUT / name, target)
        for folder, file in (("video", video), ("wheel", wheel)):
            shutil.rmtree(place / folder, ignore_errors=True)
            (place / folder).mkdir()
            if file:
                shutil.copy2(file, place / folder)


def steps(video: Path | None, consent: str | None, wheel: Path | None, tests: list[str]) -> list[tuple[str, list[str]]]:
    """(what it is, command), in order, run in /work of the release."""
    pip = ["venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    constrained = [*pip, "-c", "checkout/constraints.txt"]
    geneface = "venv/bin/geneface"
    planned = [("a new environment", ["sh", "-c", "rm -rf venv out && mkdir out && python3 -m venv venv"])]
    if not wheel:
        build = ["venv/bin/python", "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        planned.append(("build the wheel", [*build, "-w", "wheel", "./checkout"]))
    planned += [
        ("install the core", ["sh", "-c", f"{' '.join(constrained)} wheel/*.whl"]),
        ("its size", ["sh", "-c", "ls wheel; du -sm --exclude 'pip*' venv/lib/python3*/site-packages"]),
        ("geneface doctor", [geneface, "doctor"]),
        ("geneface demo", [geneface, "demo", "-o", "out/demo.mp4"]),
    ]
    if video:
        seen = f"video/{video.name}"
        planned += [
            ("geneface check", [geneface, "check", seen]),
            ("geneface prepare", [geneface, "prepare", seen, "-o", "out/portrait"]),
            (
                "geneface train",
                [geneface, "train", "out/portrait", "-o", "out/avatar", "--preset", "tiny", "--consent", consent or ""],
            ),
            ("geneface render", [geneface, "render", "out/avatar", "--audio", seen, "-o", "out/driven.mp4"]),
        ]
    suite = f"cd checkout && /work/venv/bin/python -m pytest -rsfE {' '.join(tests)}"
    return [
        *planned,
        ("install what the tests compare with", [*constrained, *TEST_PACKAGES]),
        ("versions", ["venv/bin/python", "-m", "pip", "list", "--disable-pip-version-check"]),
        (SUITE, ["sh", "-c", suite]),
    ]


def check(*files: Path | None) -> None:
    """Refuse a machine where a release can't be made, and files that are not there."""
    if os.geteuid() != 0:
        raise MachineError("making another Debian release needs root: run this as root, in a container for example")
    missing = [name for name in ("debootstrap", "unshare", "apt-get", "git") if shutil.which(name) is None]
    if missing:
        raise MachineError(f"no {missing[0]} on this machine: `apt-get install debootstrap util-linux git`")
    for file in files:
        if file and not file.is_file():
            raise MachineError(f"no file {file}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="trixie", help="Debian's name of the release: trixie, sid, ...")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / ".other-python", help="where releases are kept")
    parser.add_argument("--mirror", help="Debian's mirror; this machine's by default")
    parser.add_argument("--video", type=Path, help="a short video of one person, to prepare and train on")
    parser.add_argument("--consent", help="what the person in the video agreed to, as `geneface train` asks for it")
    parser.add_argument("--tests", default="", help="files and folders of tests in place of all")
    parser.add_argument("--wheel", type=Path, help="a wheel to install, in place of building one")
    options = parser.parse_args()
    try:
        check(options.video, options.wheel)
        if options.video and not options.consent:
            raise MachineError("a video needs --consent: what the person in it agreed to")
        release = Release(options.folder / options.suite, options.suite, options.mirror or machine_mirror())
        begin = time.monotonic()
        release.make()
        release.copy(options.video, options.wheel)
    except (MachineError, subprocess.CalledProcessError) as error:
        print(f"other-python: {error}", file=sys.stderr)
        return 2
    table = [("the release", time.monotonic() - begin, 0)]
    for name, command in steps(options.video, options.consent, options.wheel, options.tests.split()):
        print(f"== {name}", flush=True)
        begin = time.monotonic()
        status = release.run(*command, cwd="/work")
        table.append((name, time.monotonic() - begin, status))
        if status and name != SUITE:
            break
    print(f"== {options.suite}: {release.folder}")
    for name, seconds, status in table:
        print(f"{seconds:8.1f} s  {name}" + (f": failed with {status}" if status else ""))
    return int(any(status for *_, status in table))


if __name__ == "__main__":
    sys.exit(main())
