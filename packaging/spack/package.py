# Copyright Spack Project Developers. See COPYRIGHT file for details.
#
# SPDX-License-Identifier: (Apache-2.0 OR MIT)

from spack_repo.builtin.build_systems.cargo import CargoPackage

from spack.package import *


class HtexInterchange(CargoPackage):
    """The interchange of Parsl's HighThroughputExecutor as one self-contained binary."""

    homepage = "@REPOSITORY@"
    url = "@REPOSITORY@/releases/download/v@VERSION@/htex_interchange-@VERSION@.tar.gz"

    license("Apache-2.0")

    version("@VERSION@", sha256="@SHA256@")

    # libzmq and libsodium are compiled into the binary.
    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("gmake", type="build")
    depends_on("rust@1.88:", type="build")

    conflicts("platform=darwin", msg="It needs Linux.")
    conflicts("platform=windows", msg="It needs Linux.")

    @property
    def build_args(self):
        return ["--locked", "--offline"]

    def check(self):
        """The archive has no tests: they need a clone, and Parsl."""

    @run_after("install")
    @on_package_attributes(run_tests=True)
    def says_its_version(self):
        Executable(self.prefix.bin.join("htex-interchange"))("--version")
