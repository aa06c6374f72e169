// SPDX-License-Identifier: LGPL-2.1-or-later
// What in a domain's XML cannot be governed, by name, each with its remedy: one table (refusals.cc). Nothing here can
// be repaired without taking something from the guest, and that is the operator's to decide. Private to the room.
#pragma once

#include <vector>

#include "domain/document.h"
#include "domain/findings.h"
#include "heca/status.h"

namespace heca::domain {

/// All that apply, in the order of the table.
[[nodiscard]] std::vector<Refusal> Judge(pugi::xml_node domain);

/// Ok, or kFailedPrecondition with every refusal: "name: detail; remedy: ...".
[[nodiscard]] Status ToStatus(const std::vector<Refusal>& refusals);

}  // namespace heca::domain
