// SPDX-License-Identifier: LGPL-2.1-or-later
// The element <heca:memory> within a tree. Private to the room.
#pragma once

#include <string>
#include <vector>

#include "domain/findings.h"
#include "domain/document.h"
#include "domain/metadata.h"

namespace heca::domain {

/// A null node where there is none; kInvalidArgument where there are two.
[[nodiscard]] Result<pugi::xml_node> FindMemoryElement(pugi::xml_node domain);
/// Of a domain without the element: name, UUID and size, and an empty wish. Errors as of ReadMetadata but kNotFound.
[[nodiscard]] Result<HecaMemory> ReadDomain(pugi::xml_node domain, pugi::xml_node element);
/// Makes the element say `wish`, and notes what that changed. `element` may be null.
void WriteWish(pugi::xml_node domain, pugi::xml_node element, const MemoryWish& wish, std::vector<Change>& changes);

}  // namespace heca::domain
