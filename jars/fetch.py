"""Copy the jars that jars/pom.xml lists into jars/lib, once; jobs never go to the network.

Maven is used where it is installed, else the Ivy that Spark ships with. Run by ``make jars``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

HERE = Path(__file__).resolve().parent
LIB = HERE / "lib"
_NS = {"m": "http://maven.apache.org/POM/4.0.0"}


def listed() -> list[tuple[str, str, str]]:
    """(group, artifact, version) of every jar in pom.xml."""
    project = ET.parse(HERE / "pom.xml").getroot()
    properties = project.find("m:properties", _NS)
    assert properties is not None
    values = {p.tag.split("}")[1]: p.text or "" for p in properties}

    def text(dependency: ET.Element, name: str) -> str:
        found = dependency.findtext(f"m:{name}", namespaces=_NS) or ""
        return re.sub(r"\$\{(.+?)\}", lambda m: values[m[1]], found)

    return [
        (text(d, "groupId"), text(d, "artifactId"), text(d, "version"))
        for d in project.findall("m:dependencies/m:dependency", _NS)
    ]


def missing() -> list[str]:
    """File names of listed jars that are not in jars/lib."""
    return [f"{a}-{v}.jar" for _, a, v in listed() if not (LIB / f"{a}-{v}.jar").is_file()]


def with_maven() -> None:
    """Copy by Maven's dependency plugin."""
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={LIB}", "-DincludeScope=runtime"]
    subprocess.run(["mvn", "-q", "-B", "-ntp", "-f", str(HERE / "pom.xml"), *goal], check=True)


def with_ivy() -> None:
    """Retrieve by the Ivy jar inside pyspark, each module without its dependencies."""
    import pyspark

    (ivy,) = (Path(pyspark.__file__).parent / "jars").glob("ivy-*.jar")
    modules = "".join(
        f'<dependency org="{g}" name="{a}" rev="{v}" transitive="false"/>' for g, a, v in listed()
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ivy.xml"
        file.write_text(
            '<ivy-module version="2.0"><info organisation="profile-lake" module="jars"/>'
            f"<dependencies>{modules}</dependencies></ivy-module>"
        )
        pattern = f"{LIB}/[artifact]-[revision].[ext]"
        command = ["java", "-jar", str(ivy), "-ivy", str(file), "-retrieve", pattern]
        subprocess.run([*command, "-types", "jar", "-m2compatible", "-warn"], check=True)


def main() -> int:
    """Fetch what is missing; say in one sentence what to install where that cannot be done."""
    if not missing():
        return 0
    if shutil.which("java") is None:
        return _refused("Java is missing: install a JDK 17 (Debian: openjdk-17-jdk-headless).")
    LIB.mkdir(exist_ok=True)
    (with_maven if shutil.which("mvn") else with_ivy)()
    if left := missing():
        return _refused(f"{len(left)} jars could not be fetched, first {left[0]}; see above.")
    return 0


def _refused(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
