"""How the package is built: with machine code of its loops, and, from core/, without torch.

Where what compiling needs is missing, or it fails, the package is built without, for any platform, and
compiles its loops when they are first used. TERSOR_MACHINE_CODE=0 builds it so at once; names of sets of
instructions, x86-64-v3,x86-64-v4, compile for those rather than the best that this processor has.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

ROOT = Path(__file__).parent
FOLDER = ROOT / "tersor" / "machine_code"
TOOL = ROOT / "tools" / "compile_loops.py"


class MachineCode(BuildHookInterface[Any]):
    """Runs tools/compile_loops.py before the files of a wheel are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if os.environ.get("TERSOR_MACHINE_CODE") == "0":
            return
        self.app.display_waiting("tersor: compiling loops takes some minutes of one core")
        run = subprocess.run([sys.executable, TOOL, "--into", FOLDER], capture_output=True, text=True)
        if run.returncode:
            self.app.display_warning(
                f"tersor: no machine code, loops are compiled at first use:\n{run.stderr}"
            )
            return
        if not list(FOLDER.glob(f"{sys.implementation.cache_tag}-*")):
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


class WithoutTorch(MetadataHookInterface):
    """Of tersor-core: what pyproject.toml says of tersor, but for torch."""

    def update(self, metadata: dict[str, Any]) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        for name in metadata["dynamic"]:
            metadata[name] = project[name]
        metadata["description"] += ", without torch"
        extras = metadata["optional-dependencies"].items()
        metadata["optional-dependencies"] = {
            extra: [d.replace("tersor[", "tersor-core[") for d in needed] for extra, needed in extras
        }
        metadata["dependencies"] = [d for d in project["dependencies"] if not d.startswith("torch")]
