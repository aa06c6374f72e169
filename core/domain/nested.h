// SPDX-License-Identifier: LGPL-2.1-or-later
// Nested virtualization, which an attach refuses: a guest's hypervisor would map RAM past hecad. Private to the room.
#pragma once

#include <string>
#include <vector>

#include "domain/findings.h"
#include "domain/document.h"

namespace heca::domain {

/// "<feature name='vmx'> of its CPU has the policy 'require'", or "": the domain asks for it in so many words.
[[nodiscard]] std::string AsksForNested(pugi::xml_node domain);

/// Where the CPU is the host's (host-passthrough, host-model, maximum), which may bring vmx or svm with it, both are
/// switched off. Only on x86 under KVM. A named CPU model has none of them under KVM unless it is asked for.
void SwitchNestedOff(pugi::xml_node domain, std::vector<Change>& changes);

}  // namespace heca::domain
