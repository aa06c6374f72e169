// SPDX-License-Identifier: LGPL-2.1-or-later
#include "domain/backing.h"

#include <fmt/format.h>

namespace heca::domain {
namespace {

constexpr const char* kName = "memory backing";

/// <source type='file'/> and <access mode='shared'/>.
Status Demand(pugi::xml_node backing, const char* name, const char* attribute, const char* value,
              std::vector<Change>& changes) {
  HECA_ASSIGN_OR_RETURN(pugi::xml_node element, OnlyChild(backing, name));
  if (Attribute(element, attribute) == value) return Status();
  const std::string wanted = fmt::format("<{} {}='{}'>", name, attribute, value);
  if (element) {
    changes.push_back({kName, fmt::format("{} becomes {}", TagWith(element, attribute), wanted)});
  } else {
    element = AppendElement(backing, name);
    changes.push_back({kName, fmt::format("{} is added", wanted)});
  }
  SetAttribute(element, attribute, value);
  return Status();
}

Status DropDiscard(pugi::xml_node backing, std::vector<Change>& changes) {
  HECA_ASSIGN_OR_RETURN(const pugi::xml_node discard, OnlyChild(backing, "discard"));
  if (!discard) return Status();
  RemoveElement(discard);
  changes.push_back({kName, "<discard> is removed: it wipes the RAM when this QEMU ends after a migration"});
  return Status();
}

Status DropImmediate(pugi::xml_node backing, std::vector<Change>& changes) {
  HECA_ASSIGN_OR_RETURN(pugi::xml_node allocation, OnlyChild(backing, "allocation"));
  if (Attribute(allocation, "mode") != "immediate") return Status();
  allocation.remove_attribute("mode");
  if (!allocation.first_attribute()) RemoveElement(allocation);  // else it has threads, for huge pages
  changes.push_back(
      {kName, "<allocation mode='immediate'> is removed: a migration's destination would touch all RAM"});
  return Status();
}

/// What a NUMA cell or a DIMM says for itself goes before what <memoryBacking> says.
void RepairPart(pugi::xml_node part, const char* access, const std::string& name, std::vector<Change>& changes) {
  if (Attribute(part, access) == "private") {
    SetAttribute(part, access, "shared");
    changes.push_back({name, fmt::format("{}='private' becomes 'shared'", access)});
  }
  if (Attribute(part, "discard") == "yes") {
    part.remove_attribute("discard");
    changes.push_back({name, "discard='yes' is removed"});
  }
}

}  // namespace

Status RepairBacking(pugi::xml_node domain, std::vector<Change>& changes) {
  HECA_ASSIGN_OR_RETURN(pugi::xml_node backing, OnlyChild(domain, "memoryBacking"));
  if (!backing) {
    backing = InsertElement(domain, "memoryBacking",
                            {"name", "uuid", "genid", "title", "description", "metadata", "maxMemory", "memory",
                             "currentMemory", "blkiotune", "memtune"});
  }
  HECA_RETURN_IF_ERROR(Demand(backing, "source", "type", "file", changes));
  HECA_RETURN_IF_ERROR(Demand(backing, "access", "mode", "shared", changes));
  HECA_RETURN_IF_ERROR(DropImmediate(backing, changes));
  HECA_RETURN_IF_ERROR(DropDiscard(backing, changes));
  for (pugi::xml_node cell : Child(Child(domain, "cpu"), "numa")) {
    if (Is(cell, "cell")) RepairPart(cell, "memAccess", fmt::format("NUMA cell {}", Attribute(cell, "id")), changes);
  }
  for (pugi::xml_node device : Child(domain, "devices")) {
    if (Is(device, "memory")) RepairPart(device, "access", "DIMM", changes);
  }
  return Status();
}

}  // namespace heca::domain
