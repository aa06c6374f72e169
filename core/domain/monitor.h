// SPDX-License-Identifier: LGPL-2.1-or-later
// The second QMP socket, hecad's own, by <qemu:commandline>. libvirt's own monitor blocks while a migration's
// destination waits. Private to the room.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "domain/findings.h"
#include "domain/document.h"
#include "domain/metadata.h"

namespace heca::domain {

/// Adds what is missing of
///   -chardev socket,id=heca,path=DIRECTORY/UUID.sock,server=on,wait=off -mon chardev=heca,mode=control
/// (the name in place of a UUID that is not there yet). A socket with id=heca elsewhere is the operator's and stays;
/// one in `directory` under another domain's name came with a copied XML and becomes this domain's.
/// kFailedPrecondition: a chardev with id=heca that is no unix socket, or a path too long for one.
[[nodiscard]] Status EnsureMonitor(pugi::xml_node domain, const HecaMemory& about, std::string_view directory,
                                   std::vector<Change>& changes);

/// Where QEMU makes that socket; "" if it does not, or an operator has said it in JSON.
[[nodiscard]] std::string SocketOf(pugi::xml_node domain);

/// Values of all <qemu:arg>, in order.
[[nodiscard]] std::vector<pugi::xml_node> QemuArguments(pugi::xml_node domain);

}  // namespace heca::domain
