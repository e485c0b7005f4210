"""The bill of materials of the program, as CycloneDX: every crate and every C and C++ library that
is linked, with version, licence and checksum.

The same sources give the same bytes: the time is SOURCE_DATE_EPOCH, the serial number follows from
the content, and no path of the machine is in it.
"""

from __future__ import annotations

import os
import uuid
from datetime import datetime, timezone
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from harness.publish import crates, native, toolchain

SCHEMA = SchemaVersion.V1_6
# The namespace of serial numbers, which are of version 5.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/htex-interchange/htex-interchange")
# Says where the sources of a library come from.
SOURCE = "htex-interchange:source"


def write(target: str, out: Path) -> Path:
    """Writes the bill for the program of `target`, a triple of rustc, to the file `out`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(made(target))
    return out


def made(target: str) -> str:
    """Returns the bill as JSON."""
    bom = _bom(target)
    # The serial number depends on everything else.
    bom.serial_number = uuid.UUID(int=0)
    bom.serial_number = uuid.uuid5(NAMESPACE, _json(bom))
    return _json(bom) + "\n"


def _json(bom: Bom) -> str:
    outputter = make_outputter(bom, OutputFormat.JSON, SCHEMA)
    return outputter.output_as_string(indent=2)


def _bom(target: str) -> Bom:
    linked = crates.linked(target)
    components = {(crate.name, crate.version): _of_crate(crate) for crate in linked}
    (program,) = [
        component for component in components.values() if component.name == crates.PROGRAM
    ]
    program.type = ComponentType.APPLICATION
    program.properties.add(Property(name="htex-interchange:target", value=target))
    of_c = {library.name: _of_library(library) for library in native.libraries(target)}
    others = [*of_c.values(), _of_library(native.rust_std())]

    bom = Bom()
    bom.metadata.timestamp = datetime.fromtimestamp(_epoch_s(), timezone.utc)
    # The tool's own version is no part of the program.
    bom.metadata.tools.components.clear()
    bom.metadata.tools.tools.clear()
    bom.metadata.component = program
    for component in [*components.values(), *others]:
        if component is not program:
            bom.components.add(component)
    for crate, used in crates.uses(target).items():
        bom.register_dependency(components[crate], [components[one] for one in sorted(used)])
    _link_libraries(bom, components, of_c)
    return bom


def _link_libraries(
    bom: Bom, components: dict[tuple[str, str], Component], libraries: dict[str, Component]
) -> None:
    """Records which component brings each library into the program."""
    (bindings,) = [component for component in components.values() if component.name == "zmq-sys"]
    bom.register_dependency(bindings, [libraries["libzmq"]])
    runtime = [libraries[name] for name in native.LLVM_RUNTIME]
    bom.register_dependency(libraries["libzmq"], [libraries["libsodium"], *runtime])
    if "musl" in libraries:
        bom.register_dependency(bom.metadata.component, [libraries["musl"]])


def _of_crate(crate: crates.Crate) -> Component:
    purl = None if crate.is_ours else PackageURL("cargo", name=crate.name, version=crate.version)
    return Component(
        name=crate.name,
        version=crate.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"crate:{crate.name}@{crate.version}",
        purl=purl,
        licenses=[LicenseFactory().make_from_string(crate.licence)],
        hashes=_sha256(crate.sha256),
    )


def _of_library(library: native.Library) -> Component:
    return Component(
        name=library.name,
        version=library.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"library:{library.name}@{library.version}",
        purl=PackageURL("generic", name=library.name, version=library.version),
        licenses=[LicenseFactory().make_from_string(library.licence)],
        hashes=_sha256(library.sha256),
        external_references=[
            ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(library.homepage))
        ],
        properties=[Property(name=SOURCE, value=library.source)],
    )


def _sha256(digest: str | None) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=digest)] if digest else []


def _epoch_s() -> int:
    return int(os.environ.get("SOURCE_DATE_EPOCH") or toolchain.SOURCE_DATE_EPOCH_S)
