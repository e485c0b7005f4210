"""Parses and renders a conda recipe as conda-forge's builder does; the tools' Python runs it."""

import sys

from rattler_build import Stage0Recipe, VariantConfig

# The channel pins these for all of its recipes.
OF_THE_CHANNEL = {"c_stdlib": ["sysroot"], "c_stdlib_version": ["2.17"]}

recipe = Stage0Recipe.from_file(sys.argv[1])
(rendered,) = recipe.render(VariantConfig(OF_THE_CHANNEL))
print(rendered.recipe.package.name, rendered.recipe.package.version)
