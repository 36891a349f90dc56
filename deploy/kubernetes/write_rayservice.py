"""Copies ``configs/serve/cluster.yaml`` into the RayService beside it, word for word. Run it after every change."""

from pathlib import Path

SERVE = Path(__file__).resolve().parents[2] / "configs" / "serve"
KEY = "  serveConfigV2: |\n"
INDENT = "    "


def with_profile(manifest: str, profile: str) -> str:
    """The manifest with this profile as its Serve file, the rest as it was."""
    before, _, rest = manifest.partition(KEY)
    lines = rest.splitlines(keepends=True)
    ours = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith(INDENT)), len(lines))
    block = "".join(INDENT + line if line.strip() else line for line in profile.splitlines(keepends=True))
    return before + KEY + block + "".join(lines[ours:])


def main() -> None:
    """Write the manifest."""
    manifest = SERVE / "kuberay-rayservice.yaml"
    manifest.write_text(with_profile(manifest.read_text("utf-8"), (SERVE / "cluster.yaml").read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
