// SPDX-License-Identifier: LGPL-2.1-or-later
#include "domain/ready.h"

#include <utility>

#include <fmt/format.h>

#include "domain/backing.h"
#include "domain/document.h"
#include "domain/metadata_element.h"
#include "domain/monitor.h"
#include "domain/nested.h"
#include "domain/refusals.h"

namespace heca::domain {
namespace {

std::vector<std::string> Notes(pugi::xml_node domain, const HecaMemory& memory) {
  std::vector<std::string> notes;
  if (domain.attribute("id")) {
    notes.push_back("this describes the running domain; `virsh dumpxml --inactive --security-info` prints what virsh "
                    "define wants");
  }
  if (Child(Child(domain, "memoryBacking"), "hugepages")) {
    notes.push_back("libvirt preallocates huge pages: a migration's destination touches all RAM");
  }
  if (memory.wish.local && *memory.wish.local >= memory.size) {
    notes.push_back(fmt::format("local {} is all of the guest's {}: nothing leaves this host",
                                FormatSizeExact(*memory.wish.local), FormatSizeExact(memory.size)));
  }
  return notes;
}

}  // namespace

Result<Plan> PlanReady(std::string_view xml, const ReadyOptions& options) {
  HECA_RETURN_IF_ERROR(CheckWish(options.wish));
  HECA_ASSIGN_OR_RETURN(const Document document, Document::Parse(xml));
  const pugi::xml_node domain = document.domain();
  HECA_ASSIGN_OR_RETURN(const pugi::xml_node element, FindMemoryElement(domain));
  Plan plan;
  HECA_ASSIGN_OR_RETURN(plan.memory, ReadDomain(domain, element));
  plan.memory.wish = Merge(plan.memory.wish, options.wish);
  plan.refusals = Judge(domain);
  const std::string who = fmt::format("domain '{}'", plan.memory.domain);
  WriteWish(domain, element, plan.memory.wish, plan.changes);
  HECA_RETURN_IF_ERROR(RepairBacking(domain, plan.changes).WithContext(who));
  HECA_RETURN_IF_ERROR(EnsureMonitor(domain, plan.memory, options.qmp_directory, plan.changes).WithContext(who));
  SwitchNestedOff(domain, plan.changes);
  plan.notes = Notes(domain, plan.memory);
  plan.xml = plan.changes.empty() ? std::string(xml) : document.Print();
  return plan;
}

Result<std::string> MakeReady(std::string_view xml, const ReadyOptions& options) {
  HECA_ASSIGN_OR_RETURN(Plan plan, PlanReady(xml, options));
  HECA_RETURN_IF_ERROR(ToStatus(plan.refusals).WithContext(fmt::format("domain '{}'", plan.memory.domain)));
  return std::move(plan.xml);
}

Result<std::string> RepairIncoming(std::string_view xml, std::string_view qmp_directory) {
  if (!MentionsHeca(xml)) return std::string(xml);
  HECA_ASSIGN_OR_RETURN(const Document document, Document::Parse(xml));
  const pugi::xml_node domain = document.domain();
  HECA_ASSIGN_OR_RETURN(const pugi::xml_node element, FindMemoryElement(domain));
  if (!element) return std::string(xml);
  HECA_ASSIGN_OR_RETURN(const HecaMemory about, ReadDomain(domain, {}));  // a wish is no business of a migration
  std::vector<Change> changes;
  HECA_RETURN_IF_ERROR(RepairBacking(domain, changes));
  HECA_RETURN_IF_ERROR(EnsureMonitor(domain, about, qmp_directory, changes));
  return changes.empty() ? std::string(xml) : document.Print();
}

std::string MonitorSocket(std::string_view xml) {
  const auto document = Document::Parse(xml);
  return document.ok() ? SocketOf(document->domain()) : "";
}

}  // namespace heca::domain
