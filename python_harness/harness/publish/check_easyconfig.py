"""Parses an easyconfig and checks its style as EasyBuild does; the tools' Python runs it.

`eb --check-style` does the same, but first asks for a modules tool, which has no part in it.
"""

import sys

from easybuild.framework.easyconfig.parser import EasyConfigParser
from easybuild.framework.easyconfig.style import check_easyconfigs_style
from easybuild.tools.options import set_up_configuration

set_up_configuration(
    args=["--module-syntax=Tcl", "--allow-use-as-root-and-accept-consequences"], silent=True
)
keys = EasyConfigParser(sys.argv[1]).get_config_dict()
print(keys["name"], keys["version"])
sys.exit(check_easyconfigs_style(sys.argv[1:]))
