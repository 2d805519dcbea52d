"""The releases of Spring Cloud Alibaba: how the application is built with each, and how it is started."""

import dataclasses
import os
import shutil

from harness.clients import HERE, TARGET, run, stale, touch

SPRING = os.path.join(HERE, "spring")
SOURCE = os.path.join(SPRING, "src", "Application.java")
NEEDS = ("java", "javac", "mvn")
# Six JVMs share the machine.
SMALL = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


@dataclasses.dataclass
class Release:
    name: str
    # Its directory: the pom, and the files of the application's class path.
    directory: str
    # The class files' version: the newest that its Spring reads, or the oldest that it runs on.
    java: str
    options: tuple = ()
    # Steps that fail because of Spring: they are run and shown, but do not fail the test.
    known: dict = dataclasses.field(default_factory=dict)

    @property
    def home(self):
        return os.path.join(TARGET, f"spring-{self.name}")

    @property
    def classpath(self):
        return f"{self.home}/classes:{self.home}/lib/*"

    def install(self):
        """Fetches the libraries and compiles, when something has changed since."""
        lib, classes, mark = (os.path.join(self.home, name) for name in ("lib", "classes", "installed"))
        own = os.path.join(SPRING, self.directory)
        files = [os.path.join(own, name) for name in os.listdir(own) if name.endswith(".yml")]
        pom = os.path.join(own, "pom.xml")
        if not stale(mark, pom, SOURCE, *files):
            return
        if stale(mark, pom):
            shutil.rmtree(lib, ignore_errors=True)
            run("mvn", "-q", "-B", "-f", pom, f"-DoutputDirectory={lib}", "-DincludeScope=runtime",
                "dependency:copy-dependencies")
        shutil.rmtree(classes, ignore_errors=True)
        os.makedirs(classes)
        run("javac", "-nowarn", "-Xlint:-options", "--release", self.java, "-d", classes, "-cp", f"{lib}/*", SOURCE)
        for file in files:
            shutil.copy(file, classes)
        touch(mark)


RELEASES = [
    # Its Spring makes proxies with a method of ClassLoader that newer JDKs close.
    Release("2.2.1", "release-2.2.1", "8", ("--add-opens", "java.base/java.lang=ALL-UNNAMED")),
    Release("2025.0.0.0", "current", "17", known={
        "restore": "Spring Cloud keeps the values of an imported file that does not exist any more. It replaces the sources that "
        "it finds again and removes none. The application is told of the removal, asks, and learns that the file is missing",
    }),
]
