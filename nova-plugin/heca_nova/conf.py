# SPDX-License-Identifier: Apache-2.0
"""The options of group [heca] in nova.conf. Registered when the driver or the weigher is loaded."""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

GROUP = cfg.OptGroup("heca", title="Hecatonchire: memory of servers on other hosts")

OPTIONS = [
    cfg.StrOpt(
        "mode", default="hecad", choices=[
            ("hecad", "servers whose flavor says heca:... are governed by this host's hecad"),
            ("noop", "the specs are checked and otherwise ignored: nothing of hecad is needed or asked, all memory of "
                     "every server stays here, and the host offers no remote memory to placement"),
        ],
        help="What is done about servers whose flavor has heca:... specs. Other servers are never touched."),
    cfg.StrOpt("socket", default="/run/heca/hecad.sock", help="hecad's unix socket. nova-compute needs to be in its "
                                                               "group (socket-group of hecad.toml)."),
    cfg.FloatOpt("timeout", default=10.0, min=0.1, help="Seconds that hecad may take to answer a question."),
    cfg.FloatOpt("hecad_wait", default=30.0, min=0.0,
                 help="Seconds for which the start or reboot of a server waits for a hecad that is away: it is being "
                      "upgraded, or the host has just started."),
    cfg.FloatOpt("attach_timeout", default=300.0, min=1.0,
                 help="Seconds until a server's memory is within its local part: after a resume, or where libvirt's "
                      "hook did not do it."),
    cfg.FloatOpt("home_timeout", default=3600.0, min=1.0,
                 help="Seconds until all memory of a server is back, before its state is saved (suspend, cold "
                      "snapshot). After that the operation fails; the memory goes on coming home."),
    cfg.FloatOpt("end_timeout", default=30.0, min=0.0,
                 help="Seconds until the memory of a server's former run has been given back, before it is started "
                      "again; and until a live migration that failed has been cleared up at its destination, before the "
                      "next one begins there."),
    cfg.FloatOpt("arrival_timeout", default=1800.0, min=0.0,
                 help="Seconds after a live migration's change-over in which the migration is not called completed "
                      "because memory still follows. After that it is, and a warning is logged; the memory goes on "
                      "following. Do not restart the source's nova-compute meanwhile: Nova has the server on the "
                      "source until then."),
    cfg.StrOpt("qmp_directory", default="/run/heca/qmp",
               help="Where QEMU makes the monitor sockets that hecad uses (run-dir of hecad.toml, and /qmp)."),
    cfg.StrOpt("libvirt_hook", default="/etc/libvirt/hooks/qemu.d/50-heca",
               help="heca's hook for libvirt. Where it is missing, live migrations of heca servers are refused. Empty: "
                    "it is not looked for."),
    cfg.StrOpt(
        "disk_cache", default="buffered", choices=[
            ("buffered", "file and block disks without the page cache (none, directsync) get writeback and "
                         "writethrough instead"),
            ("keep", "as Nova configures it"),
        ],
        help="Disk cache of heca servers. Direct disk reads write into guest memory without a fault; hecad waits for "
             "them before a page leaves, which makes eviction slower. Buffered disks need no wait."),
    cfg.FloatOpt("weight_multiplier", default=1.0,
                 help="Of the weigher heca_nova.weigher.RemoteMemoryWeigher: how much free remote memory near a host "
                      "counts, for servers with heca:... specs only. An aggregate's metadata heca_weight_multiplier "
                      "goes over it."),
]


def register(conf: Any) -> None:
    """Makes `conf.heca` known; more than once is fine."""
    conf.register_group(GROUP)
    conf.register_opts(OPTIONS, group=GROUP)


def list_opts() -> list[tuple[Any, list[Any]]]:
    """For oslo-config-generator."""
    return [(GROUP, OPTIONS)]
