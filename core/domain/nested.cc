// SPDX-License-Identifier: LGPL-2.1-or-later
#include "domain/nested.h"

#include <fmt/format.h>

namespace heca::domain {
namespace {

constexpr const char* kFeatures[] = {"vmx", "svm"};  // Intel's and AMD's

bool Concerns(pugi::xml_node domain) {
  const std::string_view arch = Attribute(Child(Child(domain, "os"), "type"), "arch");
  return Attribute(domain, "type") == "kvm" && (arch.empty() || arch == "x86_64" || arch == "i686");
}

pugi::xml_node FindFeature(pugi::xml_node cpu, std::string_view name) {
  return cpu.find_child([&](pugi::xml_node n) { return Is(n, "feature") && Attribute(n, "name") == name; });
}

bool IsOff(pugi::xml_node feature) {
  const std::string_view policy = Attribute(feature, "policy");
  return policy == "disable" || policy == "forbid";
}

}  // namespace

std::string AsksForNested(pugi::xml_node domain) {
  if (!Concerns(domain)) return {};
  for (const char* name : kFeatures) {
    const pugi::xml_node feature = FindFeature(Child(domain, "cpu"), name);
    if (!feature || IsOff(feature)) continue;
    const std::string_view policy = Attribute(feature, "policy");  // libvirt's own default is 'require'
    return fmt::format("<feature name='{}'> of its CPU has the policy '{}'", name, policy.empty() ? "require" : policy);
  }
  return {};
}

void SwitchNestedOff(pugi::xml_node domain, std::vector<Change>& changes) {
  const pugi::xml_node cpu = Child(domain, "cpu");
  const std::string_view mode = Attribute(cpu, "mode");
  if (!Concerns(domain) || (mode != "host-passthrough" && mode != "host-model" && mode != "maximum")) return;
  for (const char* name : kFeatures) {
    if (FindFeature(cpu, name)) continue;
    const pugi::xml_node feature = InsertElement(
        cpu, "feature", {"model", "vendor", "topology", "cache", "maxphysaddr", "feature"});
    SetAttribute(feature, "policy", "disable");
    SetAttribute(feature, "name", name);
    changes.push_back({"CPU", fmt::format("<feature policy='disable' name='{}'/> is added: no nested guests", name)});
  }
}

}  // namespace heca::domain
