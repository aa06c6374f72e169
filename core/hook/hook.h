// SPDX-License-Identifier: LGPL-2.1-or-later
// What libvirt runs as /etc/libvirt/hooks/qemu.d/50-heca at each step of a domain's life (https://libvirt.org/hooks.html).
//
// libvirt holds the whole driver while a hook runs, so: domains that do not ask for heca are left in microseconds; hecad is
// waited for a bounded time; libvirt itself is never called. An exit code other than 0 makes the operation fail, except at
// `reconnect`, where it would end a running guest: that is always 0. At `migrate` standard output is the new XML. At `release`
// the domain's QEMU has ended, and none is started before the hook returns.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace heca::hook {

/// NAME OPERATION PHASE EXTRA, the domain's XML on `in`; the exit code.
int Run(const std::vector<std::string>& arguments, std::istream& in, std::ostream& out, std::ostream& err);

}  // namespace heca::hook
