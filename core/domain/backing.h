// SPDX-License-Identifier: LGPL-2.1-or-later
// RAM as heca needs it: a file that others may map. Private to the room.
//
// <source type='file'/> is the only one: private RAM cannot be filled from outside, and x-ignore-shared, on which a
// migration stands, skips a memory-backend-memfd in QEMU 7.2 and no more in 10.0. libvirt puts the file into
// memory_backing_dir, which has to be on a tmpfs. <hugepages/> stays: with it, libvirt takes a file on hugetlbfs
// whatever the source says; 'file' with it is valid, and says the same. libvirt always preallocates huge pages.
#pragma once

#include <vector>

#include "domain/findings.h"
#include "domain/document.h"

namespace heca::domain {

/// Repairs <memoryBacking>, NUMA cells and DIMMs. <locked/> is left alone: see refusals.h.
[[nodiscard]] Status RepairBacking(pugi::xml_node domain, std::vector<Change>& changes);

}  // namespace heca::domain
