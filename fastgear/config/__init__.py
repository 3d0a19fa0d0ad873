# SPDX-License-Identifier: MIT
"""Every option once: frozen dataclasses from whose fields flags, file keys, environment names and docs/options.md are derived.

`server` and `supervisor` are for everybody; `service` and `gearmand` are what ``fastgear serve`` takes besides, and are not
imported for others. Reading the sources is not done here, but where they are: in `fastgear.cli`.
"""

from fastgear.config.option import Option, complaints_about, option_of, options
from fastgear.config.server import ServerConfig
from fastgear.config.supervisor import SupervisorConfig

__all__ = ["Option", "ServerConfig", "SupervisorConfig", "complaints_about", "option_of", "options"]
